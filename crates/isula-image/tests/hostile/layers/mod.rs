//! Root file systems whose entries attack.

mod attributes;
mod headers;
mod links;
mod names;

use crate::{
    tarball::Tar,
    world::{Attack, Case, Wanted, World},
};

fn case(name: &'static str, tar: Tar, wanted: Wanted) -> Case {
    Case { name, attack: Attack::Import(tar.end()), wanted }
}

fn new() -> Tar {
    Tar::default()
}

pub fn cases(world: &World) -> Vec<Case> {
    let outside = world.outside();
    [
        names::names(&outside),
        links::links(&outside),
        links::whiteouts(&outside),
        links::specials(),
        attributes::attributes(),
        headers::headers(),
        attributes::sparse(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
