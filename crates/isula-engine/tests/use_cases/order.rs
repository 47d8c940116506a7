//! Who waits for whom, what clients see, and what is told.

use std::sync::Arc;

use futures_util::StreamExt;
use isula_core::{
    container::ExecConfig,
    error::ErrorKind,
    event::{ContainerAction, What},
    ports::{Chunk, LogOptions, Output},
    signal::Signal,
    testing::Trouble,
};
use isula_engine::{
    Engine, Patience, StopOptions,
    container::{Condition, RemoveOptions},
};

use crate::support::{
    ALL, assert_empty, engine, ephemeral, exit_code, id, request, settle, state, world,
};

const FOREVER: StopOptions = StopOptions { patience: Some(Patience::Forever), signal: None };

#[tokio::test(start_paused = true)]
async fn operations_on_one_container_go_one_after_the_other() {
    let world = world();
    let engine = engine(&world);
    engine.create(request("c", "sleep")).await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move {
                match n % 4 {
                    0 => drop(engine.start("c").await),
                    1 => drop(engine.stop("c", StopOptions::default()).await),
                    2 => drop(engine.restart("c", StopOptions::default()).await),
                    _ => drop(engine.pause("c").await),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    settle().await;
    let running = state(&engine, "c") != "exited";
    assert_eq!(world.runtime.running().len(), usize::from(running));
    let id = id(&engine, "c").await;
    let shown = engine.inspect("c").await.unwrap().container;
    assert_eq!(world.records.get(&id).unwrap(), *shown, "what is shown is what is recorded");
    engine.remove("c", RemoveOptions { force: true, volumes: false }).await.unwrap();
    assert_empty(&world, "after the crowd");
}

#[tokio::test(start_paused = true)]
async fn readers_a_kill_and_a_forced_removal_do_not_wait_for_a_stop_that_waits() {
    let world = world();
    let engine = engine(&world);
    engine.run(request("c", "sleep")).await.unwrap();
    world.runtime.be_stubborn(&id(&engine, "c").await);
    let stop = |engine: &Arc<Engine>| {
        let engine = Arc::clone(engine);
        tokio::spawn(async move { engine.stop("c", FOREVER).await })
    };
    let stopping = stop(&engine);
    settle().await;
    assert_eq!(state(&engine, "c"), "running");
    engine.kill("c", Signal::KILL).await.unwrap();
    stopping.await.unwrap().unwrap();
    assert_eq!(exit_code(&engine, "c").await, Some(137));

    engine.start("c").await.unwrap();
    world.runtime.be_stubborn(&id(&engine, "c").await);
    let stopping = stop(&engine);
    settle().await;
    engine.remove("c", RemoveOptions { force: true, volumes: false }).await.unwrap();
    stopping.await.unwrap().unwrap();
    assert_empty(&world, "after the removal");
}

#[tokio::test(start_paused = true)]
async fn one_container_that_hangs_stops_no_other() {
    let world = world();
    let engine = engine(&world);
    engine.create(request("stuck", "sleep")).await.unwrap();
    world.failures.always("runtime.start", Trouble::Hangs);
    let starting = Arc::clone(&engine);
    let starting = tokio::spawn(async move { starting.start("stuck").await });
    settle().await;
    assert_eq!(state(&engine, "stuck"), "starting");
    world.failures.clear();
    engine.run(request("free", "sleep")).await.unwrap();
    assert_eq!(state(&engine, "free"), "running");
    let error = starting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(state(&engine, "stuck"), "exited");
}

#[tokio::test(start_paused = true)]
async fn an_attached_client_gets_every_byte_and_the_exit_status() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("c", "");
    new.overrides.cmd = ["sh", "-c", "echo hello; exit 5"].map(str::to_owned).to_vec();
    let mut attached = engine.run_attached(new.clone(), ALL).await.unwrap();
    let mut output = Vec::new();
    while let Some(chunk) = attached.session.output.next().await {
        output.push(chunk.unwrap());
    }
    assert_eq!(output, [Chunk::Output(Output::Stdout, "hello\n".into())]);
    assert_eq!(attached.exit.await.unwrap(), 5);

    new.name = Some("d".to_owned());
    new.host.auto_remove = true;
    let attached = engine.run_attached(new, ALL).await.unwrap();
    assert_eq!(attached.exit.await.unwrap(), 5);
    assert_eq!(state(&engine, "d"), "gone", "--rm is done when the status is told");

    let mut log = engine.logs("c", LogOptions::default()).await.unwrap();
    assert!(log.next().await.is_none(), "the fake's log goes with the run");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_started_says_why_and_stays_unless_it_removes_itself() {
    let world = world();
    let engine = engine(&world);
    for (command, kind, code) in [
        ("/no/such", ErrorKind::CommandNotFound, 127),
        ("/etc/passwd", ErrorKind::NotExecutable, 126),
    ] {
        let error = engine.run(request("c", command)).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let text = isula_core::error::chain(&error);
        assert!(text.starts_with("c: cannot start the init process: "), "{text}");
        assert_eq!(exit_code(&engine, "c").await, Some(code));
        let container = engine.inspect("c").await.unwrap().container;
        assert_eq!(container.state.exit().unwrap().error.as_ref(), Some(&text));
        engine.remove("c", RemoveOptions::default()).await.unwrap();
        let error = engine.run(ephemeral("e", command)).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_empty(&world, command);
    }
}

#[tokio::test(start_paused = true)]
async fn an_exec_runs_as_asked_in_a_container_that_runs() {
    let world = world();
    let engine = engine(&world);
    engine.run(request("c", "sleep")).await.unwrap();
    let container = id(&engine, "c").await;
    world.runtime.set_file(&container, "/etc/passwd", b"app:x:7:8::/srv:/bin/sh\n");
    let exec = |args: &str, user: Option<&str>| ExecConfig {
        args: args.split_whitespace().map(str::to_owned).collect(),
        user: user.map(str::to_owned),
        ..ExecConfig::default()
    };
    let attached = engine.exec_attached("c", exec("echo hi", Some("app")), ALL).await.unwrap();
    assert_eq!(attached.process.container, container);
    assert_eq!(attached.exit.await.unwrap(), 0);
    let first = engine.exec("c", exec("sleep", None)).await.unwrap();
    let second = engine.exec("c", exec("sleep", None)).await.unwrap();
    assert_ne!(first.id, second.id);
    for (config, kind) in [
        (exec("", None), ErrorKind::InvalidInput),
        (exec("nosuch", None), ErrorKind::CommandNotFound),
        (exec("true", Some("nosuch")), ErrorKind::InvalidInput),
        (ExecConfig { env: vec!["X".to_owned()], ..exec("true", None) }, ErrorKind::InvalidInput),
        (
            ExecConfig { working_dir: Some("rel".to_owned()), ..exec("true", None) },
            ErrorKind::InvalidInput,
        ),
    ] {
        let error = engine.exec("c", config.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{config:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_told_once_the_end_is_on_disk() {
    let world = world();
    let engine = engine(&world);
    engine.run(request("c", "sleep")).await.unwrap();
    let id = id(&engine, "c").await;
    let wait = |condition| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.wait("c", condition).await.unwrap() })
    };
    let idle = wait(Condition::NotRunning);
    let exit = wait(Condition::NextExit);
    let removed = wait(Condition::Removed);
    settle().await;
    assert!(!idle.is_finished() && !exit.is_finished());
    world.runtime.end(&id, 42);
    assert_eq!((idle.await.unwrap(), exit.await.unwrap()), (42, 42));
    world.records.cut_power();
    assert_eq!(world.records.get(&id).unwrap().state.exit().unwrap().code, 42);
    assert_eq!(engine.wait("c", Condition::NotRunning).await.unwrap(), 42, "at once");
    assert!(!removed.is_finished());
    engine.remove("c", RemoveOptions::default()).await.unwrap();
    assert_eq!(removed.await.unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_life_of_a_container_in_order() {
    let world = world();
    let engine = engine(&world);
    let mut events = engine.subscribe();
    engine.run(request("c", "sleep")).await.unwrap();
    engine.pause("c").await.unwrap();
    engine.resume("c").await.unwrap();
    engine.kill("c", Signal::try_from(10).unwrap()).await.unwrap();
    engine.rename("c", "d").await.unwrap();
    engine.stop("d", StopOptions::default()).await.unwrap();
    engine.remove("d", RemoveOptions::default()).await.unwrap();
    use ContainerAction::{Create, Destroy, Die, Kill, Pause, Rename, Start, Stop, Unpause};
    for wanted in [Create, Start, Pause, Unpause, Kill(10), Rename, Die(143), Stop, Destroy] {
        match events.next().await.unwrap().unwrap().what {
            What::Container { action, .. } => assert_eq!(action, wanted),
            other => panic!("{other:?}"),
        }
    }
    for n in 0..600 {
        engine.create(request(&format!("c{n}"), "sleep")).await.unwrap();
    }
    assert!(events.next().await.unwrap().is_err(), "a slow subscriber is told what it missed");
}

#[tokio::test(start_paused = true)]
async fn counts_and_users_of_images_are_told() {
    let world = world();
    let engine = engine(&world);
    engine.create(request("a", "sleep")).await.unwrap();
    engine.run(request("b", "sleep")).await.unwrap();
    engine.run(request("c", "sleep")).await.unwrap();
    engine.pause("c").await.unwrap();
    let counts = engine.counts();
    assert_eq!((counts.containers, counts.running, counts.paused), (3, 1, 1));
    assert_eq!((counts.stopped, counts.images), (1, 1));
    let image = engine.find_image("busybox").unwrap();
    assert_eq!(engine.containers_of(&image.id), 3);
    let in_use = engine.remove_image("busybox", false).await.unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::InUse);
}
