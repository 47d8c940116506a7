//! What a new daemon makes of what the former one left.

use std::time::Duration;

use isula_core::{
    container::{Container, Exit, RestartPolicy, Run, State},
    id::{ContainerId, Name},
    ports::Quarantined,
    testing::conformance,
};
use isula_engine::{StopOptions, container::Condition};
use jiff::Timestamp;

use crate::support::{
    assert_empty, engine, ephemeral, exit_code, id, remove_all, request, restarted, settle, state,
    successor, world,
};

#[tokio::test(start_paused = true)]
async fn containers_run_on_without_a_daemon_and_the_next_one_knows_all_of_them() {
    let world = world();
    let first = engine(&world);
    for name in ["runs", "ends", "paused", "stopped", "created"] {
        first.create(request(name, "sleep")).await.unwrap();
    }
    for name in ["runs", "ends", "paused", "stopped"] {
        first.start(name).await.unwrap();
    }
    first.pause("paused").await.unwrap();
    first.stop("stopped", StopOptions::default()).await.unwrap();
    let ends = id(&first, "ends").await;
    first.retire();
    settle().await;
    world.runtime.end(&ends, 37);
    let second = successor(&world, first).await;
    for (name, wanted) in [
        ("runs", "running"),
        ("ends", "exited"),
        ("paused", "paused"),
        ("stopped", "exited"),
        ("created", "created"),
    ] {
        assert_eq!(state(&second, name), wanted, "{name}");
    }
    assert_eq!(exit_code(&second, "ends").await, Some(37), "the status is not guessed");
    assert_eq!(exit_code(&second, "stopped").await, Some(143));
    // It is watched again.
    world.runtime.end(&id(&second, "runs").await, 5);
    assert_eq!(second.wait("runs", Condition::NotRunning).await.unwrap(), 5);
    second.resume("paused").await.unwrap();
    remove_all(&second).await;
    assert_empty(&world, "in the end");
}

/// Recorded state, what the runtime finds, shown state, exit status.
const TABLE: &str = "
    starting  running  running  -
    starting  paused   paused   -
    starting  exited   exited   37
    starting  nothing  exited   128
    running   running  running  -
    running   paused   paused   -
    running   exited   exited   37
    running   nothing  exited   255
    paused    running  running  -
    paused    paused   paused   -
    paused    exited   exited   37
    paused    nothing  exited   255
    removing  running  gone     -
    removing  nothing  gone     -
    created   running  created  -
    created   nothing  created  -
    exited    running  exited   3
    exited    nothing  exited   3
";

#[tokio::test(start_paused = true)]
async fn every_state_is_resolved_against_what_the_runtime_finds() {
    for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [recorded, found, wanted, code] = words[..] else { panic!("{line}") };
        let world = world();
        let first = engine(&world);
        first.run(request("c", "sleep")).await.unwrap();
        let id = id(&first, "c").await;
        match found {
            "paused" => drop(first.pause("c").await.unwrap()),
            "running" => {}
            _ => first.retire(),
        }
        settle().await;
        match found {
            "exited" => world.runtime.end(&id, 37),
            "nothing" => world.runtime.reboot(),
            _ => {}
        }
        let container = world.records.get(&id).unwrap();
        let run = container.state.run().unwrap().clone();
        let exit = Exit { code: 3, oom_killed: false, at: Timestamp::UNIX_EPOCH, error: None };
        first.retire();
        settle().await;
        world.records.put(Container {
            state: match recorded {
                "starting" => State::Starting,
                "running" => State::Running(run),
                "paused" => State::Paused(run),
                "removing" => State::Removing,
                "created" => State::Created,
                _ => State::Stopped(exit),
            },
            ..container
        });
        let second = successor(&world, first).await;
        assert_eq!(state(&second, "c"), wanted, "{line}");
        if wanted != "gone" {
            let found = exit_code(&second, "c").await.map_or("-".to_owned(), |c| c.to_string());
            assert_eq!(found, code, "{line}");
        }
        let alive = matches!(wanted, "running" | "paused");
        assert_eq!(world.runtime.running().len(), usize::from(alive), "{line}");
        remove_all(&second).await;
        assert_empty(&world, line);
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_with_rm_that_ended_while_the_daemon_was_dead_is_removed() {
    let world = world();
    let first = engine(&world);
    first.run(ephemeral("ended", "sleep")).await.unwrap();
    first.run(ephemeral("runs", "sleep")).await.unwrap();
    first.create(ephemeral("created", "sleep")).await.unwrap();
    let ended = id(&first, "ended").await;
    first.retire();
    settle().await;
    world.runtime.end(&ended, 0);
    let second = successor(&world, first).await;
    assert_eq!(state(&second, "ended"), "gone");
    assert_eq!(state(&second, "runs"), "running");
    assert_eq!(state(&second, "created"), "created");
    world.runtime.end(&id(&second, "runs").await, 0);
    settle().await;
    assert_eq!(state(&second, "runs"), "gone");
}

#[tokio::test(start_paused = true)]
async fn policies_decide_what_runs_after_a_reboot() {
    for (policy, stopped, wanted) in [
        (RestartPolicy::No, false, "exited"),
        (RestartPolicy::Always, false, "running"),
        (RestartPolicy::Always, true, "running"),
        (RestartPolicy::UnlessStopped, false, "running"),
        (RestartPolicy::UnlessStopped, true, "exited"),
        (RestartPolicy::OnFailure(0), false, "running"),
        (RestartPolicy::OnFailure(0), true, "exited"),
    ] {
        let world = world();
        let first = engine(&world);
        first.run(restarted("c", "sleep", policy)).await.unwrap();
        if stopped {
            first.stop("c", StopOptions::default()).await.unwrap();
        }
        first.retire();
        settle().await;
        world.runtime.reboot();
        let second = successor(&world, first).await;
        tokio::time::advance(Duration::from_millis(1)).await;
        settle().await;
        assert_eq!(state(&second, "c"), wanted, "{policy:?} stopped: {stopped}");
        second.retire();
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_owns_is_swept_and_what_is_missing_is_made_again() {
    let world = world();
    let first = engine(&world);
    first.create(request("c", "sleep")).await.unwrap();
    let id = id(&first, "c").await;
    let image = first.find_image("busybox").unwrap().id.clone();
    let orphan = ContainerId::from_random([9; 32]);
    world.store.put_layer(&orphan, &image);
    isula_core::ports::Snapshots::remove(&*world.store, &id).await.unwrap();
    let second = engine(&world);
    let recovery = second.recover().await.unwrap();
    assert_eq!(recovery.notes.len(), 2, "{:?}", recovery.notes);
    assert_eq!(world.store.layers(), [id]);
    second.start("c").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn damage_is_named_and_stops_nothing() {
    let world = world();
    let quarantined =
        Quarantined { path: "/data/quarantine/x".into(), reason: "cut short".to_owned() };
    world.records.quarantine(quarantined.clone());
    // Two records claim one name; one has no image any more.
    for byte in [1, 2] {
        let mut container = conformance::container(&ContainerId::from_random([byte; 32]));
        container.name = Name::try_from("twin".to_owned()).unwrap();
        world.records.put(container);
    }
    let engine = engine(&world);
    let recovery = engine.recover().await.unwrap();
    assert_eq!(recovery.quarantined, [quarantined]);
    assert_eq!(recovery.containers, 2);
    assert_eq!(engine.damage(), ["/data/quarantine/x: cut short"]);
    assert_eq!(state(&engine, "twin"), "created");
    let renamed = ContainerId::from_random([2; 32]);
    assert_eq!(
        engine.inspect(renamed.as_str()).await.unwrap().container.name,
        Name::from(&renamed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_cannot_tell_does_not_end_what_may_run() {
    let world = world();
    let first = engine(&world);
    first.run(request("c", "sleep")).await.unwrap();
    first.retire();
    settle().await;
    world.failures.always("runtime.recover", isula_core::testing::Trouble::Hangs);
    let second = engine(&world);
    let recovery = second.recover().await.unwrap();
    assert_eq!((recovery.running, state(&second, "c")), (1, "running"));
    world.failures.clear();
    let run: Run = second.inspect("c").await.unwrap().container.state.run().unwrap().clone();
    assert!(run.pid > 0);
    world.runtime.end(&id(&second, "c").await, 4);
    assert_eq!(second.wait("c", Condition::NotRunning).await.unwrap(), 4);
}
