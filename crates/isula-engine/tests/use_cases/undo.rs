//! Every step of every operation fails or hangs once: nothing is left half-made, and it can be
//! asked for again.

use std::sync::Arc;

use isula_core::{
    container::NewContainer,
    error::ErrorKind,
    testing::{Trouble, World},
};
use isula_engine::{Engine, StopOptions, container::RemoveOptions};

use crate::support::{
    anonymous, assert_empty, engine, published, remove_all, request, settle, state, successor,
    world,
};

const TROUBLES: [Trouble; 2] = [Trouble::Fails(ErrorKind::ResourceExhausted), Trouble::Hangs];

fn new() -> NewContainer {
    let mut new = request("c", "sleep");
    new.host.mounts = vec![anonymous("/data"), anonymous("/more")];
    new.host.network = published(8080);
    new
}

/// A world and its engine for each call that `operation` makes, with trouble at that call. Gives how
/// often the trouble was felt.
async fn at_every_step(
    prepare: impl AsyncFn(&Arc<Engine>),
    operation: impl AsyncFn(&Arc<Engine>) -> Result<(), isula_engine::Error>,
    check: impl AsyncFn(&World, &Arc<Engine>, bool, &str),
) -> usize {
    let mut felt = 0;
    for trouble in TROUBLES {
        for step in 0.. {
            assert!(step < 100, "the operation ends");
            let world = world();
            let engine = engine(&world);
            prepare(&engine).await;
            let before = world.failures.calls().len();
            world.failures.at(step, trouble);
            let failed = operation(&engine).await.is_err();
            let calls = world.failures.calls();
            let reached = calls.len() > before + step;
            world.failures.clear();
            settle().await;
            let name = calls.get(before + step).copied().unwrap_or("no");
            check(&world, &engine, failed, &format!("{trouble:?} at {name}, step {step}")).await;
            engine.retire();
            if !reached {
                break;
            }
            felt += 1;
        }
    }
    felt
}

#[tokio::test(start_paused = true)]
async fn a_create_that_fails_at_any_step_leaves_nothing_and_the_name_free() {
    let steps = at_every_step(
        async |_| {},
        async |engine| engine.create(new()).await.map(drop),
        async |world, engine, failed, case| {
            if failed {
                assert_empty(world, case);
                assert_eq!(state(engine, "c"), "gone", "{case}");
                engine.create(new()).await.unwrap();
            }
            remove_all(engine).await;
            assert_empty(world, case);
        },
    )
    .await;
    assert!(steps >= 16, "{steps} troubles");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_at_any_step_leaves_no_process_and_can_be_repeated() {
    let steps = at_every_step(
        async |engine| drop(engine.create(new()).await.unwrap()),
        async |engine| engine.start("c").await.map(drop),
        async |world, engine, failed, case| {
            if failed {
                assert!(matches!(state(engine, "c"), "created" | "exited"), "{case}");
                assert_eq!(world.runtime.traces(), [], "{case}");
                engine.start("c").await.unwrap();
            }
            assert_eq!(state(engine, "c"), "running", "{case}");
            assert_eq!(world.runtime.running().len(), 1, "{case}");
            remove_all(engine).await;
            assert_empty(world, case);
        },
    )
    .await;
    assert!(steps >= 8, "{steps} troubles");
}

#[tokio::test(start_paused = true)]
async fn a_run_with_rm_that_fails_at_any_step_leaves_nothing() {
    let steps = at_every_step(
        async |_| {},
        async |engine| {
            let mut new = new();
            new.host.auto_remove = true;
            engine.run(new).await.map(drop)
        },
        async |world, engine, failed, case| {
            if failed {
                assert_empty(world, case);
            } else {
                remove_all(engine).await;
            }
        },
    )
    .await;
    assert!(steps >= 20, "{steps} troubles");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_fails_at_any_step_ends_the_container_or_can_be_repeated() {
    at_every_step(
        async |engine| drop(engine.run(new()).await.unwrap()),
        async |engine| engine.stop("c", StopOptions::default()).await.map(drop),
        async |world, engine, failed, case| {
            if failed {
                engine.stop("c", StopOptions::default()).await.unwrap();
            }
            settle().await;
            assert_eq!(state(engine, "c"), "exited", "{case}");
            assert_eq!(world.runtime.running(), [], "{case}");
            remove_all(engine).await;
            assert_empty(world, case);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_at_any_step_can_be_repeated() {
    for (new, least) in [(new as fn() -> NewContainer, 12), (|| request("c", "sleep"), 8)] {
        let steps = at_every_step(
            async |engine| drop(engine.run(new()).await.unwrap()),
            async |engine| {
                let options = RemoveOptions { force: true, volumes: true };
                engine.remove("c", options).await.map(drop)
            },
            async |world, engine, failed, case| {
                if failed {
                    remove_all(engine).await;
                }
                assert_empty(world, case);
            },
        )
        .await;
        assert!(steps >= least, "{steps} troubles");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_stays_keeps_its_container_in_view_until_the_next_daemon() {
    let world = world();
    let first = engine(&world);
    first.create(request("c", "sleep")).await.unwrap();
    world.failures.always("snapshots.removal", Trouble::Fails(ErrorKind::ResourceExhausted));
    let error = first.remove("c", RemoveOptions::default()).await.unwrap_err();
    let text = isula_core::error::chain(&error);
    assert!(text.starts_with("c: cannot remove its writable layer: "), "{text}");
    assert_eq!(state(&first, "c"), "removing");
    world.failures.clear();
    let second = successor(&world, first).await;
    assert_eq!(state(&second, "c"), "gone");
    assert_empty(&world, "after the next start");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_could_not_be_finished_keeps_the_volumes_that_were_to_be_kept() {
    let world = world();
    let engine = engine(&world);
    engine.create(new()).await.unwrap();
    world.failures.always("snapshots.removal", Trouble::Fails(ErrorKind::ResourceExhausted));
    engine.remove("c", RemoveOptions::default()).await.unwrap_err();
    world.failures.clear();
    remove_all(&engine).await;
    assert_eq!(world.records.count(), 0);
    assert_eq!(world.volumes.names().len(), 2, "the first removal decided");
}

#[tokio::test(start_paused = true)]
async fn a_removal_writes_once_unless_volumes_go() {
    for (new, volumes, saves) in
        [(request("c", "sleep"), true, 0), (new(), false, 0), (new(), true, 1)]
    {
        let world = world();
        let engine = engine(&world);
        engine.create(new).await.unwrap();
        let before = world.failures.calls().len();
        engine.remove("c", RemoveOptions { force: false, volumes }).await.unwrap();
        let calls = world.failures.calls().split_off(before);
        let saved = calls.iter().filter(|call| **call == "records.save").count();
        assert_eq!(saved, saves, "{calls:?}");
        assert_eq!(world.records.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_cannot_be_recorded_is_undone() {
    at_every_step(
        async |engine| drop(engine.run(new()).await.unwrap()),
        async |engine| engine.pause("c").await.map(drop),
        async |_, engine, failed, case| {
            assert_eq!(state(engine, "c"), if failed { "running" } else { "paused" }, "{case}");
        },
    )
    .await;
}
