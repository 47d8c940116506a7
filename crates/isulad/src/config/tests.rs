//! Every key, every flag, and what they refuse.

use std::{collections::BTreeMap, path::Path, time::Duration};

use clap::Parser;
use isula_core::container::{LogConfig, LogDriver, Ulimit};
use tracing::level_filters::LevelFilter;

use super::{
    Bridge, Certificate, Config, Cri, Group, Network, Sink,
    file::parse,
    keys::{Fate, HONOURED, OTHERS},
    resolve::Sources,
};
use crate::flags::Flags;

fn load(json: &str, flags: &[&str]) -> Result<Config, String> {
    let path = Path::new("daemon.json");
    let flags = Flags::parse_from(std::iter::once("isulad").chain(flags.iter().copied()));
    let file = parse(path, json.as_bytes()).map_err(|error| error.to_string())?;
    Sources { path, flags: &flags }.resolve(file).map_err(|error| isula_core::error::chain(&error))
}

fn good(json: &str, flags: &[&str]) -> Config {
    match load(json, flags) {
        Ok(config) => config,
        Err(error) => panic!("{json} {flags:?}: {error}"),
    }
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    let config = good("{}", &[]);
    assert_eq!(config.data_root, Path::new("/var/lib/isulad"));
    assert_eq!(config.state_dir, Path::new("/run/isulad"));
    assert_eq!(config.sockets, [Path::new("/run/isulad/isulad.sock")]);
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/run/isulad.pid")));
    assert_eq!(config.group, Group { name: "isula".to_owned(), required: false });
    assert_eq!(config.log.level, LevelFilter::INFO);
    assert_eq!(config.log.sink, Sink::Stderr);
    assert_eq!(config.default_runtime, "lcr");
    assert_eq!(config.container_log, LogConfig::default());
    assert_eq!(config.cgroup_parent, "/isulad");
    assert_eq!(config.start_timeout, Duration::from_secs(120));
    assert_eq!(config.concurrent_downloads, 3);
    assert!(config.ulimits.is_empty() && config.mirrors.is_empty() && config.hooks.is_none());
    assert!(!config.secure_umask && config.warnings.is_empty());
    assert!(config.runtimes.contains_key("runc"));
    assert!(config.cri.pod_events && config.cri.runtimes.is_empty());
    assert_eq!(config.cri.streaming_port, 0);
    assert_eq!(config.cri.streaming_tls, None);
    let cdi = ["/etc/cdi", "/var/run/cdi"].map(Into::into);
    assert_eq!(config.cdi_spec_dirs, Some(cdi.to_vec()));
}

#[test]
fn every_honoured_key_changes_what_it_should() {
    let hooks = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(hooks.path(), r#"{"prestart": []}"#).unwrap();
    let json = format!(
        r#"{{
            "group": "wheel", "default-runtime": "kata", "graph": "/data", "state": "/state",
            "hosts": ["unix:///a.sock", "unix:///b.sock"], "pidfile": "/x.pid",
            "log-level": "WARN", "debug": false, "log-driver": "file",
            "log-opts": {{"log-path": "/logs", "log-file-mode": "0640", "max-file": "2", "max-size": "30KB"}},
            "container-log": {{"driver": "json-file", "opts": {{"max-size": "1m", "max-file": "5"}}}},
            "hook-spec": "{}", "start-timeout": "1m30s", "storage-driver": "overlay2",
            "storage-opts": ["overlay2.override_kernel_check=true", "overlay2.max_layer_size=20g"],
            "registry-mirrors": ["m1"], "insecure-registries": ["i1"],
            "max-concurrent-downloads": 7, "max-download-attempts": 9,
            "proxies": {{"http-proxy": "http://p1", "https-proxy": "http://p2", "no-proxy": "x"}},
            "native.umask": "secure",
            "runtimes": {{"kata": {{"path": "/bin/kata", "runtime-args": ["--x"]}}}},
            "cgroup-parent": "pods/here",
            "network-plugin": "cni", "cni-bin-dir": "/a/bin:/b/bin", "cni-conf-dir": "/c/net.d",
            "bridge": "br0", "bip": "10.1.2.3/24",
            "native-cni": false, "cni-timeout": "10s",
            "default-ulimits": {{"nofile": {{"Name": "nofile", "Soft": 64, "Hard": -1}}}},
            "enable-pod-events": false, "cri-runtimes": {{"vm": "kata"}},
            "pinned-images": ["pause:3.9", "registry.k8s.io/*"],
            "enable-cdi": true, "cdi-spec-dirs": ["/a/cdi", "/b/cdi"],
            "websocket-server-listening-port": 10350,
            "websocket-server-tls-config": {{"CertFile": "/tls/cert.pem", "KeyFile": "/tls/key.pem"}}
        }}"#,
        hooks.path().display()
    );
    // The alternative names of two keys are missing, for they exclude each other; the driver of
    // control groups has a test of its own.
    let elsewhere = ["data-root", "exec-root", "systemd-cgroup", "exec-opts"];
    for key in HONOURED.iter().filter(|key| !elsewhere.contains(key)) {
        assert!(json.contains(&format!("\"{key}\"")), "{key} is not tested");
    }
    let config = good(&json, &[]);
    assert_eq!(config.group, Group { name: "wheel".to_owned(), required: true });
    assert_eq!(config.default_runtime, "kata");
    assert_eq!(config.data_root, Path::new("/data"));
    assert_eq!(config.state_dir, Path::new("/state"));
    assert_eq!(config.sockets, [Path::new("/a.sock"), Path::new("/b.sock")]);
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/x.pid")));
    assert_eq!(config.log.level, LevelFilter::WARN);
    let path = "/logs/isulad.log".into();
    let sink = Sink::File { path, mode: 0o640, max_size: 30 << 10, max_files: 2 };
    assert_eq!(config.log.sink, sink);
    let log = LogConfig { driver: LogDriver::JsonFile, max_size: 1 << 20, max_files: 5 };
    assert_eq!(config.container_log, log);
    assert_eq!(config.hooks, Some(serde_json::json!({"prestart": []})));
    assert_eq!(config.start_timeout, Duration::from_secs(90));
    assert_eq!(config.mirrors, ["m1"]);
    assert_eq!(config.insecure_registries, ["i1"]);
    assert_eq!(config.concurrent_downloads, 7);
    assert_eq!((config.download_attempts, config.layer_limit), (Some(9), Some(20 << 30)));
    assert_eq!(config.proxies.http_proxy.as_deref(), Some("http://p1"));
    assert_eq!(config.proxies.https_proxy.as_deref(), Some("http://p2"));
    assert_eq!(config.proxies.no_proxy.as_deref(), Some("x"));
    assert!(config.secure_umask);
    let kata = ("/bin/kata".to_owned(), vec!["--x".to_owned()]);
    assert_eq!(config.runtimes.get("kata"), Some(&kata));
    assert_eq!(config.cgroup_parent, "/pods/here");
    let limit = Ulimit { name: "nofile".to_owned(), soft: 64, hard: u64::MAX };
    assert_eq!(config.ulimits, [limit]);
    let cri = Cri {
        runtimes: BTreeMap::from([("vm".to_owned(), "kata".to_owned())]),
        pinned_images: ["docker.io/library/pause:3.9", "registry.k8s.io/*"]
            .map(str::to_owned)
            .into(),
        pod_events: false,
        streaming_port: 10350,
        streaming_tls: Some(Certificate {
            chain: "/tls/cert.pem".into(),
            key: "/tls/key.pem".into(),
        }),
    };
    assert_eq!(config.cri, cri);
    let network = Network {
        conf_dir: "/c/net.d".into(),
        bin_dirs: ["/a/bin", "/b/bin"].map(Into::into).into(),
        bridge: Some(Bridge {
            device: "br0".to_owned(),
            gateway: [10, 1, 2, 3].into(),
            prefix: 24,
        }),
        native: false,
        timeout: Duration::from_secs(10),
    };
    assert_eq!(config.network, network);
    let wrong = |entry: &str| load(&format!("{{{entry}}}"), &[]).unwrap_err();
    assert!(wrong(r#""network-plugin": "x""#).contains("unknown network plugin"));
    for (entry, words) in [
        (r#""bridge": "a/b""#, "bridge: \"a/b\" can't be the name of a device"),
        (r#""bridge": "sixteen-letters!""#, "can't be the name of a device"),
        (r#""bip": "10.0.0.1""#, "bip: \"10.0.0.1\" is no IPv4 address with the length"),
        (r#""bip": "fd00::1/64""#, "is no IPv4 address"),
        (r#""bip": "10.0.0.1/31""#, "not 8 to 30 bits long"),
        (r#""bip": "10.0.0.0/24""#, "the address of the network itself"),
        (r#""bip": "10.0.0.255/24""#, "or of all hosts"),
        (r#""bip": "127.0.0.1/8""#, "can't be the address of a network"),
    ] {
        let error = wrong(entry);
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(good(r#"{"bridge": "none"}"#, &[]).network.bridge, None);
    assert!(wrong(r#""cni-conf-dir": "x""#).contains("not an absolute path"));
    for (tls, words) in [
        (r#"{"CertFile": "/c"}"#, "CertFile needs KeyFile"),
        (r#"{"KeyFile": "/k"}"#, "KeyFile needs CertFile"),
        (r#"{"CertFile": "c", "KeyFile": "/k"}"#, "not an absolute path"),
        (r#"{"CAFile": "/c"}"#, "CAFile"),
    ] {
        let error = wrong(&format!(r#""websocket-server-tls-config": {tls}"#));
        assert!(error.contains("websocket-server-tls-config") && error.contains(words), "{error}");
    }
    assert_eq!(config.cdi_spec_dirs, Some(vec!["/a/cdi".into(), "/b/cdi".into()]));
    assert_eq!(good(r#"{"enable-cdi": false}"#, &[]).cdi_spec_dirs, None);
    assert!(wrong(r#""cdi-spec-dirs": ["x"]"#).contains("not an absolute path"));
    assert_eq!(good(r#"{"websocket-server-tls-config": {}}"#, &[]).cri.streaming_tls, None);
    assert!(wrong(r#""cni-timeout": "0s""#).contains("invalid duration"));
    assert_eq!(config.warnings.len(), 1);
    let other = good(r#"{"data-root": "/d", "exec-root": "/s"}"#, &[]);
    assert_eq!((other.data_root, other.state_dir), ("/d".into(), "/s".into()));
}

#[test]
fn the_shipped_file_asks_for_nothing_unusual() {
    let config = good(include_str!("../../../../dist/daemon.json"), &[]);
    let runc = ("/usr/bin/runc".to_owned(), Vec::new());
    assert_eq!(config.runtimes.get("runc"), Some(&runc));
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(
        config,
        Config { runtimes: config.runtimes.clone(), ..good("{}", &["-G", "isula"]) }
    );
}

#[test]
fn networks_are_described_and_carried_out_where_the_file_says() {
    let config = good("{}", &[]).network;
    assert_eq!(config.conf_dir, Path::new("/etc/cni/net.d"));
    assert_eq!((config.bin_dirs, config.native), (vec!["/opt/cni/bin".into()], true));
    let json = r#"{"network-plugin": "cni", "cni-conf-dir": "/c", "cni-bin-dir": "/a:/b",
        "native-cni": false, "cni-timeout": "3s"}"#;
    let config = good(json, &[]).network;
    assert_eq!((config.conf_dir, config.native), ("/c".into(), false));
    assert_eq!(config.bin_dirs, [Path::new("/a"), Path::new("/b")]);
    assert_eq!(config.timeout, Duration::from_secs(3));
    let list = good(r#"{"cni-bin-dir": ["/a", "/b"], "network-plugin": ""}"#, &[]).network;
    assert_eq!(list.bin_dirs, config.bin_dirs);
}

#[test]
fn flags_override_the_file() {
    let json = r#"{
        "group": "a", "default-runtime": "runc", "graph": "/a", "state": "/a2",
        "hosts": ["unix:///a"], "pidfile": "/a", "log-level": "INFO", "log-driver": "file",
        "registry-mirrors": ["a"], "insecure-registries": ["a"], "cgroup-parent": "/a"
    }"#;
    let config = good(
        json,
        &[
            "-G",
            "",
            "--default-runtime",
            "lcr",
            "--data-root",
            "/b",
            "--exec-root",
            "/b2",
            "-H",
            "unix:///b1",
            "-H",
            "unix:///b2",
            "-p",
            "/b",
            "-l",
            "trace",
            "--log-driver",
            "stdout",
            "--registry-mirror",
            "b1",
            "--registry-mirror",
            "b2",
            "--insecure-registry",
            "b",
            "--cgroup-parent",
            "/b",
            "--shim",
            "/b/shim",
        ],
    );
    assert_eq!(config.group.name, "");
    assert_eq!(config.default_runtime, "lcr");
    assert_eq!((config.data_root, config.state_dir), ("/b".into(), "/b2".into()));
    assert_eq!(config.sockets, [Path::new("/b1"), Path::new("/b2")]);
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/b")));
    assert_eq!((config.log.level, config.log.sink), (LevelFilter::TRACE, Sink::Stderr));
    assert_eq!(config.mirrors, ["b1", "b2"]);
    assert_eq!(config.insecure_registries, ["b"]);
    assert_eq!(config.cgroup_parent, "/b");
    assert_eq!(config.shim, Path::new("/b/shim"));
    assert_eq!(good(json, &["-D"]).log.level, LevelFilter::DEBUG);
}

#[test]
fn systemd_makes_cgroups_where_a_key_or_a_flag_says_so() {
    use isula_core::cgroup::CgroupDriver::{Cgroupfs, Systemd};
    let docker = r#"{"exec-opts": ["native.cgroupdriver=systemd"]}"#;
    let parent = r#"{"systemd-cgroup": true, "cgroup-parent": "a-b.slice"}"#;
    for (json, flags, driver, path) in [
        ("{}", &[][..], Cgroupfs, "/isulad"),
        (r#"{"systemd-cgroup": false}"#, &[], Cgroupfs, "/isulad"),
        (r#"{"systemd-cgroup": true}"#, &[], Systemd, "/isulad.slice"),
        ("{}", &["--systemd-cgroup"], Systemd, "/isulad.slice"),
        (docker, &[], Systemd, "/isulad.slice"),
        (parent, &[], Systemd, "/a.slice/a-b.slice"),
        (parent, &["--cgroup-parent", "c.slice"], Systemd, "/c.slice"),
    ] {
        let config = good(json, flags);
        assert_eq!((config.cgroup_driver, &*config.cgroup_parent), (driver, path), "{json}");
    }
}

#[test]
fn a_state_directory_of_its_own_has_no_pid_file_on_the_host() {
    let config = good("{}", &["--state", "/tmp/x"]);
    assert_eq!((config.pidfile, config.sockets), (None, vec!["/tmp/x/isulad.sock".into()]));
}

#[test]
fn each_key_of_former_versions_is_passed_over_or_refused() {
    for (key, fate) in OTHERS {
        let wanted = load(&format!("{{\"{key}\": \"yes\"}}"), &[]);
        let unwanted = good(&format!("{{\"{key}\": false}}"), &[]);
        match fate {
            Fate::PassedOver => {
                let warning = format!("daemon.json: {key}: the key changes nothing");
                assert_eq!(wanted.unwrap().warnings, [warning]);
            }
            Fate::NotYet => {
                assert_eq!(wanted.unwrap_err(), format!("daemon.json: {key}: not supported yet"));
                assert!(unwanted.warnings.is_empty(), "{key}");
            }
        }
    }
    let shipped =
        r#"{"tls": false, "tls-config": {"CAFile": "", "CertFile": ""}, "sup-groups": []}"#;
    assert!(good(shipped, &[]).warnings.is_empty());
}

#[test]
fn no_key_is_listed_twice() {
    let mut seen = BTreeMap::new();
    for key in HONOURED.iter().chain(OTHERS.iter().map(|(key, _)| key)) {
        assert_eq!(seen.insert(*key, ()), None, "{key}");
    }
}

#[test]
fn what_is_wrong_is_named_with_key_and_line() {
    for (json, wanted) in [
        ("{\n \"graf\": 1\n}", "daemon.json:2: unknown key \"graf\""),
        (
            "{\n \"group\": \"a\",\n\n \"hosts\": \"unix:///x\"\n}",
            "daemon.json:4: hosts: invalid type: string \"unix:///x\", expected a sequence",
        ),
        (
            "{\n \"group\": 7\n}",
            "daemon.json:2: group: invalid type: integer `7`, expected a string",
        ),
        (
            "{\"debug\": \"true\"}",
            "daemon.json:1: debug: invalid type: string \"true\", expected a boolean",
        ),
        (
            "{\"max-concurrent-downloads\": -1}",
            "daemon.json:1: max-concurrent-downloads: invalid value: integer `-1`, expected u32",
        ),
        ("{\"runtimes\": {\"x\": {}}}", "daemon.json:1: runtimes: missing field `path`"),
        (
            "{\"runtimes\": {\"x\": {\"path\": \"y\", \"z\": 1}}}",
            "daemon.json:1: runtimes: unknown field `z`",
        ),
        (
            "{\"container-log\": {\"drver\": \"y\"}}",
            "daemon.json:1: container-log: unknown field `drver`",
        ),
        ("{\n\"debug\": true,\n\"debug\": true\n}", "daemon.json:3: debug: the key is there twice"),
        ("{\"tls\": false, \"tls\": false}", "daemon.json:1: tls: the key is there twice"),
        ("[]", "daemon.json:1: invalid type"),
        ("", "daemon.json:1: EOF"),
        ("{\"debug\": true} x", "daemon.json:1: trailing characters"),
        ("{\"debug\": tru", "daemon.json:1: debug: "),
    ] {
        let error = load(json, &[]).unwrap_err();
        assert!(error.starts_with(wanted), "{json:?}: {error}");
        assert!(!error.contains('\n') && !error.contains("column"), "{error}");
    }
}

/// Configuration, flags, and how the error begins.
type Refusal = (&'static str, &'static [&'static str], &'static str);

const REFUSALS: &[Refusal] = &[
    ("{\"log-level\": \"loud\"}", &[], "daemon.json: log-level: invalid log level \"loud\""),
    ("{}", &["-l", "loud"], "--log-level: invalid log level"),
    (
        "{}",
        &["-H", "tcp://0.0.0.0:2375"],
        "--host: cannot listen on \"tcp://0.0.0.0:2375\": tcp needs mutual TLS",
    ),
    (
        "{\"hosts\": [\"unix://x\"]}",
        &[],
        "daemon.json: hosts: cannot listen on \"unix://x\": the path must be absolute",
    ),
    ("{}", &["-H", "fd://"], "--host: cannot listen on \"fd://\": it must be unix://PATH"),
    ("{\"graph\": \"x\"}", &[], "daemon.json: graph: x is not an absolute path"),
    (
        "{\"graph\": \"/x\", \"data-root\": \"/x\"}",
        &[],
        "daemon.json: graph: data-root says the same",
    ),
    (
        "{\"state\": \"/x\", \"exec-root\": \"/x\"}",
        &[],
        "daemon.json: state: exec-root says the same",
    ),
    ("{\"graph\": \"/x\"}", &["--state", "/x"], "daemon.json: state: /x can't hold both"),
    ("{}", &["--pidfile", "x"], "--pidfile: x is not an absolute path"),
    ("{\"log-driver\": \"syslog\"}", &[], "daemon.json: log-driver: invalid log driver"),
    ("{\"log-opts\": {\"speed\": \"1\"}}", &[], "daemon.json: log-opts: unknown option \"speed\""),
    (
        "{\"log-driver\": \"file\", \"log-opts\": {\"max-file\": \"0\"}}",
        &[],
        "daemon.json: log-opts: invalid value \"0\" for max-file",
    ),
    (
        "{\"log-driver\": \"file\", \"log-opts\": {\"log-file-mode\": \"9\"}}",
        &[],
        "daemon.json: log-opts: invalid value \"9\" for log-file-mode",
    ),
    (
        "{\"container-log\": {\"driver\": \"syslog\"}}",
        &[],
        "daemon.json: container-log: log driver \"syslog\" is not supported",
    ),
    (
        "{\"container-log\": {\"opts\": {\"max-size\": \"x\"}}}",
        &[],
        "daemon.json: container-log: invalid value \"x\" for log option max-size",
    ),
    (
        "{\"default-runtime\": \"nope\"}",
        &[],
        "daemon.json: default-runtime: unknown runtime \"nope\"",
    ),
    (
        "{\"network-plugin\": \"kubenet\"}",
        &[],
        "daemon.json: network-plugin: unknown network plugin \"kubenet\": it must be cni",
    ),
    ("{\"cni-conf-dir\": \"x\"}", &[], "daemon.json: cni-conf-dir: x is not an absolute path"),
    ("{\"cni-bin-dir\": [\"x\"]}", &[], "daemon.json: cni-bin-dir: x is not an absolute path"),
    ("{\"cni-timeout\": \"0s\"}", &[], "daemon.json: cni-timeout: invalid duration"),
    ("{\"native.umask\": \"0777\"}", &[], "daemon.json: native.umask: invalid value"),
    ("{\"start-timeout\": \"soon\"}", &[], "daemon.json: start-timeout: invalid duration \"soon\""),
    ("{\"start-timeout\": \"0s\"}", &[], "daemon.json: start-timeout: invalid duration"),
    ("{\"cgroup-parent\": \"/a/../b\"}", &[], "daemon.json: cgroup-parent: invalid cgroup"),
    (
        "{\"systemd-cgroup\": true, \"cgroup-parent\": \"/isulad\"}",
        &[],
        "daemon.json: cgroup-parent: invalid cgroup \"/isulad\": with the systemd cgroup driver",
    ),
    (
        "{\"exec-opts\": [\"native.cgroupdriver=v2\"]}",
        &[],
        "daemon.json: exec-opts: native.cgroupdriver \"v2\": it must be cgroupfs or systemd",
    ),
    ("{\"exec-opts\": [\"isolation=x\"]}", &[], "daemon.json: exec-opts: unknown option"),
    (
        "{\"systemd-cgroup\": true, \"exec-opts\": [\"native.cgroupdriver=cgroupfs\"]}",
        &[],
        "daemon.json: exec-opts: native.cgroupdriver=cgroupfs contradicts systemd-cgroup",
    ),
    (
        "{\"max-concurrent-downloads\": 0}",
        &[],
        "daemon.json: max-concurrent-downloads: must be above 0",
    ),
    (
        "{\"storage-driver\": \"devicemapper\"}",
        &[],
        "daemon.json: storage-driver: storage driver \"devicemapper\" is not supported",
    ),
    (
        "{\"storage-opts\": [\"overlay2.size=1G\"]}",
        &[],
        "daemon.json: storage-opts: overlay2.size is not supported yet",
    ),
    ("{\"storage-opts\": [\"dm.fs=xfs\"]}", &[], "daemon.json: storage-opts: unknown option"),
    (
        "{\"default-ulimits\": {\"core\": {\"Name\": \"nofile\", \"Soft\": 0, \"Hard\": 0}}}",
        &[],
        "daemon.json: default-ulimits: core: its Name is",
    ),
    (
        "{\"default-ulimits\": {\"core\": {\"Soft\": -2, \"Hard\": 0}}}",
        &[],
        "daemon.json: default-ulimits: core: -2 is no limit",
    ),
    (
        "{\"default-ulimits\": {\"core\": {\"Soft\": 2, \"Hard\": 1}}}",
        &[],
        "daemon.json: default-ulimits: core: the soft limit",
    ),
    ("{\"hook-spec\": \"/no/such/file\"}", &[], "cannot read /no/such/file: No such file"),
];

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    for (json, flags, wanted) in REFUSALS {
        let error = load(json, flags).unwrap_err();
        assert!(error.starts_with(wanted), "{json}: {error}");
    }
}

#[test]
fn a_missing_file_is_an_error_only_when_it_was_named() {
    let flags = Flags { config: Some("/no/such/daemon.json".into()), ..Flags::default() };
    let error = Config::load(&flags).unwrap_err();
    assert!(isula_core::error::chain(&error).starts_with("cannot read /no/such/daemon.json: "));
}

#[test]
fn quantities_are_read_as_go_writes_them() {
    for (text, bytes) in [
        ("0", Some(0)),
        ("30KB", Some(30 << 10)),
        ("10m", Some(10 << 20)),
        ("1GiB", Some(1 << 30)),
        ("2 mb", Some(2 << 20)),
        ("", None),
        ("m", None),
        ("-1", None),
        ("1x", None),
        ("99999999999999t", None),
    ] {
        assert_eq!(super::parse::bytes(text), bytes, "{text}");
    }
    for (text, duration) in [
        ("2m", Some(120_000)),
        ("1h1m1s", Some(3_661_000)),
        ("500ms", Some(500)),
        ("0s", Some(0)),
        ("", None),
        ("5", None),
        ("m", None),
        ("5x", None),
        ("1d", None),
        ("99999999999999999999s", None),
        ("18446744073709551615h", None),
    ] {
        let wanted = duration.map(Duration::from_millis);
        assert_eq!(super::parse::duration(text), wanted, "{text}");
    }
}
