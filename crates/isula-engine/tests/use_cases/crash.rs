//! The daemon dies at every fault point, with and without a power cut: the next one finds a whole
//! world, and nothing acknowledged is lost.

use std::{cell::Cell, sync::Arc};

use isula_core::{
    container::{Mount, NetworkMode},
    fault,
    sandbox::{ContainerMetadata, NewMember, SandboxConfig, SandboxFilter},
    testing::World,
};
use isula_engine::{
    Engine, FAULT_POINTS, SANDBOX_FAULT_POINTS, StopOptions, container::RemoveOptions,
};

use crate::support::{
    anonymous, assert_empty, engine, published, remove_all, request, settle, state, successor,
    world,
};

/// What only a container with a network passes.
const OF_NETWORKS: [&str; 4] =
    ["connect.reserved", "connect.namespace", "connect.attached", "connect.detached"];

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
async fn live(
    engine: Arc<Engine>,
    (mounts, network): (Vec<Mount>, NetworkMode),
    acknowledged: Arc<std::sync::Mutex<&'static str>>,
) {
    let tell = |state| *acknowledged.lock().unwrap() = state;
    let mut new = request("c", "sleep");
    (new.host.mounts, new.host.network) = (mounts, network);
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
async fn world_after(
    point: &'static str,
    (mounts, network): (&[Mount], &NetworkMode),
) -> (World, Arc<Engine>, &'static str) {
    let world = world();
    let first = engine(&world);
    let acknowledged = Arc::new(std::sync::Mutex::new("nothing"));
    DIES_AT.set(Some(point));
    let life =
        live(Arc::clone(&first), (mounts.to_vec(), network.clone()), Arc::clone(&acknowledged));
    let life = tokio::spawn(life).await;
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
    // A container whose volumes go with it leaves in more steps than one without, and one with a
    // network comes in more.
    let kinds = [
        (vec![anonymous("/data")], published(8080)),
        (Vec::new(), published(0)),
        (Vec::new(), NetworkMode::None),
    ];
    for point in FAULT_POINTS {
        for (kind, power_cut) in kinds.iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let (mounts, network) = kind;
            if *network == NetworkMode::None && OF_NETWORKS.contains(&point) {
                continue;
            }
            let (world, first, told) = world_after(point, (mounts, network)).await;
            if power_cut {
                world.records.cut_power();
                world.runtime.reboot();
            }
            let case =
                format!("{point}, {mounts:?}, {network}, power cut: {power_cut}, told {told}");
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
            let connected = if *network == NetworkMode::None { 0 } else { running };
            assert_eq!(world.networks.attached().len(), connected, "{case}: attachments");
            assert_eq!(world.networks.namespaces().len(), connected, "{case}: namespaces");
            if found != "gone" && found != "running" {
                second.start("c").await.unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            remove_all(&second).await;
            assert_empty(&world, &case);
        }
    }
}

/// The same for a pod with one container.
async fn live_in_a_pod(engine: Arc<Engine>, told: Arc<std::sync::Mutex<&'static str>>) {
    let tell = |state| *told.lock().unwrap() = state;
    let mut config = SandboxConfig::default();
    config.metadata.name = "web".to_owned();
    let id = engine.run_sandbox(config).await.unwrap();
    tell("ready");
    let new = NewMember {
        sandbox: id.to_string(),
        metadata: ContainerMetadata { name: "app".to_owned(), attempt: 0 },
        image: "busybox".to_owned(),
        ..NewMember::default()
    };
    let app = engine.create_member(new).await.unwrap().id;
    engine.start_member(app.as_str()).await.unwrap();
    engine.stop_sandbox(id.as_str()).await.unwrap();
    tell("notready");
    engine.remove_sandbox(id.as_str()).await.unwrap();
    tell("gone");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_at_any_point_of_a_pod_leaves_nothing_half_made() {
    fault::install(die);
    for point in SANDBOX_FAULT_POINTS {
        for power_cut in [false, true] {
            let world = world();
            let first = engine(&world);
            let told = Arc::new(std::sync::Mutex::new("nothing"));
            DIES_AT.set(Some(point));
            let life = tokio::spawn(live_in_a_pod(Arc::clone(&first), Arc::clone(&told))).await;
            DIES_AT.set(None);
            assert!(life.is_err(), "{point} is passed");
            first.retire();
            settle().await;
            if power_cut {
                world.sandboxes.cut_power();
                world.records.cut_power();
                world.runtime.reboot();
                world.pods.reboot();
            }
            let told = *told.lock().unwrap();
            let case = format!("{point}, power cut: {power_cut}, told {told}");
            let second = successor(&world, first).await;
            let found = second.list_sandboxes(&SandboxFilter::default());
            let state = found.first().map_or("gone", |sandbox| sandbox.state.name());
            let fitting: &[&str] = match (told, power_cut) {
                ("nothing", _) => &["gone", "ready", "notready"],
                ("ready", false) => &["ready", "notready"],
                ("ready", true) => &["notready"],
                ("notready", _) => &["notready", "gone"],
                _ => &["gone"],
            };
            assert!(fitting.contains(&state), "{case}: found {state}");
            let alive = usize::from(state == "ready");
            assert_eq!(world.sandboxes.count(), found.len(), "{case}: records");
            assert_eq!(world.pods.all().len(), alive, "{case}: namespaces");
            assert_eq!(world.networks.attached().len(), alive, "{case}: attachments");
            assert_eq!(world.networks.namespaces().len(), alive, "{case}: network namespaces");
            for sandbox in found {
                second.remove_sandbox(sandbox.id.as_str()).await.unwrap();
            }
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
    listed.extend(SANDBOX_FAULT_POINTS.map(str::to_owned));
    listed.sort();
    assert_eq!(named, listed);
}
