//! The promises of [`Records`].

use std::sync::Arc;

use jiff::Timestamp;

use super::{container, id};
use crate::{
    container::{Container, Exit, Run, State},
    error::ErrorKind,
    ports::{ContainerFiles, Durability, LaterFiles, Records},
};

/// The records pass if what they acknowledge is what they load. `reopen` gives the records as a
/// new daemon sees them; it is first called on an empty store, and never while former ones are used.
///
/// # Panics
/// A promise is broken.
pub async fn records(mut reopen: impl AsyncFnMut() -> Arc<dyn Records>) {
    let store = reopen().await;
    let restored = store.load().await.expect("an empty store loads");
    assert!(restored.containers.is_empty() && restored.quarantined.is_empty());

    let (first, second) = (container(&id(1)), container(&id(2)));
    let files = ContainerFiles { hostname: b"box\n".to_vec(), ..ContainerFiles::default() };
    let made = files.clone();
    let later: LaterFiles = Arc::new(move || made.clone());
    store.create(&first, Arc::clone(&later)).await.expect("a record is made");
    store.create(&second, Arc::clone(&later)).await.expect("a second record is made");
    let twice =
        store.create(&first, Arc::clone(&later)).await.expect_err("no record is made twice");
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
    store.provide(&first.id).await.expect("its files are written");
    store.provide(&first.id).await.expect("they are there already");
    assert_ne!(store.directory(&first.id, "lcr"), store.directory(&second.id, "lcr"));

    let nobody = container(&id(9));
    let missing = store.save(&nobody, Durability::Synced).await.expect_err("no record, no save");
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    let run =
        Run { pid: 7, pid_start: 8, shim_pid: 9, shim_start: 10, started: Timestamp::UNIX_EPOCH };
    let running = Container {
        state: State::Running(run.clone()),
        started: Some(run.started),
        ..first.clone()
    };
    store.save(&running, Durability::Written).await.expect("it is saved");
    let exit = Exit {
        code: 137,
        oom_killed: true,
        at: Timestamp::UNIX_EPOCH,
        error: Some("a reason".to_owned()),
    };
    let stopped =
        Container { state: State::Stopped(exit), restarts: 3, stopped_by_user: true, ..second };
    store.save(&stopped, Durability::Synced).await.expect("it is saved");
    store.refresh(&first.id, "lcr", &files).await.expect("the files are written");
    drop(store);

    let store = reopen().await;
    let restored = store.load().await.expect("the store loads again");
    assert!(restored.quarantined.is_empty(), "{:?}", restored.quarantined);
    let mut containers = restored.containers;
    containers.sort_by(|a, b| a.id.cmp(&b.id));
    let containers: Vec<Container> = containers.iter().map(|one| Container::clone(one)).collect();
    assert_eq!(containers, [running, stopped.clone()]);

    store.remove(&first.id, "lcr", Durability::Synced).await.expect("it is removed");
    store
        .remove(&first.id, "lcr", Durability::Synced)
        .await
        .expect("removing it again is no error");
    store.create(&first, Arc::clone(&later)).await.expect("its id is free again");
    store.remove(&first.id, "lcr", Durability::Synced).await.expect("it is removed");
    drop(store);

    let store = reopen().await;
    let restored = store.load().await.expect("the store loads a third time");
    assert_eq!(restored.containers, [Arc::new(stopped)]);
}
