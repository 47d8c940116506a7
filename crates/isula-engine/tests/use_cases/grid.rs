//! Which operation is allowed in which state, and where it leads.

use std::{sync::Arc, time::Duration};

use isula_core::{
    container::{ExecConfig, RestartPolicy},
    signal::Signal,
};
use isula_engine::{Engine, StopOptions, container::RemoveOptions};

use crate::support::{ALL, engine, request, restarted, settle, state, world};

/// The state after each operation; `-` says that it is refused and the state stays.
const GRID: &str = "
                start    stop     kill     pause    resume   remove   force    rename   restart  exec     attach
    created     running  created  -        -        -        gone     gone     created  running  -        -
    running     running  exited   exited   paused   -        -        gone     running  running  running  running
    paused      -        exited   exited   -        running  -        gone     paused   running  -        -
    exited      running  exited   -        -        -        gone     gone     exited   running  -        -
    restarting  running  exited   -        -        -        -        gone     restarting running -       -
";

async fn bring_to(engine: &Arc<Engine>, state_name: &str) {
    let new = match state_name {
        "restarting" => restarted("c", "exit 1", RestartPolicy::Always),
        _ => request("c", "sleep"),
    };
    engine.create(new).await.unwrap();
    if state_name != "created" {
        engine.start("c").await.unwrap();
    }
    match state_name {
        "paused" => drop(engine.pause("c").await.unwrap()),
        "exited" => drop(engine.stop("c", StopOptions::default()).await.unwrap()),
        _ => {}
    }
    settle().await;
    assert_eq!(state(engine, "c"), state_name);
}

async fn act(engine: &Arc<Engine>, operation: &str) -> Result<(), isula_engine::Error> {
    let exec = ExecConfig { args: vec!["true".to_owned()], ..ExecConfig::default() };
    let removal = |force| RemoveOptions { force, volumes: false };
    match operation {
        "start" => engine.start("c").await.map(drop),
        "stop" => engine.stop("c", StopOptions::default()).await.map(drop),
        "kill" => engine.kill("c", Signal::KILL).await.map(drop),
        "pause" => engine.pause("c").await.map(drop),
        "resume" => engine.resume("c").await.map(drop),
        "remove" => engine.remove("c", removal(false)).await.map(drop),
        "force" => engine.remove("c", removal(true)).await.map(drop),
        "rename" => engine.rename("c", "d").await.map(drop),
        "restart" => engine.restart("c", StopOptions::default()).await.map(drop),
        "exec" => engine.exec("c", exec).await.map(drop),
        "attach" => engine.attach("c", ALL).await.map(drop),
        other => panic!("no operation {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_does_what_the_grid_says() {
    let mut lines = GRID.lines().filter(|line| !line.trim().is_empty());
    let operations: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let mut cells = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        let from = words.next().unwrap();
        for (operation, wanted) in operations.iter().zip(words) {
            let world = world();
            let engine = engine(&world);
            bring_to(&engine, from).await;
            let result = act(&engine, operation).await;
            let name = if *operation == "rename" { "d" } else { "c" };
            settle().await;
            let found = match state(&engine, name) {
                // A container that ends at once and is started again shows where it is by chance.
                "exited" if from == "restarting" && *operation != "stop" => "restarting",
                found => found,
            };
            let case = format!("{from} after {operation}");
            match wanted {
                "-" => {
                    assert!(result.is_err(), "{case} is refused");
                    assert_eq!(found, from, "{case}");
                }
                "running" if from == "restarting" => {
                    result.unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert!(matches!(found, "running" | "restarting"), "{case}: {found}");
                }
                wanted => {
                    result.unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(found, wanted, "{case}");
                }
            }
            cells += 1;
            engine.retire();
        }
    }
    assert_eq!(cells, 55);
}

#[tokio::test(start_paused = true)]
async fn stop_is_patient_as_long_as_it_was_asked_and_then_kills() {
    let world = world();
    let engine = engine(&world);
    let begun = tokio::time::Instant::now();
    for (patience, waited) in [
        (None, 10),
        (Some(isula_engine::Patience::For(Duration::from_secs(3))), 3),
        (Some(isula_engine::Patience::For(Duration::ZERO)), 0),
    ] {
        engine.run(request("c", "sleep")).await.unwrap();
        world.runtime.be_stubborn(&crate::support::id(&engine, "c").await);
        let before = begun.elapsed();
        engine.stop("c", StopOptions { patience, signal: None }).await.unwrap();
        assert_eq!((begun.elapsed() - before).as_secs(), waited);
        assert_eq!(crate::support::exit_code(&engine, "c").await, Some(137));
        engine.remove("c", RemoveOptions::default()).await.unwrap();
    }
}
