//! What `create` accepts, makes and refuses.

use isula_core::{
    container::{Healthcheck, Joins, MountKind, NetworkMode, NewContainer},
    error::ErrorKind,
    image::ImageConfig,
    ports::Rootfs,
};
use isula_engine::{Error, container::RemoveOptions};

use crate::support::{anonymous, assert_empty, engine, id, request, world};

async fn refused(new: NewContainer) -> Error {
    let world = world();
    let error = engine(&world).create(new).await.unwrap_err();
    assert_empty(&world, &error.to_string());
    let message = isula_core::error::chain(&error);
    assert!(!message.contains('\n') && !message.ends_with('.'), "{message}");
    error
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_with_one_line_and_leave_nothing() {
    let with = |change: fn(&mut NewContainer)| {
        let mut new = request("c", "sleep");
        change(&mut new);
        new
    };
    for (new, kind) in [
        (with(|n| n.image = Some("nosuch".to_owned())), ErrorKind::ImageNotFound),
        (with(|n| n.image = None), ErrorKind::InvalidInput),
        (with(|n| n.external_rootfs = Some("/x".to_owned())), ErrorKind::InvalidInput),
        (with(|n| n.name = Some("../../x".to_owned())), ErrorKind::InvalidInput),
        (with(|n| n.host.runtime = "nosuch".to_owned()), ErrorKind::InvalidInput),
        (with(|n| n.overrides.user = Some("nosuch".to_owned())), ErrorKind::InvalidInput),
        (with(|n| n.overrides.user = Some("4294967296".to_owned())), ErrorKind::InvalidInput),
        (with(|n| n.host.group_add = vec!["nosuch".to_owned()]), ErrorKind::InvalidInput),
        (with(|n| n.host.resources.memory = Some(1)), ErrorKind::InvalidInput),
        (with(|n| n.joins.network = Some("nosuch".to_owned())), ErrorKind::NotFound),
        (with(|n| n.host.devices = vec![device("/dev/nosuch")]), ErrorKind::NotFound),
        (with(|n| n.host.mounts = vec![bind("/missing/x")]), ErrorKind::InvalidInput),
        (with(|n| n.host.hooks = Some(serde_json::json!([]))), ErrorKind::InvalidInput),
        (
            with(|n| n.host.storage_options = [("size".to_owned(), "1".to_owned())].into()),
            ErrorKind::Unsupported,
        ),
        (with(|n| n.host.security_opt = vec!["seccomp={}".to_owned()]), ErrorKind::InvalidInput),
    ] {
        let error = refused(new.clone()).await;
        assert_eq!(error.kind(), kind, "{error}: {new:?}");
    }
    let mut nothing = request("c", "");
    nothing.overrides.entrypoint = Some(Vec::new());
    assert_eq!(refused(nothing).await.to_string(), "no command specified");
}

fn device(path: &str) -> isula_core::container::DeviceMapping {
    isula_core::container::DeviceMapping {
        host: path.to_owned(),
        container: path.to_owned(),
        permissions: "rwm".to_owned(),
    }
}

fn bind(source: &str) -> isula_core::container::Mount {
    let kind = MountKind::Bind { source: source.to_owned(), create: false };
    isula_core::container::Mount { kind, ..anonymous("/mnt") }
}

#[tokio::test(start_paused = true)]
async fn anonymous_volumes_of_user_and_image_are_named_filled_and_removed_with_v() {
    let world = world();
    let config = ImageConfig {
        cmd: vec!["sleep".to_owned()],
        volumes: vec!["/data".to_owned(), "/logs".to_owned(), "/tmp".to_owned()],
        ..ImageConfig::default()
    };
    world.store.add_image("db", config);
    let engine = engine(&world);
    let mut new = request("c", "sleep");
    new.image = Some("db".to_owned());
    new.host.mounts = vec![anonymous("/own"), anonymous("/data/../logs")];
    new.host.tmpfs =
        vec![isula_core::container::Tmpfs { target: "/tmp/".to_owned(), options: String::new() }];
    engine.create(new.clone()).await.unwrap();
    let facts = engine.inspect("c").await.unwrap();
    let targets: Vec<&str> =
        facts.container.host.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/own", "/logs", "/data"]);
    assert_eq!(world.volumes.names().len(), 3);
    assert_eq!(facts.volumes.len(), 3);
    let mut filled: Vec<String> = world.store.copied().into_iter().map(|(path, _)| path).collect();
    filled.sort();
    assert_eq!(filled, ["/data", "/logs", "/own"]);

    engine.start("c").await.unwrap();
    assert_eq!(world.store.copied().len(), 3, "a volume is filled once");
    let forced = RemoveOptions { force: true, volumes: false };
    engine.remove("c", forced).await.unwrap();
    assert_eq!(world.volumes.names().len(), 3, "without -v they stay");
    engine.create(new).await.unwrap();
    assert_eq!(world.volumes.names().len(), 6);
    engine.remove("c", RemoveOptions { force: false, volumes: true }).await.unwrap();
    assert_eq!(world.volumes.names().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_fill_a_volume_is_a_warning_and_not_silence() {
    let world = world();
    let engine = engine(&world);
    let trouble = isula_core::testing::Trouble::Fails(ErrorKind::Unsupported);
    world.failures.always("snapshots.copy_up", trouble);
    let mut new = request("c", "sleep");
    new.host.mounts = vec![anonymous("/data")];
    let warnings = engine.create(new).await.unwrap().warnings;
    assert!(warnings.iter().any(|text| text.contains("/data starts empty")), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn the_user_is_looked_up_in_the_containers_own_files() {
    let world = world();
    world.store.set_file("/etc/passwd", b"app:x:7:8::/srv:/bin/sh\n");
    world.store.set_file("/etc/group", b"audio:x:29:app\n");
    let engine = engine(&world);
    let mut new = request("c", "sleep");
    new.overrides.user = Some("app".to_owned());
    engine.create(new).await.unwrap();
    engine.start("c").await.unwrap();
    let spec = world.runtime.launches().remove(0).spec;
    let process = spec.process().clone().unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (7, 8));
    assert_eq!(process.user().additional_gids().clone().unwrap(), [8, 29]);
    assert!(process.env().clone().unwrap().contains(&"HOME=/srv".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_prepared_directory_is_used_as_it_is() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("c", "sleep");
    (new.image, new.external_rootfs) = (None, Some("/rootfs".to_owned()));
    new.overrides.user = Some("dir".to_owned());
    engine.run(new.clone()).await.unwrap();
    let launch = world.runtime.launches().remove(0);
    assert_eq!(launch.rootfs, Rootfs::Directory("/rootfs".into()));
    assert_eq!(launch.spec.process().as_ref().unwrap().user().uid(), 70);
    assert_eq!(world.store.layers(), []);

    new.name = Some("d".to_owned());
    new.external_rootfs = Some("/missing/root".to_owned());
    assert_eq!(engine.create(new).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_joined_only_while_its_owner_runs() {
    let world = world();
    let engine = engine(&world);
    engine.create(request("owner", "sleep")).await.unwrap();
    let mut new = request("guest", "sleep");
    let owner = || Some("owner".to_owned());
    new.joins = Joins { network: owner(), ipc: owner(), pid: owner() };
    let created = engine.create(new).await.unwrap();
    assert_eq!(created.warnings.len(), 1, "{:?}", created.warnings);
    let error = engine.start("guest").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    assert!(error.to_string().contains("is not running"), "{error}");
    assert_eq!(crate::support::state(&engine, "guest"), "created");

    let pid = engine.start("owner").await.unwrap().run.pid;
    engine.start("guest").await.unwrap();
    let guest = engine.inspect("guest").await.unwrap().container;
    assert_eq!(guest.host.network, NetworkMode::Container(id(&engine, "owner").await));
    let owner = engine.inspect("owner").await.unwrap().container;
    assert_eq!(guest.config.hostname, owner.config.hostname);
    let config = world.records.files(&guest.id).unwrap().config_json;
    let config = String::from_utf8(config).unwrap();
    for namespace in ["net", "ipc", "pid"] {
        assert!(config.contains(&format!("/proc/{pid}/ns/{namespace}")), "{namespace}");
    }
}

#[tokio::test(start_paused = true)]
async fn files_of_the_container_follow_the_host_from_start_to_start() {
    let world = world();
    let engine = engine(&world);
    let id = engine.create(request("c", "sleep")).await.unwrap().id;
    let resolv_conf = || String::from_utf8(world.records.files(&id).unwrap().resolv_conf).unwrap();
    assert_eq!(resolv_conf(), "nameserver 10.0.0.2\n");
    engine.start("c").await.unwrap();
    assert!(!world.failures.calls().contains(&"records.refresh"), "nothing changed");
    world.host.set_resolv_conf("nameserver 10.0.0.3\n");
    engine.restart("c", isula_engine::StopOptions::default()).await.unwrap();
    assert_eq!(resolv_conf(), "nameserver 10.0.0.3\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_but_not_done_is_said() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("c", "sleep");
    new.overrides.healthcheck = Some(Healthcheck {
        test: vec!["CMD".to_owned(), "true".to_owned()],
        interval: std::time::Duration::ZERO,
        timeout: std::time::Duration::ZERO,
        start_period: std::time::Duration::ZERO,
        retries: 0,
    });
    let warnings = engine.create(new).await.unwrap().warnings;
    assert!(warnings.iter().any(|text| text.contains("health check")), "{warnings:?}");
}
