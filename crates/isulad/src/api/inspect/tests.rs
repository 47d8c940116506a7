//! `inspect` has every key that Docker and iSulad have.

use std::{path::PathBuf, sync::Arc};

use isula_core::{
    container::{
        Config, Container, Exit, HostConfig, Mount, MountKind, Propagation, Run, Source, State,
        Tmpfs, Ulimit,
    },
    id::{ContainerId, Name},
    image::{Digest, ImageId},
    ports::Rootfs,
};
use isula_engine::container::Inspection;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::render;

fn container(state: State) -> Container {
    Container {
        id: ContainerId::from_random([0xab; 32]),
        name: Name::try_from("web".to_owned()).unwrap(),
        created: "2024-01-02T03:04:05.5Z".parse().unwrap(),
        source: Source::Image {
            reference: "busybox".to_owned(),
            id: ImageId(Digest::from_sha256([1; 32])),
        },
        config: Config {
            entrypoint: vec!["sh".to_owned()],
            cmd: vec!["-c".to_owned(), "true".to_owned()],
            exposed_ports: vec!["80/tcp".to_owned()],
            ..Config::default()
        },
        host: HostConfig {
            runtime: "lcr".to_owned(),
            mounts: vec![
                mount(MountKind::Bind { source: "/src".to_owned(), create: false }, "/a", true),
                mount(MountKind::Volume { name: "data".to_owned(), anonymous: false }, "/b", false),
                mount(MountKind::Volume { name: "0f".repeat(32), anonymous: true }, "/c", false),
            ],
            tmpfs: vec![Tmpfs { target: "/t".to_owned(), options: "size=1m".to_owned() }],
            ulimits: vec![Ulimit { name: "core".to_owned(), soft: 0, hard: u64::MAX }],
            ..HostConfig::default()
        },
        state,
        restarts: 2,
        started: Some("2024-01-02T03:04:06Z".parse().unwrap()),
        stopped_by_user: false,
        pod: None,
        network: None,
    }
}

fn mount(kind: MountKind, target: &str, readonly: bool) -> Mount {
    Mount {
        kind,
        target: target.to_owned(),
        readonly,
        recursive: true,
        propagation: Propagation::Rprivate,
        no_copy: false,
    }
}

fn shown(state: State, name: &'static str) -> Value {
    render(&Inspection {
        container: Arc::new(container(state)),
        state: name,
        directory: PathBuf::from("/data/engines/lcr/ab"),
        image: None,
        rootfs: Some(Rootfs::Overlay {
            lower: vec!["/l1".into(), "/l2".into()],
            upper: "/u".into(),
            work: "/w".into(),
            volatile: false,
        }),
        volumes: vec![("data".to_owned(), "/data/volumes/data/_data".into())],
    })
}

fn run() -> Run {
    let started = Timestamp::UNIX_EPOCH;
    Run { pid: 7, pid_start: 1, shim_pid: 6, shim_start: 1, started }
}

#[test]
fn a_running_container_has_every_key() {
    let shown = shown(State::Running(run()), "running");
    for key in [
        "Id",
        "Created",
        "Path",
        "Args",
        "State",
        "Resources",
        "Image",
        "ResolvConfPath",
        "HostnamePath",
        "HostsPath",
        "LogPath",
        "Name",
        "RestartCount",
        "MountLabel",
        "ProcessLabel",
        "SeccompProfile",
        "NoNewPrivileges",
        "HostConfig",
        "GraphDriver",
        "Mounts",
        "Config",
        "NetworkSettings",
    ] {
        assert!(shown.get(key).is_some(), "{key}");
    }
    assert_eq!((&shown["Path"], &shown["Args"]), (&json!("sh"), &json!(["-c", "true"])));
    assert_eq!(shown["Created"], "2024-01-02T03:04:05.5Z");
    assert_eq!(shown["State"]["Status"], "running");
    assert_eq!(shown["State"]["Pid"], 7);
    assert_eq!(shown["State"]["FinishedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(shown["LogPath"], "/data/engines/lcr/ab/console.log");
    assert_eq!(shown["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(shown["GraphDriver"]["Data"]["LowerDir"], "/l1:/l2");
    assert_eq!(shown["NetworkSettings"]["Networks"].as_object().unwrap().len(), 1);
}

#[test]
fn the_mounts_are_shown_with_what_is_behind_them() {
    let shown = shown(State::Created, "created");
    let mounts = shown["Mounts"].as_array().unwrap();
    assert_eq!((&mounts[0]["Source"], &mounts[0]["RW"]), (&json!("/src"), &json!(false)));
    assert_eq!(mounts[1]["Source"], "/data/volumes/data/_data");
    assert_eq!(mounts[3]["Type"], "tmpfs");
    let host = &shown["HostConfig"];
    assert_eq!(host["Binds"], json!(["/src:/a:ro", "data:/b"]));
    assert_eq!(host["Tmpfs"], json!({"/t": "size=1m"}));
    assert_eq!(host["Ulimits"], json!([{"Name": "core", "Soft": 0, "Hard": -1}]));
    assert_eq!((&host["Memory"], &host["ShmSize"]), (&json!(0), &json!(64 << 20)));
}

#[test]
fn an_end_is_shown_with_its_reason_and_a_restart_as_running() {
    let at = "2024-01-02T03:04:07Z".parse().unwrap();
    let exit = Exit { code: 137, oom_killed: true, at, error: Some("why".to_owned()) };
    let state = &shown(State::Stopped(exit.clone()), "exited")["State"];
    assert_eq!((&state["Status"], &state["Running"]), (&json!("exited"), &json!(false)));
    assert_eq!((&state["ExitCode"], &state["OOMKilled"]), (&json!(137), &json!(true)));
    assert_eq!(
        (&state["Error"], &state["FinishedAt"]),
        (&json!("why"), &json!("2024-01-02T03:04:07Z"))
    );
    let state = &shown(State::Stopped(exit), "restarting")["State"];
    assert_eq!((&state["Status"], &state["Restarting"]), (&json!("restarting"), &json!(true)));
    assert_eq!(state["Running"], true);
    let state = &shown(State::Paused(run()), "paused")["State"];
    assert_eq!((&state["Paused"], &state["Running"]), (&json!(true), &json!(true)));
}
