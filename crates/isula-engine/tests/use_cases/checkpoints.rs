//! Checkpoints: who is frozen when, what is written, what is restored, and what a failure leaves.

use std::{path::Path, sync::Arc};

use isula_core::{
    container::State,
    error::ErrorKind,
    sandbox::{NewMember, SandboxId},
    testing::{Trouble, World},
};
use isula_engine::{Engine, checkpoint::RestoreRequest};

use crate::{
    sandboxes::{assert_no_sandbox, config, member, remove_sandboxes},
    support::{engine, settle, successor, world},
};

const SAVED: &str = "/saved";

/// A pod with two containers that run.
async fn pod(engine: &Arc<Engine>) -> (SandboxId, Vec<String>) {
    let id = engine.run_sandbox(config("web")).await.unwrap();
    let mut containers = Vec::new();
    for name in ["one", "two"] {
        let made = engine.create_member(member(&id, name)).await.unwrap();
        engine.start_member(made.id.as_str()).await.unwrap();
        containers.push(made.id.to_string());
    }
    (id, containers)
}

fn wanted(names: &[&str]) -> RestoreRequest {
    let nobody = SandboxId::from_random([9; 32]);
    let members = |name: &&str| NewMember { sandbox: String::new(), ..member(&nobody, name) };
    RestoreRequest {
        checkpoint: SAVED.into(),
        config: config("web"),
        members: names.iter().map(members).collect(),
    }
}

async fn save(world: &World, engine: &Arc<Engine>) {
    let (id, containers) = pod(engine).await;
    engine.checkpoint_sandbox(id.as_str(), SAVED.into(), &containers, None).await.unwrap();
    engine.remove_sandbox(id.as_str()).await.unwrap();
    settle().await;
    assert_no_sandbox(world, "after the checkpoint");
}

#[tokio::test(start_paused = true)]
async fn all_are_frozen_before_the_first_is_written_down_and_thawed_after_the_last() {
    let world = world();
    let engine = engine(&world);
    let (id, containers) = pod(&engine).await;
    engine.checkpoint_sandbox(id.as_str(), SAVED.into(), &containers, None).await.unwrap();
    let calls = world.failures.calls();
    let steps: Vec<_> = calls
        .into_iter()
        .filter(|call| ["runtime.pause", "runtime.checkpoint", "runtime.resume"].contains(call))
        .collect();
    let (pause, dump, resume) = ("runtime.pause", "runtime.checkpoint", "runtime.resume");
    assert_eq!(steps, [pause, pause, dump, dump, resume, resume]);
    assert!(world.runtime.frozen().is_empty());
    assert!(world.checkpoints.files().contains(&Path::new(SAVED).join("pod.json")));
    for container in &containers {
        assert!(matches!(engine.member(container).unwrap().state, State::Running(_)));
    }
    remove_sandboxes(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_nothing_stays_frozen_and_nothing_is_left() {
    let calls = [
        "runtime.pause",
        "runtime.checkpoint",
        "snapshots.pack",
        "checkpoints.make",
        "checkpoints.write",
        "pods.find",
    ];
    for call in calls {
        for trouble in [Trouble::Fails(ErrorKind::Internal), Trouble::Hangs] {
            // What is not awaited cannot hang.
            if call == "snapshots.pack" && trouble == Trouble::Hangs {
                continue;
            }
            let world = world();
            let engine = engine(&world);
            let (id, containers) = pod(&engine).await;
            world.failures.always(call, trouble);
            let made = engine.checkpoint_sandbox(id.as_str(), SAVED.into(), &containers, None);
            made.await.unwrap_err();
            // Only that of a pod has directories.
            if call != "checkpoints.make" {
                let location = "/archive.tar".into();
                engine.checkpoint_member(&containers[0], location, None).await.unwrap_err();
            }
            settle().await;
            world.failures.clear();
            let case = format!("{call} {trouble:?}");
            assert!(world.runtime.frozen().is_empty(), "{case}");
            assert!(world.checkpoints.files().is_empty(), "{case}");
            assert!(world.checkpoints.directories().is_empty(), "{case}");
            // And it can be asked for again.
            engine.checkpoint_member(&containers[0], "/archive.tar".into(), None).await.unwrap();
            assert_eq!(world.checkpoints.files(), [Path::new("/archive.tar")], "{case}");
            remove_sandboxes(&engine).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_running_containers_of_the_pod_are_written_down_each_once() {
    let world = world();
    let engine = engine(&world);
    let (id, containers) = pod(&engine).await;
    let created = engine.create_member(member(&id, "created")).await.unwrap().id.to_string();
    let other = engine.run_sandbox(config("other")).await.unwrap();
    let foreign = engine.create_member(member(&other, "x")).await.unwrap().id.to_string();
    engine.start_member(&foreign).await.unwrap();
    let [one, two] = [containers[0].clone(), containers[1].clone()];
    for (containers, kind) in [
        (vec![], ErrorKind::InvalidInput),
        (vec![one.clone(), one.clone()], ErrorKind::InvalidInput),
        (vec![one.clone(), foreign], ErrorKind::InvalidInput),
        (vec![one, created], ErrorKind::WrongState),
        (vec![two, "ffff".to_owned()], ErrorKind::NotFound),
    ] {
        let made = engine.checkpoint_sandbox(id.as_str(), SAVED.into(), &containers, None).await;
        assert_eq!(made.unwrap_err().kind(), kind, "{containers:?}");
    }
    assert!(world.checkpoints.files().is_empty());
    remove_sandboxes(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_restored_and_its_processes_wait_for_the_start() {
    let world = world();
    let engine = engine(&world);
    save(&world, &engine).await;
    let before = world.runtime.launches().len();
    let restored = engine.restore_sandbox(wanted(&["two", "one"])).await.unwrap();
    assert_eq!(world.runtime.launches().len(), before, "nothing was started");
    let names: Vec<_> = restored.containers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["two", "one"]);
    for (_, container) in &restored.containers {
        assert!(matches!(engine.member(container.as_str()).unwrap().state, State::Created));
        engine.start_member(container.as_str()).await.unwrap();
        let launch = world.runtime.launches().pop().unwrap();
        let kept = launch.restore.unwrap();
        assert!(kept.starts_with(&launch.bundle), "{}", kept.display());
        assert!(!world.checkpoints.directories().contains(&kept), "needed no more");
    }
    remove_sandboxes(&engine).await;
    assert_no_sandbox(&world, "at the end");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_not_restored() {
    let world = world();
    let engine = engine(&world);
    save(&world, &engine).await;
    let refused = async |request: RestoreRequest, kind: ErrorKind, word: &str| {
        let error = engine.restore_sandbox(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let text = isula_core::error::chain(&error);
        assert!(text.contains(word), "{text}");
        settle().await;
        assert_no_sandbox(&world, word);
    };
    use ErrorKind::{Corrupt, InvalidInput, Unsupported};
    refused(wanted(&["one"]), InvalidInput, "the request has not").await;
    refused(wanted(&["one", "two", "three"]), InvalidInput, "no such container").await;
    refused(wanted(&["one", "two", "two"]), InvalidInput, "twice").await;
    let mut other = wanted(&["one", "two"]);
    other.members[1].args = vec!["sleep".to_owned(), "9".to_owned()];
    refused(other, InvalidInput, "another command").await;
    let mut other = wanted(&["one", "two"]);
    other.members[0].envs.push(("A".to_owned(), "b".to_owned()));
    refused(other, InvalidInput, "another environment").await;
    let mut other = wanted(&["one", "two"]);
    other.config.runtime_handler = "nope".to_owned();
    refused(other, InvalidInput, "unknown runtime handler").await;
    let pod = Path::new(SAVED).join("pod.json");
    world.checkpoints.overwrite(&pod, br#"{"version": 2, "shm": false, "containers": []}"#);
    refused(wanted(&["one", "two"]), Unsupported, "layout 2").await;
    world.checkpoints.overwrite(&pod, b"[");
    refused(wanted(&["one", "two"]), Corrupt, "no checkpoint").await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_fails_leaves_nothing() {
    for call in
        ["snapshots.unpack", "checkpoints.copy", "checkpoints.read", "runtime.can_checkpoint"]
    {
        let world = world();
        let engine = engine(&world);
        save(&world, &engine).await;
        world.failures.always(call, Trouble::Fails(ErrorKind::Unsupported));
        let error = engine.restore_sandbox(wanted(&["one", "two"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{call}");
        world.failures.clear();
        settle().await;
        assert_no_sandbox(&world, call);
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_a_dead_daemon_began_leaves_no_frozen_container() {
    let world = world();
    let engine = engine(&world);
    let (_, containers) = pod(&engine).await;
    let id = engine.member(&containers[0]).unwrap().id.clone();
    isula_core::ports::Runtime::pause(world.runtime.as_ref(), &id).await.unwrap();
    let engine = successor(&world, engine).await;
    assert!(world.runtime.frozen().is_empty());
    assert!(matches!(engine.member(&containers[0]).unwrap().state, State::Running(_)));
    remove_sandboxes(&engine).await;
}
