//! The records of sandboxes.

use std::sync::Arc;

use jiff::Timestamp;

use super::id;
use crate::{
    error::ErrorKind,
    id::ContainerId,
    ports::{Durability, SandboxFiles, SandboxRecords},
    sandbox::{Sandbox, SandboxConfig, SandboxState},
};

/// A sandbox that asks for nothing special.
#[must_use]
pub fn sandbox(id: &ContainerId) -> Sandbox {
    let mut config = SandboxConfig::default();
    config.metadata.name = format!("pod-{}", id.short());
    config.annotations = [("key".to_owned(), "\u{2028}\"value\"".to_owned())].into();
    Sandbox {
        id: id.clone(),
        created: Timestamp::UNIX_EPOCH,
        config,
        runtime: "lcr".to_owned(),
        cgroup: "/isulad/pod".to_owned(),
        own_cgroup: true,
        state: SandboxState::Starting,
        attachment: None,
    }
}

/// `open` is a new daemon on the same disk.
///
/// # Panics
/// Where a promise is broken.
pub async fn sandbox_records(open: impl AsyncFn() -> Arc<dyn SandboxRecords>) {
    let files = SandboxFiles {
        hostname: b"web\n".to_vec(),
        hosts: b"127.0.0.1\tlocalhost\n".to_vec(),
        resolv_conf: Vec::new(),
    };
    let (one, two) = (sandbox(&id(1)), sandbox(&id(2)));
    let records = open().await;
    assert!(load(&*records).await.is_empty());
    for sandbox in [&one, &two] {
        let created = records.create_sandbox(sandbox, &files, Durability::Synced).await;
        created.expect("it is new");
    }
    let twice = records.create_sandbox(&one, &files, Durability::Written).await;
    assert_eq!(twice.expect_err("the id is taken").kind(), ErrorKind::AlreadyExists);
    let ready = SandboxState::Ready(Timestamp::UNIX_EPOCH);
    let ready = Sandbox { state: ready, ..one.clone() };
    records.save_sandbox(&ready, Durability::Synced).await.expect("it exists");
    let more = SandboxFiles { hosts: b"10.0.0.2\tweb\n".to_vec(), ..files.clone() };
    records.refresh_sandbox(&one.id, &more).await.expect("it exists");

    let records = open().await;
    assert_eq!(load(&*records).await, [ready, two.clone()]);
    records.remove_sandbox(&one.id).await.expect("it exists");
    records.remove_sandbox(&one.id).await.expect("one that is gone is no error");
    let gone = records.save_sandbox(&one, Durability::Written).await;
    assert!(gone.is_err(), "what is gone can't be saved");
    let again = records.create_sandbox(&one, &files, Durability::Synced).await;
    again.expect("the id is free");
    records.remove_sandbox(&one.id).await.expect("it exists");
    let records = open().await;
    assert_eq!(load(&*records).await, [two]);
}

async fn load(records: &dyn SandboxRecords) -> Vec<Sandbox> {
    let mut restored = records.load_sandboxes().await.expect("they can be read");
    assert!(restored.quarantined.is_empty(), "{:?}", restored.quarantined);
    restored.sandboxes.sort_by(|one, other| one.id.cmp(&other.id));
    restored.sandboxes
}
