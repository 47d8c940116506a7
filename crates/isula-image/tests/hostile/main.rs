//! What strangers may send: archives, images and registries that attack. For each one the answer is a
//! clear error or a safe result; files beside the store stay as they are, the disk and the memory are
//! not used up, nothing is left, and the store goes on.

#![allow(dead_code, reason = "the registry that is shared with other tests does more")]
#![allow(clippy::too_many_lines, reason = "a group of attacks is one table")]

#[cfg(test)]
mod archives;
#[cfg(test)]
#[path = "../registry/image.rs"]
mod image;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod registries;
#[cfg(test)]
#[path = "../registry/server.rs"]
mod server;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tarball;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{archives, layers, registries, streams, world::World};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_archive_image_or_registry_hurts_the_host_or_the_store() {
        let world = World::new();
        let cases =
            [layers::cases(&world), streams::cases(), archives::cases(&world), registries::cases()];
        let cases: Vec<_> = cases.into_iter().flatten().collect();
        let mut names = HashSet::new();
        let twice = cases.iter().find(|case| !names.insert(case.name));
        assert!(twice.is_none(), "{} is there twice", twice.unwrap().name);
        println!("{} cases", cases.len());
        assert!(cases.len() >= 100);
        let only = std::env::var("ISULA_HOSTILE_ONLY").ok();
        let mut faults = Vec::new();
        for case in cases {
            if only.as_ref().is_none_or(|only| case.name.contains(only)) {
                world.play(case, &mut faults).await;
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
