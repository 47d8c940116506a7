//! Restart policies and `--rm`, with a clock that the test moves.

use std::time::Duration;

use isula_core::{container::RestartPolicy, signal::Signal, testing::Trouble};
use isula_engine::{
    Patience, StopOptions,
    container::{Condition, RemoveOptions},
};
use tokio::time::advance;

use crate::support::{
    assert_empty, engine, ephemeral, exit_code, id, request, restarted, settle, state, world,
};

#[tokio::test(start_paused = true)]
async fn an_always_container_comes_back_after_pauses_that_double() {
    let world = world();
    let engine = engine(&world);
    engine.run(restarted("c", "exit 1", RestartPolicy::Always)).await.unwrap();
    for (starts, pause) in [(1, 100), (2, 200), (3, 400), (4, 800)] {
        settle().await;
        assert_eq!(state(&engine, "c"), "restarting");
        assert_eq!(world.runtime.launches().len(), starts);
        advance(Duration::from_millis(pause - 1)).await;
        settle().await;
        assert_eq!(world.runtime.launches().len(), starts, "not before {pause} ms");
        advance(Duration::from_millis(2)).await;
        settle().await;
    }
    assert_eq!(engine.inspect("c").await.unwrap().container.restarts, 4);
    engine.stop("c", StopOptions::default()).await.unwrap();
    advance(Duration::from_secs(100)).await;
    settle().await;
    assert_eq!(state(&engine, "c"), "exited");
    assert_eq!(world.runtime.launches().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn on_failure_gives_up_after_its_limit_and_waiters_wait_for_that() {
    let world = world();
    let engine = engine(&world);
    engine.run(restarted("c", "exit 9", RestartPolicy::OnFailure(2))).await.unwrap();
    assert_eq!(engine.wait("c", Condition::NotRunning).await.unwrap(), 9);
    assert_eq!(state(&engine, "c"), "exited");
    assert_eq!(world.runtime.launches().len(), 3);
    engine.run(restarted("d", "exit 0", RestartPolicy::OnFailure(2))).await.unwrap();
    engine.wait("d", Condition::NotRunning).await.unwrap();
    assert_eq!(world.runtime.launches().len(), 4, "success is no failure");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_a_user_ended_is_not_started_again() {
    let world = world();
    let engine = engine(&world);
    for policy in [RestartPolicy::Always, RestartPolicy::UnlessStopped, RestartPolicy::OnFailure(0)]
    {
        engine.run(restarted("c", "sleep", policy)).await.unwrap();
        engine.kill("c", Signal::KILL).await.unwrap();
        settle().await;
        assert_eq!(state(&engine, "c"), "exited", "{policy:?}");
        engine.start("c").await.unwrap();
        engine.stop("c", StopOptions::default()).await.unwrap();
        settle().await;
        assert_eq!(state(&engine, "c"), "exited", "{policy:?}");
        engine.start("c").await.unwrap();
        world.runtime.end(&id(&engine, "c").await, 1);
        settle().await;
        assert_eq!(state(&engine, "c"), "restarting", "{policy:?}: it ended by itself");
        engine.remove("c", RemoveOptions { force: true, volumes: false }).await.unwrap();
        advance(Duration::from_secs(100)).await;
        settle().await;
        assert_empty(&world, "after the removal");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_tried_again() {
    let world = world();
    let engine = engine(&world);
    engine.run(restarted("c", "sleep", RestartPolicy::Always)).await.unwrap();
    world.failures.always("runtime.start", Trouble::Fails(isula_core::error::ErrorKind::Internal));
    world.runtime.end(&id(&engine, "c").await, 1);
    settle().await;
    advance(Duration::from_millis(101)).await;
    settle().await;
    assert_eq!(state(&engine, "c"), "restarting");
    assert_eq!(exit_code(&engine, "c").await, Some(128));
    world.failures.clear();
    advance(Duration::from_millis(201)).await;
    settle().await;
    assert_eq!(state(&engine, "c"), "running");
}

#[tokio::test(start_paused = true)]
async fn a_container_with_rm_is_gone_after_its_end_however_it_ended() {
    let world = world();
    let engine = engine(&world);
    engine.run(ephemeral("a", "exit 0")).await.unwrap();
    engine.run(ephemeral("b", "sleep")).await.unwrap();
    engine.run(ephemeral("c", "sleep")).await.unwrap();
    engine.stop("b", StopOptions::default()).await.unwrap();
    engine.kill("c", Signal::KILL).await.unwrap();
    settle().await;
    assert_empty(&world, "after all have ended");

    engine.run(ephemeral("d", "sleep")).await.unwrap();
    engine.restart("d", StopOptions::default()).await.unwrap();
    assert_eq!(state(&engine, "d"), "running", "a restart is not an end");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_runtime_loses_sight_of_is_found_again_or_given_up() {
    let world = world();
    let engine = engine(&world);
    engine.run(request("c", "sleep")).await.unwrap();
    world.runtime.reboot();
    settle().await;
    assert_eq!(state(&engine, "c"), "exited");
    assert_eq!(exit_code(&engine, "c").await, Some(255));
}

#[tokio::test(start_paused = true)]
async fn the_wish_to_stop_is_recorded_first_where_a_policy_could_undo_it() {
    for (policy, saves) in [(RestartPolicy::No, 1), (RestartPolicy::Always, 2)] {
        let world = world();
        let engine = engine(&world);
        engine.run(restarted("c", "sleep", policy)).await.unwrap();
        let before = world.failures.calls().len();
        engine.stop("c", StopOptions::default()).await.unwrap();
        let calls = world.failures.calls().split_off(before);
        let count = |name: &str| calls.iter().filter(|call| **call == name).count();
        assert_eq!(count("records.save"), saves, "{policy:?}: {calls:?}");
        let id = id(&engine, "c").await;
        assert!(world.records.get(&id).unwrap().stopped_by_user, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_patience_sends_nothing_but_sigkill() {
    for (patience, code, signals) in [(Duration::ZERO, 137, 1), (Duration::from_secs(1), 143, 1)] {
        let world = world();
        let engine = engine(&world);
        engine.run(request("c", "sleep")).await.unwrap();
        let before = world.failures.calls().len();
        let options = StopOptions { patience: Some(Patience::For(patience)), signal: None };
        engine.stop("c", options).await.unwrap();
        assert_eq!(exit_code(&engine, "c").await, Some(code));
        let calls = world.failures.calls().split_off(before);
        let sent = calls.iter().filter(|call| **call == "runtime.kill").count();
        assert_eq!(sent, signals, "{calls:?}");
    }
}
