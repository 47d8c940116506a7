//! Requests into the domain.

use std::time::Duration;

use isula_api::v1;
use isula_core::container::{
    CgroupMode, LogConfig, LogDriver, MountKind, NamespaceMode, NetworkMode, NewContainer,
    Propagation, RestartPolicy,
};
use isula_engine::Patience;
use jiff::Timestamp;

fn convert(host: v1::HostConfig) -> Result<NewContainer, String> {
    let request = v1::CreateRequest { host: Some(host), ..Default::default() };
    super::new_container(request, &LogConfig::default())
        .map_err(|status| status.message().to_owned())
}

#[test]
fn an_empty_request_asks_for_nothing() {
    let new = super::new_container(v1::CreateRequest::default(), &LogConfig::default()).unwrap();
    assert_eq!(new, NewContainer::default());
}

#[test]
fn every_text_that_is_empty_is_absent() {
    let request = v1::CreateRequest {
        name: "web".to_owned(),
        image: "busybox".to_owned(),
        config: Some(v1::ContainerConfig {
            hostname: "h".to_owned(),
            entrypoint: Some(v1::StringList { values: Vec::new() }),
            stop_signal: "SIGHUP".to_owned(),
            stop_timeout_seconds: Some(0),
            ..Default::default()
        }),
        ..Default::default()
    };
    let new = super::new_container(request, &LogConfig::default()).unwrap();
    assert_eq!((new.name.as_deref(), new.image.as_deref()), (Some("web"), Some("busybox")));
    assert_eq!(new.external_rootfs, None);
    assert_eq!(new.overrides.hostname.as_deref(), Some("h"));
    assert_eq!(new.overrides.user, None);
    assert_eq!(new.overrides.entrypoint, Some(Vec::new()));
    assert_eq!(new.overrides.stop_signal.map(i32::from), Some(1));
    assert_eq!(new.overrides.stop_timeout, Some(Duration::ZERO));
}

#[test]
fn modes_are_read_by_their_names() {
    for (text, mode, join) in [
        ("", NetworkMode::None, None),
        ("none", NetworkMode::None, None),
        ("host", NetworkMode::Host, None),
        ("container:web", NetworkMode::None, Some("web")),
    ] {
        let new =
            convert(v1::HostConfig { network: text.to_owned(), ..Default::default() }).unwrap();
        assert_eq!((new.host.network, new.joins.network.as_deref()), (mode, join), "{text}");
    }
    for (text, mode, join) in [
        ("", NamespaceMode::Private, None),
        ("private", NamespaceMode::Private, None),
        ("shareable", NamespaceMode::Private, None),
        ("host", NamespaceMode::Host, None),
        ("container:x", NamespaceMode::Private, Some("x")),
    ] {
        let new = convert(v1::HostConfig { ipc: text.to_owned(), ..Default::default() }).unwrap();
        assert_eq!((new.host.ipc, new.joins.ipc.as_deref()), (mode, join), "{text}");
    }
    for (text, mode) in
        [("", None), ("private", Some(CgroupMode::Private)), ("host", Some(CgroupMode::Host))]
    {
        let new = convert(v1::HostConfig { cgroupns: text.to_owned(), ..Default::default() });
        assert_eq!(new.unwrap().host.cgroupns, mode, "{text}");
    }
    for (text, policy) in [
        ("", RestartPolicy::No),
        ("no", RestartPolicy::No),
        ("always", RestartPolicy::Always),
        ("unless-stopped", RestartPolicy::UnlessStopped),
        ("on-failure", RestartPolicy::OnFailure(0)),
        ("on-failure:3", RestartPolicy::OnFailure(3)),
    ] {
        let new = convert(v1::HostConfig { restart: text.to_owned(), ..Default::default() });
        assert_eq!(new.unwrap().host.restart, policy, "{text}");
    }
}

#[test]
fn what_means_nothing_is_refused() {
    type Change = fn(&mut v1::HostConfig);
    let mount = |kind: v1::mount::Kind, source: &str| v1::Mount {
        kind: kind.into(),
        source: source.to_owned(),
        target: "/x".to_owned(),
        ..Default::default()
    };
    let cases: [(Change, &str); 15] = [
        (|host| host.network = "a/b".to_owned(), "invalid network \"a/b\""),
        (|host| host.network = "container:".to_owned(), "names no container"),
        (|host| host.uts = "container:x".to_owned(), "invalid uts mode"),
        (|host| host.uts = "shareable".to_owned(), "invalid uts mode"),
        (|host| host.pid = "container:".to_owned(), "invalid pid mode"),
        (|host| host.ipc = "none".to_owned(), "invalid ipc mode"),
        (|host| host.cgroupns = "x".to_owned(), "invalid cgroup namespace mode"),
        (|host| host.restart = "always:3".to_owned(), "invalid restart policy"),
        (|host| host.restart = "on-failure:x".to_owned(), "invalid restart policy"),
        (|host| host.restart = "on-failure:-1".to_owned(), "invalid restart policy"),
        (|host| host.log_driver = "fluentd".to_owned(), "log driver \"fluentd\" is not supported"),
        (
            |host| drop(host.log_options.insert("env".to_owned(), "x".to_owned())),
            "unknown log option",
        ),
        (|host| host.hooks_json = b"[]".as_slice().into(), "must be a JSON object"),
        (|host| host.hooks_json = b"{".as_slice().into(), "no JSON"),
        (
            |host| {
                let resources = host.resources.get_or_insert_default();
                resources.blkio_weight = Some(1 << 16);
            },
            "invalid block io weight",
        ),
    ];
    for (change, wanted) in cases {
        let mut host = v1::HostConfig::default();
        change(&mut host);
        let error = convert(host).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
    for (mount, wanted) in [
        (mount(v1::mount::Kind::Unspecified, "x"), "has no kind"),
        (mount(v1::mount::Kind::Volume, "../x"), "invalid name"),
        (
            v1::Mount { propagation: "up".to_owned(), ..mount(v1::mount::Kind::Bind, "/") },
            "invalid mount propagation",
        ),
    ] {
        let host = v1::HostConfig { mounts: vec![mount], ..Default::default() };
        let error = convert(host).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn mounts_keep_what_they_say() {
    let mount = v1::Mount {
        kind: v1::mount::Kind::Bind.into(),
        source: "/a".to_owned(),
        target: "/b".to_owned(),
        readonly: true,
        create_source: true,
        non_recursive: true,
        propagation: "slave".to_owned(),
        no_copy: true,
    };
    let anonymous = v1::Mount { kind: v1::mount::Kind::Volume.into(), ..Default::default() };
    let named = v1::Mount { source: "data".to_owned(), ..anonymous.clone() };
    let mounts = vec![mount, anonymous, named];
    let new = convert(v1::HostConfig { mounts, ..Default::default() }).unwrap();
    let [bind, anonymous, named] = new.host.mounts.as_slice() else { panic!("three mounts") };
    assert_eq!(bind.kind, MountKind::Bind { source: "/a".to_owned(), create: true });
    assert_eq!((bind.target.as_str(), bind.readonly, bind.recursive), ("/b", true, false));
    assert_eq!((bind.propagation, bind.no_copy), (Propagation::Slave, true));
    assert_eq!(anonymous.kind, MountKind::Volume { name: String::new(), anonymous: true });
    assert_eq!(named.kind, MountKind::Volume { name: "data".to_owned(), anonymous: false });
    assert_eq!((named.recursive, named.propagation), (true, Propagation::Rprivate));
}

#[test]
fn a_log_begins_from_the_daemons_default() {
    let default = LogConfig { driver: LogDriver::JsonFile, max_size: 5, max_files: 7 };
    let log = |driver: &str, options: &[(&str, &str)]| {
        let host = v1::HostConfig {
            log_driver: driver.to_owned(),
            log_options: options
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            ..Default::default()
        };
        let request = v1::CreateRequest { host: Some(host), ..Default::default() };
        super::new_container(request, &default).unwrap().host.log
    };
    assert_eq!(log("", &[]), default);
    assert_eq!(log("", &[("max-size", "1k")]), LogConfig { max_size: 1024, ..default.clone() });
    assert_eq!(
        log("json-file", &[("max-file", "2")]),
        LogConfig { max_files: 2, ..default.clone() }
    );
    assert_eq!(log("json-file", &[("max-size", "-1")]).max_size, 0);
    assert_eq!(log("none", &[]).driver, LogDriver::None);
}

#[test]
fn how_to_stop_is_read_from_the_timeout() {
    let stop =
        |timeout_seconds| super::stop(&v1::StopRequest { timeout_seconds, ..Default::default() });
    assert_eq!(stop(None).unwrap().patience, None);
    assert_eq!(stop(Some(-1)).unwrap().patience, Some(Patience::Forever));
    assert_eq!(stop(Some(3)).unwrap().patience, Some(Patience::For(Duration::from_secs(3))));
    assert!(stop(Some(-2)).is_err());
    assert!(super::signal("NOTHING").is_err());
    assert_eq!(super::signal("").unwrap(), None);
}

#[test]
fn a_command_an_exec_needs_and_a_terminal_has_bounds() {
    assert!(super::exec(v1::ExecRequest::default()).is_err());
    let large = v1::TerminalSize { rows: 70_000, columns: 1 };
    assert!(super::size(large).is_err());
    let streams = v1::Streams { stdin: true, ..Default::default() };
    let request = v1::ExecRequest {
        id: "web".to_owned(),
        args: vec!["sh".to_owned()],
        streams: Some(streams),
        ..Default::default()
    };
    let (id, config, attach) = super::exec(request).unwrap();
    assert_eq!((id.as_str(), config.user, config.stdin), ("web", None, true));
    assert!(attach.stdin && !attach.stdout);
}

#[test]
fn times_travel_as_nanoseconds() {
    for nanoseconds in [0, -1, 1, i64::MAX, i64::MIN] {
        let time = super::timestamp(nanoseconds).unwrap();
        assert_eq!(super::nanoseconds(time), nanoseconds);
    }
    assert_eq!(super::nanoseconds(Timestamp::MAX), i64::MAX);
    assert_eq!(super::nanoseconds(Timestamp::MIN), i64::MIN);
}
