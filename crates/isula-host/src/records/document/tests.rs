//! Every field of a container goes to the documents and comes back.

use std::{collections::BTreeMap, time::Duration};

use isula_core::{
    container::{
        CgroupMode, Config, Connection, Container, DeviceMapping, Endpoint, Exit, Healthcheck,
        HostConfig, LogConfig, LogDriver, Mount, MountKind, NamespaceMode, NetworkMode,
        Propagation, Resources, RestartPolicy, Run, Source, State, Tmpfs, Ulimit,
    },
    id::{ContainerId, Name},
    image::{Digest, ImageId},
    ports::{Address, Attachment, NetworkDns, PortMapping, Protocol},
};
use serde_json::json;

use super::{decode, encode};

fn id(byte: u8) -> ContainerId {
    ContainerId::from_random([byte; 32])
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn map<V: Clone>(pairs: &[(&str, V)]) -> BTreeMap<String, V> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

/// A container with no field at its default. Without `..`, so that a new field must come here.
pub(in super::super) fn full() -> Container {
    Container {
        id: id(0xab),
        name: Name::try_from("web".to_owned()).unwrap(),
        created: "2020-07-27T16:25:16.170149428+08:00".parse().unwrap(),
        source: Source::Image {
            reference: "openeuler/openeuler:20.09".to_owned(),
            id: ImageId(Digest::from_sha256([7; 32])),
        },
        config: config(),
        host: host(),
        state: State::Running(run()),
        restarts: 3,
        started: Some("2020-07-27T16:25:16.286812971Z".parse().unwrap()),
        stopped_by_user: true,
        pod: None,
        network: Some(Box::new(endpoint())),
    }
}

fn endpoint() -> Endpoint {
    let address = Address { ip: [10, 83, 0, 2].into(), prefix: 16, gateway: None };
    let attachment = Attachment {
        network: "bridge".to_owned(),
        interface: "eth0".to_owned(),
        mac: Some("02:42:ac:11:00:02".to_owned()),
        addresses: vec![address],
        dns: NetworkDns { nameservers: texts(&["10.83.0.1"]), ..NetworkDns::default() },
    };
    Endpoint { attachment, ports: ports() }
}

/// In the order of the document.
fn ports() -> Vec<PortMapping> {
    let port = |host_port, container_port, protocol, host_ip| PortMapping {
        host_port,
        container_port,
        protocol,
        host_ip,
    };
    vec![
        port(0, 53, Protocol::Udp, None),
        port(8080, 80, Protocol::Tcp, Some([127, 0, 0, 1].into())),
        port(8081, 80, Protocol::Tcp, None),
        port(9, 9, Protocol::Sctp, None),
    ]
}

#[test]
fn a_connection_to_a_network_comes_back() {
    let connection = Connection {
        network: Name::try_from("bridge".to_owned()).unwrap(),
        ports: ports(),
        publish_all: true,
        ip: Some([10, 83, 0, 9].into()),
        mac: Some("02:42:ac:11:00:02".to_owned()),
    };
    let plain = Connection::to(connection.network.clone());
    for connection in [connection, plain] {
        let network = NetworkMode::Network(Box::new(connection));
        let container = Container { host: HostConfig { network, ..host() }, ..full() };
        assert_eq!(there_and_back(&container), container);
    }
    for mode in [NetworkMode::None, NetworkMode::Host] {
        let container = Container { host: HostConfig { network: mode, ..host() }, ..full() };
        assert_eq!(there_and_back(&container), container);
    }
}

fn run() -> Run {
    Run {
        pid: 19232,
        pid_start: 2_731_408,
        shim_pid: 19229,
        shim_start: 2_731_402,
        started: "2020-07-27T16:25:16.286812971Z".parse().unwrap(),
    }
}

fn config() -> Config {
    Config {
        hostname: "localhost".to_owned(),
        domainname: Some("example.org".to_owned()),
        user: "1000:users".to_owned(),
        tty: true,
        open_stdin: true,
        stdin_once: true,
        env: texts(&["PATH=/bin", "EMPTY=", "QUOTE=\"\u{1}\n"]),
        cmd: texts(&["-c", "echo"]),
        entrypoint: texts(&["sh"]),
        working_dir: "/tmp".to_owned(),
        labels: map(&[("a", "1".to_owned()), ("b", String::new())]),
        annotations: map(&[("native.umask", "secure".to_owned())]),
        exposed_ports: texts(&["80/tcp", "443/udp", "22/tcp"]),
        volumes: texts(&["/data", "/a"]),
        stop_signal: Some("SIGRTMIN+3".parse().unwrap()),
        stop_timeout: Some(Duration::from_secs(7)),
        healthcheck: Some(Healthcheck {
            test: texts(&["CMD", "true"]),
            interval: Duration::from_millis(1500),
            timeout: Duration::from_secs(3),
            start_period: Duration::from_nanos(1),
            retries: 4,
        }),
    }
}

fn host() -> HostConfig {
    HostConfig {
        runtime: "lcr".to_owned(),
        auto_remove: true,
        restart: RestartPolicy::OnFailure(5),
        network: NetworkMode::Container(id(1)),
        uts: NamespaceMode::Host,
        ipc: NamespaceMode::Container(id(2)),
        pid: NamespaceMode::Container(id(3)),
        cgroupns: Some(CgroupMode::Private),
        cgroup_parent: Some("/parent".to_owned()),
        mounts: mounts(),
        tmpfs: vec![
            Tmpfs { target: "/run".to_owned(), options: "size=1m".to_owned() },
            Tmpfs { target: "/a".to_owned(), options: String::new() },
        ],
        readonly_rootfs: true,
        storage_options: map(&[("size", "10g".to_owned())]),
        shm_size: Some(0),
        privileged: true,
        cap_add: texts(&["NET_ADMIN"]),
        cap_drop: texts(&["ALL"]),
        cap_ambient: texts(&["NET_RAW"]),
        cdi_devices: texts(&["vendor.com/class=one"]),
        security_opt: texts(&["seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"]),
        group_add: texts(&["video", "44"]),
        sysctls: map(&[("net.ipv4.ip_forward", "1".to_owned())]),
        resources: resources(),
        ulimits: vec![
            Ulimit { name: "nofile".to_owned(), soft: 1024, hard: u64::MAX },
            Ulimit { name: "core".to_owned(), soft: 0, hard: u64::MAX - 1 },
        ],
        devices: vec![DeviceMapping {
            host: "/dev/zero".to_owned(),
            container: "/dev/nought".to_owned(),
            permissions: "rm".to_owned(),
        }],
        device_cgroup_rules: texts(&["c 1:3 rwm"]),
        extra_hosts: texts(&["db:10.0.0.1"]),
        dns: texts(&["192.0.2.1"]),
        dns_search: texts(&["example.org"]),
        dns_options: texts(&["ndots:2"]),
        init: true,
        oom_score_adj: Some(-5),
        log: LogConfig { driver: LogDriver::None, max_size: 0, max_files: 9 },
        hooks: Some(json!({"prestart": [{"path": "/bin/true"}]})),
    }
}

fn mounts() -> Vec<Mount> {
    let mount = Mount {
        kind: MountKind::Bind { source: "/src".to_owned(), create: true },
        target: "/dst".to_owned(),
        readonly: true,
        recursive: false,
        propagation: Propagation::Rshared,
        no_copy: false,
    };
    let volume = |name: &str, anonymous| MountKind::Volume { name: name.to_owned(), anonymous };
    vec![
        mount.clone(),
        Mount { kind: volume("data", false), readonly: false, recursive: true, ..mount.clone() },
        Mount {
            kind: volume(id(9).as_str(), true),
            propagation: Propagation::Slave,
            no_copy: true,
            ..mount
        },
    ]
}

fn resources() -> Resources {
    Resources {
        memory: Some(1 << 40),
        memory_reservation: Some(1),
        memory_swap: Some(-1),
        memory_swappiness: Some(0),
        nano_cpus: Some(1_500_000_000),
        cpu_shares: Some(2),
        cpu_period: Some(100_000),
        cpu_quota: Some(-1),
        cpuset_cpus: Some("0-3,5".to_owned()),
        cpuset_mems: Some("0".to_owned()),
        pids_limit: Some(-1),
        blkio_weight: Some(10),
        oom_kill_disable: Some(false),
        hugetlb: map(&[("2MB", 4 << 20)]),
        unified: map(&[("memory.high", "max".to_owned())]),
    }
}

fn there_and_back(container: &Container) -> Container {
    let documents = encode(container).unwrap();
    match decode(documents.config.as_bytes(), documents.host.as_bytes()) {
        Ok(container) => container,
        Err(error) => panic!("{error}\n{}\n{}", documents.config, documents.host),
    }
}

#[test]
fn a_container_with_every_field_comes_back() {
    assert_eq!(there_and_back(&full()), full());
}

#[test]
fn a_container_with_no_field_comes_back() {
    let bare = Container {
        source: Source::Directory("/rootfs".to_owned()),
        config: Config::default(),
        host: HostConfig::default(),
        state: State::Created,
        pod: None,
        network: None,
        restarts: 0,
        started: None,
        stopped_by_user: false,
        ..full()
    };
    assert_eq!(there_and_back(&bare), bare);
}

#[test]
fn every_state_comes_back() {
    let at = "2021-01-01T00:00:00.5Z".parse().unwrap();
    let exit = |error: Option<&str>| Exit {
        code: 137,
        oom_killed: true,
        at,
        error: error.map(str::to_owned),
    };
    for state in [
        State::Created,
        State::Starting,
        State::Running(run()),
        State::Running(Run { started: at, ..run() }),
        State::Paused(run()),
        State::Stopped(exit(None)),
        State::Stopped(exit(Some("exec format error"))),
        State::Removing,
    ] {
        for started in [None, full().started] {
            let container = Container { state: state.clone(), started, ..full() };
            assert_eq!(there_and_back(&container), container, "{state}");
        }
    }
}

#[test]
fn every_choice_comes_back() {
    let mut container = full();
    for restart in [RestartPolicy::No, RestartPolicy::Always, RestartPolicy::UnlessStopped] {
        container.host.restart = restart;
        assert_eq!(there_and_back(&container), container);
    }
    for network in [NetworkMode::None, NetworkMode::Host] {
        container.host.network = network;
        assert_eq!(there_and_back(&container), container);
    }
    for cgroupns in [None, Some(CgroupMode::Host)] {
        container.host.cgroupns = cgroupns;
        assert_eq!(there_and_back(&container), container);
    }
    for (_, propagation) in super::text::propagations() {
        for mount in &mut container.host.mounts {
            mount.propagation = propagation;
        }
        assert_eq!(there_and_back(&container), container);
    }
    for number in 1..=64 {
        container.config.stop_signal = Some(number.try_into().unwrap());
        assert_eq!(there_and_back(&container), container, "signal {number}");
    }
    container.host.log.driver = LogDriver::JsonFile;
    assert_eq!(there_and_back(&container), container);
}

const SEED: &str = r#"{
    "CommonConfig": {
        "Path": "sh",
        "Config": {
            "Hostname": "localhost",
            "User": "",
            "Tty": true,
            "OpenStdin": true,
            "Env": [
                "PATH=/bin"
            ],
            "Cmd": [
                "sh"
            ],
            "WorkingDir": "",
            "LogDriver": "json-file"
        },
        "Created": "2020-07-27T08:25:16.170149428Z",
        "Image": "openeuler/openeuler:20.09",
        "ImageType": "oci",
        "Name": "web",
        "id": "abababababababababababababababababababababababababababababababab"
    },
    "Image": "sha256:0707070707070707070707070707070707070707070707070707070707070707",
    "State": {
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Pid": 19232,
        "PPid": 19229,
        "StartTime": 2731408,
        "PStartTime": 2731402,
        "Running": true,
        "StartedAt": "2020-07-27T16:25:16.286812971Z",
        "ExitCode": 0,
        "OOMKilled": false,
        "Error": "",
        "Paused": false,
        "RestartCount": 0,
        "HasBeenManuallyStopped": false
    }
}
"#;

#[test]
fn the_documents_have_the_names_and_the_order_of_the_seed() {
    let mut container = full();
    container.config = Config {
        hostname: "localhost".to_owned(),
        tty: true,
        open_stdin: true,
        env: texts(&["PATH=/bin"]),
        cmd: texts(&["sh"]),
        ..Config::default()
    };
    container.host = HostConfig { runtime: "lcr".to_owned(), ..HostConfig::default() };
    (container.restarts, container.stopped_by_user, container.network) = (0, false, None);
    let documents = encode(&container).unwrap();
    assert_eq!(documents.config, SEED);
    let host: serde_json::Value = serde_json::from_str(&documents.host).unwrap();
    let log = json!({"Type": "json-file", "Config": {"max-size": "10485760", "max-file": "3"}});
    assert_eq!(host, json!({"Runtime": "lcr", "NetworkMode": "none", "LogConfig": log}));
}

#[test]
fn a_document_cut_at_any_byte_is_an_error() {
    let documents = encode(&full()).unwrap();
    let config = documents.config.trim_end();
    for cut in 0..config.len() {
        assert!(decode(&config.as_bytes()[..cut], documents.host.as_bytes()).is_err(), "{cut}");
    }
    let host = documents.host.trim_end();
    for cut in 0..host.len() {
        assert!(decode(documents.config.as_bytes(), &host.as_bytes()[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn what_means_nothing_is_an_error_that_names_it() {
    let documents = encode(&full()).unwrap();
    for (from, to, part) in [
        ("\"web\"", "\"../x\"", "invalid name"),
        ("\"oci\"", "\"embedded\"", "embedded"),
        ("\"sha256:", "\"sha512:", "invalid digest"),
        ("\"SIGRTMIN+3\"", "\"SIGNOTHING\"", "SIGNOTHING"),
        ("\"Pid\": 19232", "\"Pid\": \"x\"", "line"),
    ] {
        let changed = documents.config.replacen(from, to, 1);
        assert_ne!(changed, documents.config, "{from}");
        let error = decode(changed.as_bytes(), documents.host.as_bytes()).unwrap_err();
        let text = isula_core::error::chain(&error);
        assert!(text.contains(part), "{text}");
    }
    for (from, to, part) in [
        ("\"rshared\"", "\"sideways\"", "sideways"),
        ("\"Type\": \"volume\"", "\"Type\": \"npipe\"", "npipe"),
        ("\"on-failure\"", "\"sometimes\"", "sometimes"),
        ("\"container:0303", "\"container:xx03", "has no meaning"),
        ("\"max-size\": \"0\"", "\"max-size\": \"much\"", "max-size"),
        ("\"Soft\": 1024", "\"Soft\": -2", "a limit, or -1"),
    ] {
        let changed = documents.host.replacen(from, to, 1);
        assert_ne!(changed, documents.host, "{from}");
        let error = decode(documents.config.as_bytes(), changed.as_bytes()).unwrap_err();
        let text = isula_core::error::chain(&error);
        assert!(text.contains(part), "{text}");
    }
}
