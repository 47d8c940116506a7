//! Registries that attack.

mod authorities;
mod blobs;
mod manifests;
mod wires;

use crate::{
    image::{Layer, Shelf, TestImage},
    server::{Reply, Seen, digest, noise, reply},
    world::{
        Attack, Case,
        Wanted::{self, Refused},
    },
};

type Script = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;
type Row = (&'static str, Script, Wanted);

pub fn cases() -> Vec<Case> {
    let rows = [
        manifests::manifests(),
        manifests::documents(),
        authorities::authorities(),
        blobs::blobs(),
        wires::wires(),
    ]
    .into_iter()
    .flatten();
    let mut cases: Vec<_> = rows
        .map(|(name, script, wanted)| Case { name, attack: Attack::Pull(script), wanted })
        .collect();
    for (name, pulled, wanted) in [
        ("a name with ..", "x/../../y:1", Refused("invalid reference")),
        ("a tag with a slash", "x:../1", Refused("invalid reference")),
        ("a name with a query", "x?y=z", Refused("invalid reference")),
        ("a name with a line end", "x\r\nHost: y", Refused("invalid reference")),
        ("a digest that is short", "x@sha256:12", Refused("invalid reference")),
    ] {
        let name: &'static str = format!("{name}, pulled").leak();
        let attack = Attack::PullNamed(pulled.to_owned(), Box::new(|_| reply(500, "")));
        cases.push(Case { name, attack, wanted });
    }
    let wanted = format!("x@{}", digest(b"{}"));
    let attack = Attack::PullNamed(wanted, Box::new(|_| reply(200, "[]")));
    cases.push(Case {
        name: "another manifest than the digest's",
        attack,
        wanted: Refused("has the digest"),
    });
    cases
}

fn small() -> TestImage {
    TestImage::new(&[Layer::new(&[("f", b"content")])])
}

fn shelved(image: &TestImage) -> Shelf {
    let mut shelf = Shelf::default();
    image.shelve(&mut shelf, "1");
    shelf
}

fn script(shelf: Shelf) -> Script {
    Box::new(move |seen| shelf.answer(seen))
}

/// An answer for the manifest alone.
fn manifest(answer: Reply) -> Script {
    Box::new(move |_| answer.clone())
}

/// A document under the tag that is pulled.
fn document(media_type: &str, bytes: impl AsRef<[u8]>) -> Script {
    let mut shelf = shelved(&small());
    shelf.manifest("1", media_type, bytes.as_ref());
    script(shelf)
}

/// A fine image of which one layer's blob is answered so.
fn layer(
    image: TestImage,
    answer: impl Fn(&Seen, &[u8]) -> Reply + Send + Sync + 'static,
) -> Script {
    let shelf = shelved(&image);
    let name = digest(&image.layers[0].blob).to_string();
    Box::new(move |seen| match seen.target.ends_with(&name) {
        true => answer(seen, &image.layers[0].blob),
        false => shelf.answer(seen),
    })
}

fn large() -> TestImage {
    TestImage::new(&[Layer::new(&[("f", &noise(200_000))])])
}
