//! Namespaces of sandboxes, and containers in them.

use super::bench::*;
use isula_core::cgroup::CgroupDriver;
use isula_core::container::Resources;
use isula_core::id::ContainerId;
use isula_core::ports::{HostFacts, PodNetwork, PodPaths, PodRequest, Pods, Runtime};
use isula_core::sandbox::{CriLog, IdMapping, UserNamespace};
use isula_host::pods::{HostPods, Settings};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

fn pods(bench: &Bench) -> HostPods {
    HostPods::new(Settings {
        state_dir: bench.settings.state_dir.clone(),
        shim_path: bench.settings.shim_path.clone(),
        cgroup_parent: bench.settings.cgroup_parent.clone(),
        cgroup_driver: CgroupDriver::Cgroupfs,
        facts: HostFacts::default(),
    })
    .unwrap()
}

fn id(byte: u8) -> ContainerId {
    let mut bytes = [byte; 32];
    bytes[..4].copy_from_slice(&std::process::id().to_le_bytes());
    ContainerId::from_random(bytes)
}

fn request(bench: &Bench, id: &ContainerId) -> PodRequest {
    PodRequest {
        hostname: Some("pod-host".to_owned()),
        shm_size: Some(1 << 20),
        sysctls: [("kernel.shmmni".to_owned(), "77".to_owned())].into(),
        cgroup: format!("{}/pod-{id}", bench.settings.cgroup_parent),
        own_cgroup: Some(Resources { pids_limit: Some(200), ..Resources::default() }),
        ..PodRequest::default()
    }
}

/// How many mounts there are below a path.
fn mounts(below: &Path) -> usize {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(below.to_str().unwrap())).count()
}

fn joined(spec: &Spec, paths: &PodPaths, pid: Option<&Path>) -> Arc<Spec> {
    let mut value = serde_json::to_value(spec).unwrap();
    let mut list = vec![json!({"type": "mount"})];
    if let Some(path) = &paths.user {
        list.push(json!({"type": "user", "path": path}));
    }
    let path = |path: &Option<std::path::PathBuf>, kind: &str| match path {
        Some(path) => json!({"type": kind, "path": path}),
        None => json!({"type": kind}),
    };
    list.push(path(&paths.uts, "uts"));
    list.push(path(&paths.ipc, "ipc"));
    list.push(path(&paths.network, "network"));
    list.push(path(&pid.map(Path::to_owned), "pid"));
    value["linux"]["namespaces"] = Value::Array(list);
    value.as_object_mut().unwrap().remove("hostname");
    if let Some(shm) = &paths.shm {
        value["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/dev/shm", "type": "bind", "source": shm, "options": ["bind"],
        }));
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_share_what_a_sandbox_pins_and_nothing_is_left_of_it() {
    let bench = Bench::new("pod");
    let (pods, id) = (pods(&bench), id(201));
    let before = mounts(bench.root.path());
    let paths = pods.make(&id, &request(&bench, &id)).await.unwrap();
    assert!(mounts(bench.root.path()) > before);
    assert_eq!(pods.find(&id).await.unwrap().unwrap(), paths);
    let mut wish = bench.launch(Wish::default(), &["sh", "-c", "echo shared > /dev/shm/x"]);
    wish.spec = joined(&wish.spec, &paths, None);
    assert_eq!(bench.run(&wish).await.code, 0);
    let script = "cat /dev/shm/x /proc/sys/kernel/shmmni /proc/sys/kernel/hostname";
    let mut wish = bench.launch(Wish::default(), &["sh", "-c", script]);
    wish.spec = joined(&wish.spec, &paths, None);
    bench.run(&wish).await;
    assert_eq!(bench.log(&wish).await, "shared\n77\npod-host\n");
    // The host's own are as they were.
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(own.trim(), "pod-host");
    let usage = pods.usage(&request(&bench, &id).cgroup).await.unwrap();
    assert_eq!(usage.pids_limit, Some(200));
    let limits = Resources { pids_limit: Some(300), ..Resources::default() };
    pods.limit(&request(&bench, &id).cgroup, &limits).await.unwrap();
    assert_eq!(pods.usage(&request(&bench, &id).cgroup).await.unwrap().pids_limit, Some(300));
    // Another daemon finds it, and takes away what it does not know.
    let other = self::pods(&bench);
    assert!(other.find(&id).await.unwrap().is_some());
    let cgroup = request(&bench, &id).cgroup;
    other.remove(&id, Some(&cgroup)).await.unwrap();
    other.remove(&id, Some(&cgroup)).await.unwrap();
    assert_eq!(other.find(&id).await.unwrap(), None);
    pods.make(&id, &request(&bench, &id)).await.unwrap();
    assert_eq!(other.sweep(&[]).await.unwrap(), std::slice::from_ref(&id));
    assert!(pods.usage(&cgroup).await.is_err(), "its control group went, too");
    assert_eq!(mounts(bench.root.path()), before, "no mount is left");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_refused_leaves_nothing() {
    let bench = Bench::new("pod-sysctl");
    let (pods, id) = (pods(&bench), id(202));
    let mut request = request(&bench, &id);
    request.sysctls = [("kernel.shmmni".to_owned(), "nonsense".to_owned())].into();
    let error = pods.make(&id, &request).await.unwrap_err();
    let text = isula_core::error::chain(&error);
    assert!(text.contains("kernel.shmmni=nonsense"), "{text}");
    assert_eq!(pods.find(&id).await.unwrap(), None);
    assert_eq!(mounts(&bench.root.path().join("state/pods")), 0);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_pid_namespace_has_an_init_that_reaps_and_hides_the_host() {
    let bench = Bench::new("pod-pid");
    let (pods, id) = (pods(&bench), id(203));
    let paths = pods.make(&id, &request(&bench, &id)).await.unwrap();
    let pid = pods.pid_namespace(&id, "").await.unwrap();
    assert_eq!(pods.pid_namespace(&id, "").await.unwrap(), pid, "it is made once");
    let text = std::fs::read_to_string(pid.with_file_name("init")).unwrap();
    let init: i32 = text.split(' ').next().unwrap().parse().unwrap();
    // An orphan whose parent is gone ends, and is reaped.
    let script = "sh -c 'sleep 0 & exec sleep 0' & wait; sleep 0.2; \
                  cat /proc/1/comm; ls /proc/1/root/ 2>/dev/null | head -n 1; \
                  ls -l /proc/1/exe 2>/dev/null; ps | head -n 40 >/dev/null; \
                  for s in /proc/[0-9]*/stat; do cat $s; done | sed 's/.*) //' | cut -c1 | sort -u";
    let mut wish = bench.launch(Wish::default(), &["sh", "-c", script]);
    wish.spec = joined(&wish.spec, &paths, Some(&pid));
    bench.run(&wish).await;
    let log = bench.log(&wish).await;
    assert!(log.starts_with("pod-init\n"), "{log}");
    assert!(!log.contains('Z'), "{log}");
    let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert_eq!(std::fs::read_dir(format!("/proc/{init}/root")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(format!("/proc/{init}/fd")).unwrap().count(), 1, "its signals");
    pods.remove(&id, Some(&request(&bench, &id).cgroup)).await.unwrap();
    let ended = isula_sys_gone(init);
    assert!(ended, "the init is gone");
    bench.finish().await;
}

/// Waits for the end of a process that was killed.
fn isula_sys_gone(pid: i32) -> bool {
    match isula_sys::process::open(pid) {
        Err(_) => true,
        Ok(pidfd) => {
            let limit = Some(std::time::Duration::from_secs(5));
            isula_sys::process::wait_at_most(std::os::fd::AsFd::as_fd(&pidfd), limit).unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_user_namespace_root_is_nobody_on_the_host_and_owns_its_files() {
    let bench = Bench::new("pod-user");
    let (pods, id) = (pods(&bench), id(204));
    let mapping = IdMapping { host: 1_000_000, container: 0, length: 65_536 };
    let mut request = request(&bench, &id);
    request.user = Some(UserNamespace { uids: vec![mapping], gids: vec![mapping] });
    request.network = PodNetwork::Make;
    let paths = pods.make(&id, &request).await.unwrap();
    assert!(paths.network.is_some() && paths.user.is_some());
    let pid = pods.pid_namespace(&id, "").await.unwrap();
    let script = "id -u; cat /proc/self/uid_map; touch /made && ls -ln /bin/busybox /made; \
                  echo x > /dev/shm/y && cat /dev/shm/y; cat /proc/sys/kernel/hostname";
    let wish = Wish { overlay: true, ..Wish::default() };
    let mut wish = bench.launch(wish, &["sh", "-c", script]);
    wish.spec = joined(&wish.spec, &paths, Some(&pid));
    let exit = bench.run(&wish).await;
    let log = bench.log(&wish).await;
    assert_eq!(exit.code, 0, "{log}");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "0", "{log}");
    assert!(lines[1].contains("1000000"), "{log}");
    assert!(lines.iter().filter(|line| line.contains(" 0 ")).count() >= 3, "{log}");
    assert!(log.ends_with("x\npod-host\n"), "{log}");
    // On the disk they are those of the host's root: the mapping is that of the mount.
    let made = std::fs::metadata(wish.bundle.join("upper/made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 0);
    pods.remove(&id, Some(&request.cgroup)).await.unwrap();
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_an_image_are_mounted_read_only_whole_or_in_part() {
    let bench = Bench::new("pod-image");
    let layer = |name: &str| bench.root.path().join("layers").join(name);
    for (name, file) in [("top", "etc/top"), ("base", "etc/base"), ("base", "root")] {
        let path = layer(name).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
    let mut launch = bench.launch(
        Wish::default(),
        &["sh", "-c", "ls /image /part; touch /image/x /part/x 2>&1 | grep -c Read-only"],
    );
    let mut value = serde_json::to_value(&*launch.spec).unwrap();
    let lower = [layer("top"), layer("base")].map(|path| format!("lowerdir+={}", path.display()));
    for (target, more) in [("/image", vec![]), ("/part", vec!["x-lcr.subpath=etc".to_owned()])] {
        let options: Vec<String> = lower.iter().cloned().chain(more).chain(["ro".into()]).collect();
        value["mounts"].as_array_mut().unwrap().push(json!({
            "destination": target, "type": "overlay", "source": "overlay", "options": options,
        }));
    }
    launch.spec = Arc::new(serde_json::from_value(value).unwrap());
    bench.run(&launch).await;
    assert_eq!(bench.log(&launch).await, "/image:\netc\nroot\n\n/part:\nbase\ntop\n2\n");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_cris_format_is_written_reopened_and_read() {
    let bench = Bench::new("pod-log");
    let directory = bench.root.path().join("logs");
    let script = "echo one; read x; echo two >&2";
    let wish = Wish { open_stdin: true, attach: Some(ALL), ..Wish::default() };
    let mut launch = bench.launch(wish, &["sh", "-c", script]);
    launch.cri_log = Some(CriLog {
        directory: directory.to_str().unwrap().to_owned(),
        path: "app/0.log".to_owned(),
    });
    let (_, session) = bench.runtimes.start(&launch).await.unwrap();
    let mut session = session.unwrap();
    let first = futures_util::StreamExt::next(&mut session.output).await;
    assert!(first.is_some(), "it has written");
    let path = directory.join("app/0.log");
    std::fs::rename(&path, directory.join("aside")).unwrap();
    bench.runtimes.reopen_log(&launch.id).await.unwrap();
    session.input.write("go\n".into()).await.unwrap();
    bench.runtimes.wait(&launch.id).await.unwrap();
    let aside = std::fs::read_to_string(directory.join("aside")).unwrap();
    assert!(aside.ends_with(" stdout F one\n"), "{aside}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with(" stderr F two\n"), "{text}");
    drop(session);
    let log = bench.log(&launch).await;
    assert_eq!(log, "two\n");
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_running_container_change_all_or_none() {
    let bench = Bench::new("pod-limits");
    let launch = bench.launch(Wish { memory: Some(64 << 20), ..Wish::default() }, &["sleep", "60"]);
    bench.start(&launch).await;
    let limits = |value: Value| serde_json::from_value(value).unwrap();
    let set = limits(json!({"memory": {"limit": 128 << 20}, "pids": {"limit": 50}}));
    bench.runtimes.update(&launch.id, &set).await.unwrap();
    let usage = bench.runtimes.usage(&launch.id).await.unwrap();
    assert_eq!((usage.memory_limit, usage.pids_limit), (Some(128 << 20), Some(50)));
    let bad = limits(json!({"memory": {"limit": 96 << 20}, "cpu": {"cpus": "9999"}}));
    let error = bench.runtimes.update(&launch.id, &bad).await.unwrap_err();
    let usage = bench.runtimes.usage(&launch.id).await.unwrap();
    assert_eq!(usage.memory_limit, Some(128 << 20), "{error}");
    bench.runtimes.kill(&launch.id, isula_core::signal::Signal::KILL, true).await.unwrap();
    bench.runtimes.wait(&launch.id).await.unwrap();
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_is_killed_with_all_that_it_has_started() {
    let bench = Bench::new("pod-tree");
    let launch = bench.launch(Wish::default(), &["sleep", "60"]);
    bench.start(&launch).await;
    let script = "sleep 77 & (sleep 77 &) ; sh -c 'sleep 77; :' ; wait";
    let exec = isula_core::ports::ProcessId("x".to_owned());
    let started = bench
        .runtimes
        .exec(&launch.id, &exec, &process(false, &["sh", "-c", script]), None)
        .await
        .unwrap();
    while bench.runtimes.pids(&launch.id).await.unwrap().len() < 6 {
        tokio::task::yield_now().await;
    }
    bench.runtimes.kill_tree(&launch.id, started.pid).await.unwrap();
    assert_eq!(started.exit.await.unwrap(), 137);
    while bench.runtimes.pids(&launch.id).await.unwrap().len() > 1 {
        tokio::task::yield_now().await;
    }
    bench.runtimes.kill(&launch.id, isula_core::signal::Signal::KILL, true).await.unwrap();
    bench.runtimes.wait(&launch.id).await.unwrap();
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    bench.finish().await;
}
