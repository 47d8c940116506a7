//! Tests.

use super::verify;
use crate::{
    container::{
        Config, DeviceMapping, HostConfig, Invalid, LogConfig, Mount, MountKind, NamespaceMode,
        NetworkMode, Propagation, Resources, RestartPolicy, Tmpfs, Ulimit,
    },
    id::ContainerId,
    ports::HostFacts,
};

fn facts() -> HostFacts {
    HostFacts {
        cpus: 2,
        capabilities: super::capability::NAMES.map(str::to_owned).to_vec(),
        seccomp: true,
        can_raise_limits: true,
        swap_accounting: true,
        ..HostFacts::default()
    }
}

fn config() -> Config {
    Config { hostname: "h".to_owned(), ..Config::default() }
}

fn check(change: impl FnOnce(&mut HostConfig)) -> Result<(HostConfig, Vec<String>), Invalid> {
    let mut host = HostConfig::default();
    change(&mut host);
    let warnings = verify(&config(), &mut host, &facts())?;
    Ok((host, warnings))
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn limited(change: impl FnOnce(&mut Resources)) -> Result<Resources, Invalid> {
    check(|host| change(&mut host.resources)).map(|(host, _)| host.resources)
}

#[test]
fn what_is_asked_for_by_default_passes_without_a_warning() {
    assert_eq!(check(|_| {}).unwrap().1, Vec::<String>::new());
}

#[test]
fn limits_of_memory_keep_dockers_relations() {
    let mib = |n: u64| Some(n << 20);
    let swap = |n: i64| Some(n << 20);
    for (memory, reservation, swap, fits) in [
        (mib(6), None, None, true),
        (mib(5), None, None, false),
        (mib(64), mib(32), None, true),
        (mib(64), mib(65), None, false),
        (mib(64), mib(5), None, false),
        (mib(64), None, swap(64), true),
        (mib(64), None, swap(63), false),
        (mib(64), None, Some(-1), true),
        (mib(64), None, Some(-2), false),
        (None, None, swap(64), false),
        (None, None, Some(-1), true),
        (Some(0), Some(0), Some(0), true),
        (Some(u64::MAX), None, None, false),
    ] {
        let found = limited(|resources| {
            resources.memory = memory;
            resources.memory_reservation = reservation;
            resources.memory_swap = swap;
        });
        assert_eq!(found.is_ok(), fits, "{memory:?} {reservation:?} {swap:?} {found:?}");
    }
    assert_eq!(limited(|resources| resources.memory = Some(0)), Ok(Resources::default()));
}

#[test]
fn limits_of_processors_have_ranges_and_a_range_bomb_is_refused() {
    type Change = fn(&mut Resources);
    let good: [Change; 9] = [
        |r| r.nano_cpus = Some(10_000_000),
        |r| r.nano_cpus = Some(2_000_000_000),
        |r| r.cpu_period = Some(1000),
        |r| r.cpu_quota = Some(-1),
        |r| r.cpu_shares = Some(262_144),
        |r| r.cpuset_cpus = Some("0-1,5".to_owned()),
        |r| r.cpuset_mems = Some("0".to_owned()),
        |r| r.pids_limit = Some(-1),
        |r| r.blkio_weight = Some(10),
    ];
    for (index, change) in good.into_iter().enumerate() {
        assert!(limited(change).is_ok(), "good {index}");
    }
    let bad: [Change; 22] = [
        |r| r.nano_cpus = Some(9_999_999),
        |r| r.nano_cpus = Some(2_000_000_001),
        |r| (r.nano_cpus, r.cpu_period) = (Some(1_000_000_000), Some(1000)),
        |r| (r.nano_cpus, r.cpu_quota) = (Some(1_000_000_000), Some(1000)),
        |r| r.cpu_period = Some(999),
        |r| r.cpu_period = Some(1_000_001),
        |r| r.cpu_quota = Some(999),
        |r| r.cpu_quota = Some(-2),
        |r| r.cpu_shares = Some(1),
        |r| r.cpu_shares = Some(262_145),
        |r| r.cpuset_cpus = Some("0-2147483647".to_owned()),
        |r| r.cpuset_cpus = Some("3-1".to_owned()),
        |r| r.cpuset_cpus = Some("1,,2".to_owned()),
        |r| r.cpuset_cpus = Some("0-".to_owned()),
        |r| r.cpuset_mems = Some("a".to_owned()),
        |r| r.memory_swappiness = Some(101),
        |r| r.pids_limit = Some(-2),
        |r| r.blkio_weight = Some(9),
        |r| r.blkio_weight = Some(1001),
        |r| r.hugetlb = [("2M".to_owned(), 1)].into(),
        |r| r.hugetlb = [("2MB".to_owned(), u64::MAX)].into(),
        |r| r.unified = [("memory.high".to_owned(), "1".to_owned())].into(),
    ];
    for (index, change) in bad.into_iter().enumerate() {
        assert!(limited(change).is_err(), "bad {index}");
    }
}

#[test]
fn what_cgroup_v2_lacks_is_left_out_with_a_warning_and_what_it_has_is_accepted() {
    let mut host = HostConfig::default();
    host.resources.memory_swappiness = Some(60);
    host.resources.oom_kill_disable = Some(true);
    host.resources.unified = [("memory.high".to_owned(), "max".to_owned())].into();
    let facts = HostFacts { cgroup_v2: true, ..facts() };
    let warnings = verify(&config(), &mut host, &facts).unwrap();
    assert_eq!(warnings.len(), 2);
    assert_eq!((host.resources.memory_swappiness, host.resources.oom_kill_disable), (None, None));
    for key in ["high", "../memory.high", "cgroup.procs", ".a", "memory/high.x"] {
        host.resources.unified = [(key.to_owned(), "1".to_owned())].into();
        assert!(verify(&config(), &mut host, &facts).is_err(), "{key}");
    }
}

#[test]
fn what_the_daemon_itself_lacks_becomes_a_warning() {
    let mut host = HostConfig {
        cap_add: texts(&["SYS_ADMIN"]),
        oom_score_adj: Some(-500),
        resources: Resources {
            memory: Some(64 << 20),
            memory_swap: Some(-1),
            ..Resources::default()
        },
        ..HostConfig::default()
    };
    let poor = HostFacts { cpus: 1, ..HostFacts::default() };
    let warnings = verify(&config(), &mut host, &poor).unwrap();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(host.resources.memory_swap, None);
}

#[test]
fn sysctls_of_a_namespace_of_its_own_pass_and_nothing_else_does() {
    let sysctl = |key: &str, value: &str, change: fn(&mut HostConfig)| {
        check(|host| {
            host.sysctls = [(key.to_owned(), value.to_owned())].into();
            change(host);
        })
        .is_ok()
    };
    let own: fn(&mut HostConfig) = |_| {};
    for key in ["net.ipv4.ip_forward", "kernel.shmmax", "kernel.sem", "fs.mqueue.msg_max"] {
        assert!(sysctl(key, "1", own), "{key}");
    }
    assert!(sysctl("net.ipv4.ping_group_range", "0\t1", own));
    for (key, value) in [
        ("kernel.core_pattern", "|/x"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x"),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/x"),
        ("kernel.hostname", "x"),
        ("kernel.sem.x", "1"),
        ("net..x", "1"),
        ("net./../kernel/core_pattern", "1"),
        ("net.ipv4/../../kernel/core_pattern", "1"),
        ("vm.overcommit_memory", "1"),
        ("", "1"),
        ("net.x y", "1"),
    ] {
        assert!(!sysctl(key, value, own), "{key}={value}");
    }
    assert!(!sysctl("net.ipv4.ip_forward", "1", |host| host.network = NetworkMode::Host));
    assert!(!sysctl("kernel.sem", "1", |host| host.ipc = NamespaceMode::Host));
    assert!(sysctl("kernel.sem", "1", |host| host.network = NetworkMode::Host));
}

fn mount(target: &str, kind: MountKind) -> Mount {
    Mount {
        kind,
        target: target.to_owned(),
        readonly: false,
        recursive: true,
        propagation: Propagation::Rprivate,
        no_copy: false,
    }
}

fn bind(source: &str) -> MountKind {
    MountKind::Bind { source: source.to_owned(), create: true }
}

fn volume(name: &str) -> MountKind {
    MountKind::Volume { name: name.to_owned(), anonymous: false }
}

#[test]
fn mounts_are_cleaned_and_bad_ones_refused() {
    let mounted = |mounts: Vec<Mount>| check(|host| host.mounts = mounts);
    let (host, _) = mounted(vec![mount("/a/../b/", bind("/srv//x/."))]).unwrap();
    assert_eq!(host.mounts, [mount("/b", bind("/srv/x"))]);
    assert!(mounted(vec![mount("/data", volume("my.vol-1"))]).is_ok());
    for bad in [
        mount("/", bind("/x")),
        mount("/..", bind("/x")),
        mount("rel", bind("/x")),
        mount("/x", bind("rel")),
        mount("/x", bind("/a\0")),
        mount("/x", volume("../../x")),
        mount("/x", volume("")),
        mount("/x", volume(&"a".repeat(5000))),
    ] {
        assert!(mounted(vec![bad.clone()]).is_err(), "{bad:?}");
    }
    assert!(mounted(vec![mount("/a", bind("/x")), mount("/b/../a", bind("/y"))]).is_err());

    let tmpfs = |target: &str, options: &str| {
        check(|host| {
            host.tmpfs = vec![Tmpfs { target: target.to_owned(), options: options.to_owned() }];
        })
        .is_ok()
    };
    for options in ["", "size=64m,mode=1777,exec", "rw,noswap", "size=50%"] {
        assert!(tmpfs("/run", options), "{options}");
    }
    for options in ["size", "size=", "bogus", "size=1 m", "upperdir=/x", "mode=0,context=x"] {
        assert!(!tmpfs("/run", options), "{options}");
    }
    assert!(!tmpfs("/", ""));
}

#[test]
fn each_bad_option_is_refused_with_its_name() {
    type Change = fn(&mut HostConfig);
    let table: [(&str, Change); 28] = [
        ("rm", |h| (h.auto_remove, h.restart) = (true, RestartPolicy::Always)),
        ("log-opt", |h| h.log = LogConfig { max_files: 0, ..LogConfig::default() }),
        ("storage-opt", |h| h.storage_options = [("size".to_owned(), "0".to_owned())].into()),
        ("storage-opt", |h| h.storage_options = [("size".to_owned(), "1x".to_owned())].into()),
        ("storage-opt", |h| h.storage_options = [("foo".to_owned(), "1".to_owned())].into()),
        ("shm-size", |h| h.shm_size = Some(0)),
        ("oom-score-adj", |h| h.oom_score_adj = Some(1001)),
        ("cap-add", |h| h.cap_add = texts(&["NOPE"])),
        ("cap-drop", |h| h.cap_drop = texts(&["NOPE"])),
        ("add_ambient_capabilities", |h| h.cap_ambient = texts(&["NOPE"])),
        ("security-opt", |h| h.security_opt = texts(&["nope"])),
        ("4294967296", |h| h.group_add = texts(&["4294967296"])),
        ("dns", |h| h.dns = texts(&["8.8.8"])),
        ("dns-search", |h| h.dns_search = texts(&["a b"])),
        ("dns-option", |h| h.dns_options = texts(&["a\nnameserver 1.1.1.1"])),
        ("add-host", |h| h.extra_hosts = texts(&["name"])),
        ("add-host", |h| h.extra_hosts = texts(&["a b:1.2.3.4"])),
        ("add-host", |h| h.extra_hosts = texts(&["a:1.2.3"])),
        ("add-host", |h| h.extra_hosts = texts(&["a:host-gateway"])),
        ("device", |h| h.devices = vec![device("/dev/null", "rwx")]),
        ("device", |h| h.devices = vec![device("dev/null", "r")]),
        ("CDI device", |h| h.cdi_devices = texts(&["vendor.com/class"])),
        ("device-cgroup-rule", |h| h.device_cgroup_rules = texts(&["c 1:3"])),
        ("device-cgroup-rule", |h| h.device_cgroup_rules = texts(&["p 1:3 r"])),
        ("device-cgroup-rule", |h| h.device_cgroup_rules = texts(&["c 1:-3 r"])),
        ("ulimit", |h| h.ulimits = vec![ulimit("nope", 1, 1)]),
        ("ulimit", |h| h.ulimits = vec![ulimit("nofile", 2, 1)]),
        ("cgroup-parent", |h| h.cgroup_parent = Some("/../../x".to_owned())),
    ];
    for (field, change) in table {
        let message = check(change).unwrap_err().to_string();
        assert!(message.contains(field), "{field}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

fn device(path: &str, permissions: &str) -> DeviceMapping {
    let (host, container) = (path.to_owned(), path.to_owned());
    DeviceMapping { host, container, permissions: permissions.to_owned() }
}

fn ulimit(name: &str, soft: u64, hard: u64) -> Ulimit {
    Ulimit { name: name.to_owned(), soft, hard }
}

#[test]
fn good_options_pass() {
    let (host, warnings) = check(|host| {
        host.dns = texts(&["1.1.1.1", "fe80::1"]);
        host.dns_search = texts(&["example.org", "."]);
        host.dns_options = texts(&["ndots:2"]);
        host.extra_hosts = texts(&["db:10.0.0.1", "v6:[::1]", "w6:::1"]);
        host.devices = vec![device("/dev/fuse", "rw")];
        host.device_cgroup_rules = texts(&["c 1:* rwm", "a *:* rwm"]);
        host.ulimits = vec![ulimit("nofile", 1024, u64::MAX)];
        host.cgroup_parent = Some("a/b".to_owned());
        host.group_add = texts(&["audio", "7"]);
    })
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(host.cgroup_parent.as_deref(), Some("/a/b"));
}

#[test]
fn a_borrowed_network_allows_no_names_of_its_own() {
    let id = ContainerId::from_random([1; 32]);
    for change in [(|h| h.dns = texts(&["1.1.1.1"])) as fn(&mut HostConfig), |h| {
        h.extra_hosts = texts(&["a:1.1.1.1"])
    }] {
        let found = check(|host| {
            host.network = NetworkMode::Container(id.clone());
            change(host);
        });
        assert!(matches!(found, Err(Invalid::Conflict(..))));
    }
}

#[test]
fn host_names_that_would_forge_lines_are_refused() {
    for name in ["", "a b", "a\n1.2.3.4 evil", "ü", &"a".repeat(65)] {
        let config = Config { hostname: name.to_owned(), ..Config::default() };
        assert!(verify(&config, &mut HostConfig::default(), &facts()).is_err(), "{name:?}");
    }
}
