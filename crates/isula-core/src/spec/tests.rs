//! Tests.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Built, Defaults, Device, Facts, Joined, build, exec_process, json};
use crate::{
    container::{
        CgroupMode, Config, Container, ExecConfig, HostConfig, Mount, MountKind, NamespaceMode,
        NetworkMode, Propagation, Source, State, Tmpfs, Ulimit, capability,
    },
    id::{ContainerId, Name},
    ports::{CdiEdits, CdiHook, CdiMount, CdiNode, DeviceNode, HostFacts},
    user::ResolvedUser,
};

fn host_facts() -> HostFacts {
    HostFacts {
        kernel: "6.18.3-amd64".to_owned(),
        architecture: "amd64".to_owned(),
        cpus: 2,
        capabilities: capability::NAMES.map(str::to_owned).to_vec(),
        seccomp: true,
        can_raise_limits: true,
        swap_accounting: true,
        ..HostFacts::default()
    }
}

fn defaults() -> Defaults {
    Defaults { cgroup_parent: "/isulad".to_owned(), umask: 0o022, ..Defaults::default() }
}

fn container(change: impl FnOnce(&mut Config, &mut HostConfig)) -> Container {
    let id = ContainerId::from_random([0xab; 32]);
    let mut config =
        Config { hostname: id.short().to_owned(), cmd: vec!["sh".to_owned()], ..Config::default() };
    let mut host = HostConfig::default();
    change(&mut config, &mut host);
    Container {
        name: Name::from(&id),
        id,
        created: Timestamp::UNIX_EPOCH,
        source: Source::Directory("/rootfs".to_owned()),
        config,
        host,
        state: State::Created,
        pod: None,
        network: None,
        restarts: 0,
        started: None,
        stopped_by_user: false,
    }
}

fn facts<'a>(host: &'a HostFacts, defaults: &'a Defaults) -> Facts<'a> {
    Facts {
        host,
        defaults,
        directory: PathBuf::from("/data/c"),
        rootfs: PathBuf::from("rootfs"),
        user: ResolvedUser { home: "/root".to_owned(), ..ResolvedUser::default() },
        joined: Joined::default(),
        sources: Vec::new(),
        pod: None,
        devices: Vec::new(),
        cdi: CdiEdits::default(),
    }
}

fn spec(change: impl FnOnce(&mut Config, &mut HostConfig)) -> Value {
    let (host, defaults) = (host_facts(), defaults());
    let mut facts = facts(&host, &defaults);
    let container = container(change);
    facts.sources = container.host.mounts.iter().map(|m| format!("/src{}", m.target)).collect();
    to_value(&build(&container, &facts).unwrap())
}

fn config_json(built: &Built) -> Vec<u8> {
    let texts = built.seccomp.as_ref().map(json::seccomp);
    json::config_json(&built.spec, texts.as_deref())
}

fn to_value(built: &Built) -> Value {
    serde_json::from_slice(&config_json(built)).unwrap()
}

fn at<'a>(spec: &'a Value, pointer: &str) -> &'a Value {
    spec.pointer(pointer).unwrap_or(&Value::Null)
}

/// Destination, type and options of each mount, in their order.
fn mounts(spec: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = at(spec, "/mounts").as_array().unwrap();
    list.iter()
        .map(|mount| {
            let options: Vec<String> =
                mount["options"].as_array().unwrap().iter().map(text).collect();
            format!(
                "{} {} {}",
                text(&mount["destination"]),
                text(&mount["type"]),
                options.join(",")
            )
        })
        .collect()
}

/// What two devices of CDI might want.
fn edits() -> CdiEdits {
    let node = |path: &str, minor| CdiNode {
        path: path.to_owned(),
        kind: 'c',
        major: 195,
        minor,
        mode: 0o666,
        uid: None,
        gid: Some(7),
        access: "rw".to_owned(),
    };
    let mount = |target: &str, source: &str| CdiMount {
        source: source.to_owned(),
        target: target.to_owned(),
        kind: "bind".to_owned(),
        options: vec!["ro".to_owned(), "rbind".to_owned()],
    };
    CdiEdits {
        env: vec!["A=device".to_owned(), "B=b".to_owned()],
        nodes: vec![node("/dev/x", 1), node("/dev/y", 2), node("/dev/y", 3)],
        mounts: vec![mount("/lib/a", "/1"), mount("/mnt", "/2"), mount("/lib/a", "/3")],
        hooks: vec![CdiHook {
            point: "createContainer".to_owned(),
            path: "/hook".to_owned(),
            args: vec!["hook".to_owned()],
            env: Vec::new(),
            timeout: Some(3),
        }],
        additional_gids: vec![0, 5, 44],
    }
}

#[test]
fn a_device_of_cdi_takes_the_place_of_what_is_there() {
    let (host, defaults) = (host_facts(), defaults());
    let mut facts = facts(&host, &defaults);
    facts.user.uid = 1000;
    facts.user.additional_gids = vec![5];
    facts.devices = vec![Device {
        node: DeviceNode {
            path: "/dev/x".to_owned(),
            kind: 'c',
            major: 1,
            minor: 1,
            mode: 0o600,
            uid: 0,
            gid: 0,
        },
        path: "/dev/x".to_owned(),
        access: "r".to_owned(),
    }];
    facts.cdi = edits();
    let container = container(|config, host| {
        config.env = vec!["A=own".to_owned()];
        let kind = MountKind::Bind { source: "/own".to_owned(), create: false };
        host.mounts = vec![Mount {
            kind,
            target: "/mnt".to_owned(),
            readonly: false,
            recursive: true,
            propagation: Propagation::Rprivate,
            no_copy: false,
        }];
    });
    facts.sources = vec!["/own".to_owned()];
    let spec = to_value(&build(&container, &facts).unwrap());
    let env = at(&spec, "/process/env").to_string();
    assert!(env.contains("A=device") && env.contains("B=b") && !env.contains("A=own"), "{env}");
    assert_eq!(at(&spec, "/process/user/additionalGids"), &json!([5, 44]));
    let devices = at(&spec, "/linux/devices").as_array().unwrap();
    let shown: Vec<_> = devices.iter().map(|d| (&d["path"], &d["minor"], &d["uid"])).collect();
    assert_eq!(
        shown,
        [(&json!("/dev/x"), &json!(1), &json!(1000)), (&json!("/dev/y"), &json!(3), &json!(1000))]
    );
    let rules = at(&spec, "/linux/resources/devices").to_string();
    assert!(rules.contains("195") && !rules.contains(r#""major":1,"minor":1}"#), "{rules}");
    let mounts: Vec<_> = at(&spec, "/mounts")
        .as_array()
        .unwrap()
        .iter()
        .filter(|mount| ["/mnt", "/lib/a"].contains(&mount["destination"].as_str().unwrap()))
        .map(|mount| mount["source"].as_str().unwrap())
        .collect();
    assert_eq!(mounts, ["/2", "/3"]);
    assert_eq!(
        at(&spec, "/hooks/createContainer"),
        &json!([{"path": "/hook", "args": ["hook"], "timeout": 3}])
    );
}

#[test]
fn ambient_capabilities_are_in_every_set_and_no_other_is_inheritable() {
    let spec = spec(|_, host| {
        host.cap_drop = vec!["ALL".to_owned()];
        host.cap_add = vec!["CHOWN".to_owned()];
        host.cap_ambient = vec!["NET_BIND_SERVICE".to_owned(), "cap_sys_nice".to_owned()];
    });
    let set = |name: &str| {
        let list = at(&spec, &format!("/process/capabilities/{name}")).as_array().unwrap();
        let mut names: Vec<_> = list.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    for name in ["ambient", "inheritable"] {
        assert_eq!(set(name), ["CAP_NET_BIND_SERVICE", "CAP_SYS_NICE"], "{name}");
    }
    for name in ["bounding", "effective", "permitted"] {
        assert_eq!(set(name), ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SYS_NICE"], "{name}");
    }
}

#[test]
fn a_container_that_asks_for_nothing_gets_dockers_defaults() {
    let spec = spec(|_, _| {});
    assert_eq!(at(&spec, "/ociVersion"), "1.1.0");
    assert_eq!(at(&spec, "/hostname"), "abababababab");
    assert_eq!(at(&spec, "/root"), &json!({"path": "rootfs", "readonly": false}));
    assert_eq!(at(&spec, "/process/args"), &json!(["sh"]));
    assert_eq!(at(&spec, "/process/cwd"), "/");
    assert_eq!(
        at(&spec, "/process/env"),
        &json!([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=abababababab",
            "HOME=/root"
        ])
    );
    let bounding = at(&spec, "/process/capabilities/bounding");
    assert_eq!(bounding.as_array().unwrap().len(), 14);
    assert_eq!(at(&spec, "/process/capabilities/permitted"), bounding);
    assert_eq!(at(&spec, "/process/capabilities/inheritable"), &Value::Null);
    assert_eq!(at(&spec, "/process/capabilities/ambient"), &Value::Null);
    assert_eq!(at(&spec, "/process/noNewPrivileges"), false);
    assert_eq!(at(&spec, "/process/user/umask"), 0o022);
    assert_eq!(
        mounts(&spec),
        [
            "/dev tmpfs nosuid,strictatime,mode=755,size=65536k",
            "/dev/mqueue mqueue nosuid,noexec,nodev",
            "/proc proc nosuid,noexec,nodev",
            "/dev/pts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
            "/sys sysfs nosuid,noexec,nodev,ro",
            "/sys/fs/cgroup cgroup nosuid,noexec,nodev,relatime,ro",
            "/dev/shm tmpfs nosuid,noexec,nodev,mode=1777,size=65536k",
            "/etc/resolv.conf bind rbind,rprivate,rw",
            "/etc/hostname bind rbind,rprivate,rw",
            "/etc/hosts bind rbind,rprivate,rw",
        ]
    );
    let kinds: Vec<&Value> =
        at(&spec, "/linux/namespaces").as_array().unwrap().iter().map(|ns| &ns["type"]).collect();
    assert_eq!(kinds, ["mount", "network", "uts", "pid", "ipc"]);
    assert_eq!(at(&spec, "/linux/cgroupsPath"), &json!(format!("/isulad/{}", "ab".repeat(32))));
    let masked = at(&spec, "/linux/maskedPaths").as_array().unwrap();
    assert!(masked.contains(&json!("/proc/kcore")) && masked.contains(&json!("/sys/firmware")));
    assert_eq!(at(&spec, "/linux/readonlyPaths/3"), "/proc/sys");
    assert_eq!(at(&spec, "/linux/seccomp/defaultAction"), "SCMP_ACT_ERRNO");
    let rules = at(&spec, "/linux/resources/devices").as_array().unwrap();
    assert_eq!(rules[0]["allow"], false);
    assert_eq!(rules.len(), 12);
    assert_eq!(at(&spec, "/linux/resources/memory"), &Value::Null);
    assert_eq!(at(&spec, "/linux/devices"), &Value::Null);
}

#[test]
fn the_same_spec_gives_the_same_bytes_in_the_seeds_order() {
    let (host, defaults) = (host_facts(), defaults());
    let make = || {
        let container = container(|_, host| {
            host.sysctls = (0..9).map(|n| (format!("net.x{n}"), n.to_string())).collect();
        });
        config_json(&build(&container, &facts(&host, &defaults)).unwrap())
    };
    let first = make();
    assert!((0..5).all(|_| make() == first));
    let text = String::from_utf8(first).unwrap();
    let start = "{\n    \"ociVersion\": \"1.1.0\",\n    \"hooks\": {},\n    \"hostname\": \
        \"abababababab\",\n    \"mounts\": [\n        {\n            \"source\": \"tmpfs\",\n\
        \x20           \"destination\": \"/dev\",\n            \"options\": [";
    assert!(text.starts_with(start), "{text:.300}");
    assert!(text.ends_with("}\n"));
}

#[test]
fn a_seccomp_profile_is_written_as_any_other_value() {
    let (host, defaults) = (host_facts(), defaults());
    let privileged = container(|_, host| host.privileged = true);
    for container in [container(|_, _| ()), privileged, container(|_, _| ())] {
        let spec = build(&container, &facts(&host, &defaults)).unwrap();
        let text = config_json(&spec);
        let whole = super::whole(spec.spec.clone(), spec.seccomp.as_deref());
        assert_eq!(*whole.linux().as_ref().unwrap().seccomp(), spec.seccomp.as_deref().cloned());
        let value: Value = serde_json::from_slice(&text).unwrap();
        let wanted = spec.seccomp.as_deref().map(|profile| serde_json::to_value(profile).unwrap());
        assert_eq!(value.pointer("/linux/seccomp"), wanted.as_ref());
        assert_eq!(String::from_utf8(super::pretty(&value)), String::from_utf8(text));
    }
}

#[test]
fn a_privileged_container_has_everything() {
    let (host, defaults) = (host_facts(), defaults());
    let container = container(|_, host| host.privileged = true);
    let mut facts = facts(&host, &defaults);
    let node = |path: &str| DeviceNode {
        path: path.to_owned(),
        kind: 'c',
        major: 10,
        minor: 229,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    facts.devices = ["/dev/fuse", "/dev/null", "/dev/pts/3", "/dev/ptmx"]
        .map(|path| Device { node: node(path), path: path.to_owned(), access: "rwm".to_owned() })
        .to_vec();
    let spec = to_value(&build(&container, &facts).unwrap());
    let all = at(&spec, "/process/capabilities/effective").as_array().unwrap();
    assert_eq!(all.len(), capability::NAMES.len());
    for pointer in ["/linux/maskedPaths", "/linux/readonlyPaths", "/linux/seccomp"] {
        assert_eq!(at(&spec, pointer), &Value::Null, "{pointer}");
    }
    assert!(mounts(&spec).contains(&"/sys sysfs nosuid,noexec,nodev,rw".to_owned()));
    assert_eq!(
        at(&spec, "/linux/resources/devices"),
        &json!([{"allow": true, "type": "a", "access": "rwm"}])
    );
    let devices = at(&spec, "/linux/devices").as_array().unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0]["path"], "/dev/fuse");
}

#[test]
fn the_daemon_gives_no_capability_that_it_lacks() {
    let mut host = host_facts();
    host.capabilities.retain(|name| name != "CAP_MKNOD" && name != "CAP_SYS_ADMIN");
    let defaults = defaults();
    let container = container(|_, host| host.cap_add = vec!["SYS_ADMIN".to_owned()]);
    let spec = to_value(&build(&container, &facts(&host, &defaults)).unwrap());
    assert_eq!(at(&spec, "/process/capabilities/bounding").as_array().unwrap().len(), 13);
}

#[test]
fn namespaces_are_made_shared_or_joined() {
    let (host, defaults) = (host_facts(), defaults());
    let other = ContainerId::from_random([1; 32]);
    let container = container(|_, host| {
        host.network = NetworkMode::Container(other.clone());
        host.pid = NamespaceMode::Container(other.clone());
        host.ipc = NamespaceMode::Host;
        host.uts = NamespaceMode::Host;
        host.cgroupns = Some(CgroupMode::Private);
    });
    let mut facts = facts(&host, &defaults);
    facts.joined = Joined {
        network: Some("/proc/7/ns/net".into()),
        pid: Some("/proc/8/ns/pid".into()),
        ..Joined::default()
    };
    let spec = to_value(&build(&container, &facts).unwrap());
    assert_eq!(
        at(&spec, "/linux/namespaces"),
        &json!([
            {"type": "mount"},
            {"type": "network", "path": "/proc/7/ns/net"},
            {"type": "pid", "path": "/proc/8/ns/pid"},
            {"type": "cgroup"},
        ])
    );
    assert_eq!(at(&spec, "/hostname"), &Value::Null);
    let mounts = mounts(&spec);
    assert!(mounts.contains(&"/dev/shm bind rbind".to_owned()));
    // Not every host has mounted it.
    assert!(mounts.contains(&"/dev/mqueue mqueue nosuid,noexec,nodev".to_owned()));
}

#[test]
fn limits_become_the_runtimes_numbers() {
    let spec = spec(|_, host| {
        let resources = &mut host.resources;
        resources.memory = Some(64 << 20);
        resources.nano_cpus = Some(1_500_000_000);
        resources.cpuset_cpus = Some("0-1".to_owned());
        resources.pids_limit = Some(100);
        resources.blkio_weight = Some(500);
        resources.hugetlb = [("2MB".to_owned(), 4 << 20)].into();
        host.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 1, hard: u64::MAX }];
        host.oom_score_adj = Some(-5);
        host.device_cgroup_rules = vec!["b 8:* r".to_owned()];
    });
    assert_eq!(
        at(&spec, "/linux/resources/memory"),
        &json!({"limit": 64 << 20, "swap": 128 << 20})
    );
    assert_eq!(
        at(&spec, "/linux/resources/cpu"),
        &json!({"quota": 150_000, "period": 100_000, "cpus": "0-1"})
    );
    assert_eq!(at(&spec, "/linux/resources/pids/limit"), 100);
    assert_eq!(at(&spec, "/linux/resources/blockIO/weight"), 500);
    assert_eq!(at(&spec, "/linux/resources/hugepageLimits/0/limit"), 4 << 20);
    assert_eq!(at(&spec, "/process/oomScoreAdj"), -5);
    assert_eq!(
        at(&spec, "/process/rlimits"),
        &json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}])
    );
    assert_eq!(
        at(&spec, "/linux/resources/devices/12"),
        &json!({"allow": true, "type": "b", "major": 8, "access": "r"})
    );
}

#[test]
fn an_out_of_memory_score_below_the_daemons_own_is_raised_to_it() {
    let defaults = defaults();
    let host = HostFacts { oom_score_adj: 100, can_raise_limits: false, ..host_facts() };
    for (wanted, given) in [(None, 100), (Some(-500), 100), (Some(500), 500)] {
        let container = container(|_, host| host.oom_score_adj = wanted);
        let spec = to_value(&build(&container, &facts(&host, &defaults)).unwrap());
        assert_eq!(at(&spec, "/process/oomScoreAdj"), given);
    }
}

#[test]
fn the_daemons_ulimits_hold_unless_the_container_has_its_own() {
    let host = host_facts();
    let ulimit = |name: &str, value| Ulimit { name: name.to_owned(), soft: value, hard: value };
    let defaults = Defaults { ulimits: vec![ulimit("nofile", 1), ulimit("core", 0)], ..defaults() };
    let container = container(|_, host| host.ulimits = vec![ulimit("nofile", 9)]);
    let spec = to_value(&build(&container, &facts(&host, &defaults)).unwrap());
    assert_eq!(
        at(&spec, "/process/rlimits"),
        &json!([
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9},
        ])
    );
}

fn user_mount(target: &str, change: impl FnOnce(&mut Mount)) -> Mount {
    let mut mount = Mount {
        kind: MountKind::Bind { source: "/x".to_owned(), create: true },
        target: target.to_owned(),
        readonly: false,
        recursive: true,
        propagation: Propagation::Rprivate,
        no_copy: false,
    };
    change(&mut mount);
    mount
}

#[test]
fn the_users_mounts_come_last_by_depth_and_replace_the_engines() {
    let tmpfs = |target: &str, options: &str| Tmpfs {
        target: target.to_owned(),
        options: options.to_owned(),
    };
    let spec = spec(|_, host| {
        host.mounts = vec![
            user_mount("/a/b", |mount| mount.readonly = true),
            user_mount("/a", |mount| (mount.readonly, mount.recursive) = (true, false)),
            user_mount("/etc/hosts", |mount| mount.propagation = Propagation::Rslave),
        ];
        host.tmpfs = vec![tmpfs("/dev/shm", "exec,size=1m"), tmpfs("/run", "")];
        host.readonly_rootfs = true;
    });
    let all = mounts(&spec);
    assert_eq!(
        all[6..],
        [
            "/etc/resolv.conf bind rbind,rprivate,ro",
            "/etc/hostname bind rbind,rprivate,ro",
            "/run tmpfs nosuid,nodev,noexec",
            "/a bind bind,rprivate,ro",
            "/dev/shm tmpfs nosuid,nodev,exec,size=1m",
            "/a/b bind rbind,rprivate,ro,rro",
            "/etc/hosts bind rbind,rslave,rw",
        ]
    );
    assert_eq!(at(&spec, "/mounts/9/source"), "/src/a");
    assert_eq!(at(&spec, "/linux/rootfsPropagation"), "rslave");
    assert_eq!(at(&spec, "/root/readonly"), true);
}

#[test]
fn a_mount_over_dev_takes_everything_below_it_away() {
    let spec = spec(|_, host| host.mounts = vec![user_mount("/dev", |_| {})]);
    assert!(
        mounts(&spec)
            .iter()
            .filter(|mount| mount.starts_with("/dev"))
            .eq(["/dev bind rbind,rprivate,rw"])
    );
}

#[test]
fn security_options_reach_the_spec() {
    let options = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        spec(move |_, host| host.security_opt = texts)
    };
    let spec = options(&[
        "no-new-privileges",
        "apparmor=mine",
        "systempaths=unconfined",
        "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[]}",
        "writable-cgroups=true",
    ]);
    assert_eq!(at(&spec, "/process/noNewPrivileges"), true);
    assert_eq!(at(&spec, "/process/apparmorProfile"), "mine");
    assert_eq!(at(&spec, "/linux/maskedPaths"), &Value::Null);
    assert_eq!(at(&spec, "/linux/seccomp/defaultAction"), "SCMP_ACT_ALLOW");
    assert!(
        mounts(&spec)
            .iter()
            .any(|mount| mount.starts_with("/sys/fs/cgroup") && mount.ends_with("rw"))
    );
    let spec = options(&["seccomp=unconfined"]);
    assert_eq!(at(&spec, "/linux/seccomp"), &Value::Null);

    let (host, defaults) = (host_facts(), defaults());
    let broken = container(|_, host| host.security_opt = vec!["seccomp={}".to_owned()]);
    assert!(build(&broken, &facts(&host, &defaults)).is_err());
}

#[test]
fn variables_have_defaults_under_the_containers_and_the_execs() {
    let (host, defaults) = (host_facts(), defaults());
    let container = container(|config, _| {
        config.env = vec!["PATH=/bin".to_owned(), "A=1".to_owned(), "HOSTNAME=mine".to_owned()];
        config.tty = true;
        config.working_dir = "/srv".to_owned();
    });
    let spec = to_value(&build(&container, &facts(&host, &defaults)).unwrap());
    assert_eq!(
        at(&spec, "/process/env"),
        &json!(["PATH=/bin", "HOSTNAME=mine", "TERM=xterm", "A=1", "HOME=/root"])
    );
    assert_eq!(at(&spec, "/process/cwd"), "/srv");
    assert_eq!(at(&spec, "/process/terminal"), true);

    let exec = ExecConfig {
        args: vec!["ls".to_owned()],
        env: vec!["A=2".to_owned(), "HOME=/h".to_owned()],
        working_dir: Some("/tmp".to_owned()),
        privileged: true,
        ..ExecConfig::default()
    };
    let user = ResolvedUser { uid: 5, gid: 6, additional_gids: vec![6], home: "/x".to_owned() };
    let process = exec_process(&container, &exec, &user, (&host, &defaults)).unwrap();
    let process = serde_json::to_value(process).unwrap();
    assert_eq!(process["env"], json!(["PATH=/bin", "HOSTNAME=mine", "A=2", "HOME=/h"]));
    assert_eq!(process["cwd"], "/tmp");
    assert_eq!(process["user"], json!({"uid": 5, "gid": 6, "umask": 18, "additionalGids": [6]}));
    assert_eq!(process["capabilities"]["bounding"].as_array().unwrap().len(), 41);
    assert_eq!(process["terminal"], false);
}

#[test]
fn with_systemd_a_container_has_a_scope_in_a_slice() {
    let (host, mut defaults) = (host_facts(), defaults());
    defaults.cgroup_driver = crate::cgroup::CgroupDriver::Systemd;
    defaults.cgroup_parent = "/isulad.slice".to_owned();
    let id = "ab".repeat(32);
    for (parent, wanted) in [
        (None, format!("isulad.slice:isulad:{id}")),
        (Some("/kubepods.slice/kubepods-pod1.slice"), format!("kubepods-pod1.slice:isulad:{id}")),
    ] {
        let one = container(|_, host| host.cgroup_parent = parent.map(str::to_owned));
        let Built { spec, .. } = build(&one, &facts(&host, &defaults)).unwrap();
        let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
        assert_eq!(path, Some(PathBuf::from(wanted)));
    }
    let wrong = container(|_, host| host.cgroup_parent = Some("/pods".to_owned()));
    let error = build(&wrong, &facts(&host, &defaults)).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("it must be a slice"), "{error}");
}

#[test]
fn facts_that_change_between_starts_change_the_fingerprint() {
    let (host, defaults) = (host_facts(), defaults());
    let first = facts(&host, &defaults);
    let mut second = first.clone();
    assert_eq!(first.fingerprint(), second.fingerprint());
    second.joined.network = Some("/proc/9/ns/net".into());
    assert_ne!(first.fingerprint(), second.fingerprint());
}

/// A container of a sandbox with a path of the host and a part of an image in it.
fn member() -> Container {
    use crate::sandbox::{
        ContainerMetadata, GroupsPolicy, Member, Metadata, MountFlags, NamespaceModes, PodMount,
        PodMountSource, ReadOnly,
    };
    let mount = |target: &str, source, readonly| PodMount {
        source,
        target: target.to_owned(),
        readonly,
        propagation: Propagation::Rslave,
        selinux_relabel: false,
        uids: Vec::new(),
        gids: Vec::new(),
        flags: MountFlags { noexec: true, ..MountFlags::default() },
    };
    let image =
        PodMountSource::Image { reference: "i".to_owned(), id: None, sub_path: "etc".to_owned() };
    let mut container = container(|_, _| {});
    container.pod = Some(Box::new(Member {
        sandbox: container.id.clone(),
        sandbox_metadata: Metadata::default(),
        metadata: ContainerMetadata::default(),
        user_specified_image: String::new(),
        annotations: [].into(),
        log: None,
        namespaces: NamespaceModes::default(),
        mounts: vec![
            mount("/data", PodMountSource::Host("/srv".to_owned()), ReadOnly::Recursive),
            mount("/image", image, ReadOnly::Top),
        ],
        groups_policy: GroupsPolicy::Merge,
        masked_paths: Some(vec!["/proc/kcore".to_owned()]),
        readonly_paths: Some(Vec::new()),
        selinux: None,
        user: None,
        restored: false,
    }));
    container
}

#[test]
fn a_container_of_a_sandbox_joins_its_namespaces_and_has_its_files() {
    let (host, defaults) = (host_facts(), defaults());
    let container = member();
    let mut facts = facts(&host, &defaults);
    let pin = |name: &str| Some(PathBuf::from(format!("/run/pods/x/{name}")));
    facts.joined = Joined {
        network: pin("net"),
        uts: pin("uts"),
        ipc: pin("ipc"),
        shm: pin("shm"),
        ..Joined::default()
    };
    facts.pod = Some(super::PodFacts {
        files: PathBuf::from("/data/sandboxes/x"),
        sources: vec![
            super::PodSource::Host("/srv".to_owned()),
            super::PodSource::Layers(vec!["/l/1".into(), "/l/0".into()]),
        ],
    });
    let spec = to_value(&build(&container, &facts).unwrap());
    assert_eq!(
        at(&spec, "/linux/namespaces"),
        &json!([
            {"type": "mount"},
            {"type": "network", "path": "/run/pods/x/net"},
            {"type": "uts", "path": "/run/pods/x/uts"},
            {"type": "pid"},
            {"type": "ipc", "path": "/run/pods/x/ipc"},
        ])
    );
    assert!(spec.get("hostname").is_none_or(Value::is_null), "the namespace has it");
    assert_eq!(at(&spec, "/linux/maskedPaths"), &json!(["/proc/kcore"]));
    let mounts = at(&spec, "/mounts").as_array().unwrap();
    let of = |target: &str| mounts.iter().find(|mount| mount["destination"] == target).unwrap();
    assert_eq!(of("/etc/hosts")["source"], "/data/sandboxes/x/hosts");
    assert_eq!(of("/dev/shm")["source"], "/run/pods/x/shm");
    assert_eq!(of("/data")["options"], json!(["rbind", "rslave", "ro", "rro", "noexec"]));
    assert_eq!(
        of("/image")["options"],
        json!(["lowerdir+=/l/1", "lowerdir+=/l/0", "x-lcr.subpath=etc", "ro", "noexec"])
    );
    assert_eq!(at(&spec, "/linux/rootfsPropagation"), "rslave");
}
