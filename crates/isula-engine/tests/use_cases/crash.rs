//! The daemon dies at every fault point, with and without a power cut: the next one finds a whole
//! world, and nothing acknowledged is lost.

use std::{cell::Cell, sync::Arc};

use isula_core::{fault, testing::World};
use isula_engine::{Engine, FAULT_POINTS, StopOptions, container::RemoveOptions};

use crate::support::{
    anonymous, assert_empty, engine, remove_all, request, settle, state, successor, world,
};

thread_local! {
    /// Where the daemon of this test dies.
    static DIES_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

fn die(point: &'static str) {
    if DIES_AT.get() == Some(point) {
        DIES_AT.set(None);
        // Nothing that was to come after happens; no undo runs.
        std::panic::resume_unwind(Box::new(point));
    }
}

/// A whole life; after each step `acknowledged` says what the client was told last.
async fn live(engine: Arc<Engine>, acknowledged: Arc<std::sync::Mutex<&'static str>>) {
    let tell = |state| *acknowledged.lock().unwrap() = state;
    let mut new = request("c", "sleep");
    new.host.mounts = vec![anonymous("/data")];
    engine.create(new).await.unwrap();
    tell("created");
    engine.start("c").await.unwrap();
    tell("running");
    engine.stop("c", StopOptions::default()).await.unwrap();
    tell("exited");
    engine.remove("c", RemoveOptions { force: false, volumes: true }).await.unwrap();
    tell("gone");
}

/// Lets a daemon die at `point`. Gives the world it leaves and what it had acknowledged.
async fn world_after(point: &'static str) -> (World, Arc<Engine>, &'static str) {
    let world = world();
    let first = engine(&world);
    let acknowledged = Arc::new(std::sync::Mutex::new("nothing"));
    DIES_AT.set(Some(point));
    let life = tokio::spawn(live(Arc::clone(&first), Arc::clone(&acknowledged))).await;
    DIES_AT.set(None);
    assert!(life.is_err(), "{point} is passed");
    first.retire();
    settle().await;
    let told = *acknowledged.lock().unwrap();
    (world, first, told)
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_at_any_point_leaves_a_world_that_the_next_one_puts_right() {
    fault::install(die);
    for point in FAULT_POINTS {
        for power_cut in [false, true] {
            let (world, first, told) = world_after(point).await;
            if power_cut {
                world.records.cut_power();
                world.runtime.reboot();
            }
            let case = format!("{point}, power cut: {power_cut}, told {told}");
            let second = successor(&world, first).await;
            let found = state(&second, "c");
            let fitting: &[&str] = match (told, power_cut) {
                ("nothing", _) => &["gone", "created"],
                // The start may have happened already, or be undone.
                ("created", false) => &["created", "running", "exited"],
                ("created", true) => &["created", "exited"],
                ("running", false) => &["running", "exited"],
                ("running", true) => &["exited"],
                ("exited", _) => &["exited", "gone"],
                _ => &["gone"],
            };
            assert!(fitting.contains(&found), "{case}: found {found}");
            let records = usize::from(found != "gone");
            assert_eq!(world.records.count(), records, "{case}: records");
            assert_eq!(world.store.layers().len(), records, "{case}: layers");
            let running = usize::from(found == "running");
            assert_eq!(world.runtime.traces().len(), running, "{case}: runs");
            if found != "gone" && found != "running" {
                second.start("c").await.unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            remove_all(&second).await;
            assert_empty(&world, &case);
        }
    }
}

#[test]
fn the_list_of_fault_points_is_whole() {
    let mut named = Vec::new();
    let mut directories =
        vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let calls = text.split("fault::point(\"").skip(1);
            named.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    named.sort();
    let mut listed = FAULT_POINTS.map(str::to_owned).to_vec();
    listed.sort();
    assert_eq!(named, listed);
}
