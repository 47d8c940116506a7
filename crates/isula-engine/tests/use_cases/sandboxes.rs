//! Sandboxes and their containers: order, undo, idempotence, recovery.

use std::{sync::Arc, time::Duration};

use isula_core::{
    cgroup::CgroupDriver,
    error::ErrorKind,
    image::ImageConfig,
    sandbox::{
        ContainerMetadata, MemberFilter, NewMember, PodMount, PodMountSource, SandboxConfig,
        SandboxFilter, SandboxId, SandboxState, Scope,
    },
    testing::{Trouble, World},
};
use isula_engine::{
    Engine, Error, Settings,
    member::{ExecSyncOptions, ResourceUpdate},
};

use crate::support::{assert_empty, engine, engine_with, settle, successor, world};

pub(crate) fn config(name: &str) -> SandboxConfig {
    let mut config =
        SandboxConfig { log_directory: Some("/logs".to_owned()), ..Default::default() };
    config.metadata.name = name.to_owned();
    config.metadata.namespace = "default".to_owned();
    config.metadata.uid = format!("uid-{name}");
    config.labels = [("app".to_owned(), name.to_owned())].into();
    config
}

pub(crate) fn member(sandbox: &SandboxId, name: &str) -> NewMember {
    NewMember {
        sandbox: sandbox.to_string(),
        metadata: ContainerMetadata { name: name.to_owned(), attempt: 0 },
        image: "busybox".to_owned(),
        log_path: Some(format!("{name}/0.log")),
        ..NewMember::default()
    }
}

/// Nothing of any sandbox is left.
pub(crate) fn assert_no_sandbox(world: &World, case: &str) {
    assert_empty(world, case);
    assert_eq!(world.sandboxes.count(), 0, "{case}: records");
    assert!(world.pods.all().is_empty(), "{case}: namespaces");
    assert!(world.networks.namespaces().is_empty(), "{case}: network namespaces");
    assert!(world.networks.attached().is_empty(), "{case}: attachments");
}

pub(crate) async fn remove_sandboxes(engine: &Arc<Engine>) {
    for sandbox in engine.list_sandboxes(&SandboxFilter::default()) {
        engine.remove_sandbox(sandbox.id.as_str()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_lives_and_dies_with_its_containers() {
    let world = world();
    let engine = engine(&world);
    let id = engine.run_sandbox(config("web")).await.unwrap();
    let sandbox = engine.sandbox(id.as_str()).unwrap();
    assert!(sandbox.is_ready());
    assert!(sandbox.own_cgroup && sandbox.cgroup.starts_with("/isulad/pod-"));
    let address = sandbox.attachment.as_ref().unwrap().addresses[0].ip.to_string();
    let hosts = String::from_utf8(world.sandboxes.files(&id).unwrap().hosts).unwrap();
    assert!(hosts.ends_with(&format!("{address}\tweb\n")), "{hosts}");

    let created = engine.create_member(member(&id, "app")).await.unwrap();
    let app = created.id.as_str();
    engine.start_member(app).await.unwrap();
    let launch = world.runtime.launches().pop().unwrap();
    let log = launch.cri_log.unwrap();
    assert_eq!(log.full(), "/logs/app/0.log");
    let running = engine.member(app).unwrap();
    assert!(running.state.run().is_some());
    assert_eq!(running.pod.as_ref().unwrap().user.as_ref().unwrap().uid, 0);
    assert_eq!(running.name.as_str(), "k8s_app_web_default_uid-web_0_0");
    assert_eq!(engine.sandbox_containers(&id).len(), 1);
    let stats = engine.sandbox_stats(id.as_str()).await.unwrap();
    assert_eq!((stats.network.len(), stats.containers.len()), (1, 1));

    engine.stop_sandbox(id.as_str()).await.unwrap();
    assert_eq!(engine.sandbox(id.as_str()).unwrap().state, SandboxState::NotReady);
    assert!(engine.member(app).unwrap().state.exit().is_some(), "its containers are ended");
    assert!(world.networks.attached().is_empty());
    engine.stop_sandbox(id.as_str()).await.unwrap();
    engine.remove_sandbox(id.as_str()).await.unwrap();
    engine.remove_sandbox(id.as_str()).await.unwrap();
    engine.stop_sandbox(id.as_str()).await.unwrap();
    engine.remove_member(app).await.unwrap();
    engine.stop_member(app, Duration::from_secs(1)).await.unwrap();
    assert_no_sandbox(&world, "in the end");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_at_any_step_leaves_nothing_and_the_name_free() {
    for trouble in [Trouble::Fails(ErrorKind::ResourceExhausted), Trouble::Hangs] {
        let mut felt = 0;
        for step in 0.. {
            let world = world();
            let engine = engine(&world);
            world.failures.at(step, trouble);
            let failed = engine.run_sandbox(config("web")).await.is_err();
            let calls = world.failures.calls();
            world.failures.clear();
            if calls.len() <= step {
                break;
            }
            felt += 1;
            let case = format!("{trouble:?} at {}", calls[step]);
            if failed {
                assert_no_sandbox(&world, &case);
                engine.run_sandbox(config("web")).await.unwrap();
            }
            remove_sandboxes(&engine).await;
            assert_no_sandbox(&world, &case);
        }
        assert!(felt >= 6, "{felt} troubles");
    }
}

/// Its plugins have a limit of their own, which may be longer than that of what works on this machine
/// alone: were they left in the middle, what they do next would be nobody's.
#[tokio::test(start_paused = true)]
async fn a_network_is_waited_for_longer_than_for_anything_else() {
    let world = world();
    let engine = engine(&world);
    world.failures.always("networks.attach", Trouble::Hangs);
    let error = engine.run_sandbox(config("web")).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { seconds: 300, .. }), "{error}");
    world.failures.clear();
    assert_no_sandbox(&world, "after the deadline");
    let id = engine.run_sandbox(config("web")).await.unwrap();
    world.failures.always("networks.detach", Trouble::Hangs);
    let error = engine.stop_sandbox(id.as_str()).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { seconds: 300, .. }), "{error}");
    world.failures.clear();
    remove_sandboxes(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_directory_that_is_a_link_is_refused() {
    let world = world();
    let engine = engine(&world);
    let mut wanted = config("web");
    wanted.log_directory = Some("/link".to_owned());
    let error = engine.run_sandbox(wanted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_no_sandbox(&world, "after the refusal");
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_removal_that_fail_can_be_asked_for_again() {
    let mut felt = 0;
    for step in 0.. {
        let world = world();
        let engine = engine(&world);
        let id = engine.run_sandbox(config("web")).await.unwrap();
        let app = engine.create_member(member(&id, "app")).await.unwrap().id;
        engine.start_member(app.as_str()).await.unwrap();
        let before = world.failures.calls().len();
        world.failures.at(step, Trouble::Fails(ErrorKind::Unavailable));
        let stopped = engine.stop_sandbox(id.as_str()).await;
        let removed = engine.remove_sandbox(id.as_str()).await;
        let calls = world.failures.calls();
        let reached = calls.len() > before + step;
        let case = format!("trouble at {}", calls.get(before + step).unwrap_or(&"nothing"));
        world.failures.clear();
        assert!(stopped.is_ok() || removed.is_ok(), "{case}: one trouble stops one of them");
        engine.remove_sandbox(id.as_str()).await.unwrap();
        assert_no_sandbox(&world, &case);
        if !reached {
            break;
        }
        felt += 1;
    }
    assert!(felt >= 12, "{felt} troubles");
}

#[tokio::test(start_paused = true)]
async fn with_systemd_a_pod_is_in_a_slice_and_in_nothing_else() {
    let world = world();
    let settings = Settings {
        cgroup_driver: CgroupDriver::Systemd,
        cgroup_parent: "/isulad.slice".to_owned(),
        ..Settings::default()
    };
    let engine = engine_with(&world, settings);
    let run = async |name: &str, parent: Option<&str>| {
        let mut config = config(name);
        config.cgroup_parent = parent.map(str::to_owned);
        let id = engine.run_sandbox(config).await?;
        Ok::<_, Error>(engine.sandbox(id.as_str()).unwrap())
    };
    let own = run("own", None).await.unwrap();
    assert_eq!(own.cgroup, format!("/isulad.slice/isulad-pod{}.slice", own.id));
    assert!(own.own_cgroup);
    // By its name or, as kubelet has it, by its path.
    for (name, parent) in [
        ("name", "kubepods-burstable-pod1.slice"),
        ("path", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"),
    ] {
        let given = run(name, Some(parent)).await.unwrap();
        let path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice";
        assert_eq!((&*given.cgroup, given.own_cgroup), (path, false));
    }
    let wrong = run("wrong", Some("/kubepods/pod1")).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    assert!(wrong.to_string().contains("it must be a slice"), "{wrong}");
    let new = member(&own.id, "app");
    let id = engine.create_member(new).await.unwrap().id;
    engine.start_member(id.as_str()).await.unwrap();
    remove_sandboxes(&engine).await;
    settle().await;
    assert_no_sandbox(&world, "systemd");
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_had_is_refused_before_anything_is_made() {
    let world = world();
    let engine = engine(&world);
    let run = async |change: fn(&mut SandboxConfig)| {
        let mut config = config("web");
        change(&mut config);
        engine.run_sandbox(config).await.unwrap_err()
    };
    let unknown = run(|c| c.runtime_handler = "kata".to_owned()).await;
    assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
    let systemd = run(|c| c.cgroup_parent = Some("kubepods.slice".to_owned())).await;
    assert_eq!(systemd.kind(), ErrorKind::Unsupported);
    let id = engine.run_sandbox(config("web")).await.unwrap();
    let taken = engine.run_sandbox(config("web")).await.unwrap_err();
    assert!(matches!(&taken, Error::SandboxTaken { holder, .. } if *holder == id));

    let create = async |change: fn(&mut NewMember)| {
        let mut new = member(&id, "app");
        change(&mut new);
        engine.create_member(new).await.unwrap_err()
    };
    for (word, change) in [
        ("run_as_group", (|n| n.security.run_as_group = Some(1)) as fn(&mut NewMember)),
        ("privileged", |n| n.security.privileged = true),
        ("network", |n| n.security.namespaces.network = Scope::Node),
        ("no such container", |n| n.security.namespaces.pid = Scope::Target("abc".to_owned())),
        ("log_path", |n| n.log_path = Some("../x".to_owned())),
        ("CDI", |n| n.cdi_devices = vec!["v/c=d".to_owned()]),
        ("nothing-there", |n| n.image = "nothing-there".to_owned()),
    ] {
        let error = isula_core::error::chain(&create(change).await);
        assert!(error.contains(word), "{word}: {error}");
    }
    engine.create_member(member(&id, "app")).await.unwrap();
    let twice = engine.create_member(member(&id, "app")).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
    engine.stop_sandbox(id.as_str()).await.unwrap();
    let late = engine.create_member(member(&id, "late")).await.unwrap_err();
    assert!(matches!(late, Error::SandboxNotReady(..)));
    remove_sandboxes(&engine).await;
    assert_no_sandbox(&world, "in the end");
}

#[tokio::test(start_paused = true)]
async fn lists_show_what_fits() {
    let world = world();
    let engine = engine(&world);
    let web = engine.run_sandbox(config("web")).await.unwrap();
    let db = engine.run_sandbox(config("db")).await.unwrap();
    engine.create_member(member(&web, "one")).await.unwrap();
    let two = engine.create_member(member(&db, "two")).await.unwrap().id;
    engine.stop_sandbox(db.as_str()).await.unwrap();
    let list = |filter: SandboxFilter| -> Vec<SandboxId> {
        engine.list_sandboxes(&filter).iter().map(|sandbox| sandbox.id.clone()).collect()
    };
    let ready = SandboxFilter { ready: Some(true), ..SandboxFilter::default() };
    assert_eq!(list(ready), std::slice::from_ref(&web));
    let labels = [("app".to_owned(), "db".to_owned())].into();
    assert_eq!(
        list(SandboxFilter { labels, ..SandboxFilter::default() }),
        std::slice::from_ref(&db)
    );
    let by_id = SandboxFilter { id: Some(web.short().to_owned()), ..SandboxFilter::default() };
    assert_eq!(list(by_id), [web]);
    let members = engine
        .list_members(&MemberFilter { sandbox: Some(db.to_string()), ..MemberFilter::default() });
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].id, two);
    remove_sandboxes(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_daemon_takes_pods_over_and_settles_what_was_cut_short() {
    let world = world();
    let first = engine(&world);
    let runs = first.run_sandbox(config("runs")).await.unwrap();
    let app = first.create_member(member(&runs, "app")).await.unwrap().id;
    first.start_member(app.as_str()).await.unwrap();
    // A stop whose detachment never answers, and a start that never does.
    let stops = first.run_sandbox(config("stops")).await.unwrap();
    world.failures.always("networks.detach", Trouble::Hangs);
    let half = Arc::clone(&first);
    let query = stops.to_string();
    let stopping = tokio::spawn(async move { half.stop_sandbox(&query).await });
    settle().await;
    stopping.abort();
    world.failures.clear();
    world.failures.always("networks.attach", Trouble::Hangs);
    let half = Arc::clone(&first);
    let starting = tokio::spawn(async move { half.run_sandbox(config("starts")).await });
    // A thread looks at its log directory first, in its own time.
    for _ in 0..10_000 {
        if world.sandboxes.count() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
        settle().await;
    }
    settle().await;
    starting.abort();
    world.failures.clear();
    assert_eq!(world.sandboxes.count(), 3);

    let second = successor(&world, first).await;
    let states: Vec<(String, bool)> = second
        .list_sandboxes(&SandboxFilter::default())
        .iter()
        .map(|sandbox| (sandbox.config.metadata.name.clone(), sandbox.is_ready()))
        .collect();
    assert!(states.contains(&("runs".to_owned(), true)), "{states:?}");
    assert!(states.contains(&("stops".to_owned(), false)), "{states:?}");
    assert_eq!(states.len(), 2, "nobody was told of the third: {states:?}");
    assert_eq!(world.networks.attached().len(), 1);
    assert!(second.member(app.as_str()).unwrap().state.run().is_some());
    second.run_sandbox(config("starts")).await.unwrap();
    remove_sandboxes(&second).await;
    assert_no_sandbox(&world, "in the end");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_of_the_machine_pods_are_not_ready_and_their_network_is_freed() {
    let world = world();
    let first = engine(&world);
    let id = first.run_sandbox(config("web")).await.unwrap();
    let app = first.create_member(member(&id, "app")).await.unwrap().id;
    first.start_member(app.as_str()).await.unwrap();
    first.retire();
    world.runtime.reboot();
    world.pods.reboot();
    world.sandboxes.cut_power();
    world.records.cut_power();
    let second = successor(&world, first).await;
    assert_eq!(second.sandbox(id.as_str()).unwrap().state, SandboxState::NotReady);
    assert!(second.member(app.as_str()).unwrap().state.exit().is_some());
    assert!(world.networks.attached().is_empty(), "its address is free");
    remove_sandboxes(&second).await;
    assert_no_sandbox(&world, "in the end");
}

#[tokio::test(start_paused = true)]
async fn a_shared_pid_namespace_is_made_when_a_container_wants_it() {
    let world = world();
    let engine = engine(&world);
    let id = engine.run_sandbox(config("web")).await.unwrap();
    let calls = || world.failures.calls().iter().filter(|c| **c == "pods.pid_namespace").count();
    let mut own = member(&id, "own");
    own.security.namespaces.pid = Scope::Container;
    engine.create_member(own).await.unwrap();
    assert_eq!(calls(), 0);
    engine.create_member(member(&id, "shared")).await.unwrap();
    assert!(calls() > 0);
    remove_sandboxes(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn limits_change_as_a_whole_or_not_at_all() {
    let world = world();
    let engine = engine(&world);
    let id = engine.run_sandbox(config("web")).await.unwrap();
    let app = engine.create_member(member(&id, "app")).await.unwrap().id;
    let mut update = ResourceUpdate::default();
    update.resources.cpu_shares = Some(512);
    engine.update_member(app.as_str(), update.clone()).await.unwrap();
    assert_eq!(engine.member(app.as_str()).unwrap().host.resources.cpu_shares, Some(512));
    engine.start_member(app.as_str()).await.unwrap();
    // The fake runtime changes no limits.
    update.resources.cpu_shares = Some(1024);
    engine.update_member(app.as_str(), update).await.unwrap_err();
    assert_eq!(engine.member(app.as_str()).unwrap().host.resources.cpu_shares, Some(512));
    remove_sandboxes(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_too_long_is_killed_and_an_image_in_use_stays() {
    let world = world();
    let volume = world.store.add_image("volume", ImageConfig::default());
    let engine = engine(&world);
    let id = engine.run_sandbox(config("web")).await.unwrap();
    let mut new = member(&id, "app");
    new.mounts = vec![PodMount {
        source: PodMountSource::Image {
            reference: "volume".to_owned(),
            id: None,
            sub_path: String::new(),
        },
        target: "/image".to_owned(),
        readonly: isula_core::sandbox::ReadOnly::No,
        propagation: isula_core::container::Propagation::Rprivate,
        selinux_relabel: false,
        uids: Vec::new(),
        gids: Vec::new(),
        flags: isula_core::sandbox::MountFlags::default(),
    }];
    // The fake store mounts no images: the request is refused as a whole.
    let error = engine.create_member(new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    engine.remove_image(volume.0.as_str(), false).await.unwrap();

    let app = engine.create_member(member(&id, "app")).await.unwrap().id;
    engine.start_member(app.as_str()).await.unwrap();
    let options =
        ExecSyncOptions { args: vec!["sleep".to_owned()], timeout: Some(Duration::from_secs(1)) };
    let error = engine.exec_sync(app.as_str(), options).await.unwrap_err();
    assert!(matches!(error, Error::ExecTimeout { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    remove_sandboxes(&engine).await;
}
