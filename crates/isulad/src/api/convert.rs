//! Requests of the wire as the domain knows them. What can't be one is refused here, by name.

mod host;

use std::time::Duration;

use isula_api::v1;
use isula_core::{
    container::{self, Healthcheck, Joins, LogConfig, NewContainer, Overrides},
    ports::{Attach, TerminalSize},
    signal::Signal,
};
use tonic::Status;

use super::status::invalid;

/// Absent where the wire has an empty text.
pub fn text(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

/// A signal by name or number; absent where the wire has an empty text.
pub fn signal(value: &str) -> Result<Option<Signal>, Status> {
    match value {
        "" => Ok(None),
        other => other.parse().map(Some).map_err(|error| invalid(format!("{error}"))),
    }
}

/// Nanoseconds since the epoch as the wire has them.
pub fn timestamp(nanoseconds: i64) -> Result<jiff::Timestamp, Status> {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map_err(|_| invalid(format!("no such time: {nanoseconds} ns")))
}

/// A request to create a container. `log` is the daemon's default.
pub fn new_container(request: v1::CreateRequest, log: &LogConfig) -> Result<NewContainer, Status> {
    let host = request.host.unwrap_or_default();
    let joins =
        Joins { network: joined(&host.network), ipc: joined(&host.ipc), pid: joined(&host.pid) };
    Ok(NewContainer {
        name: text(request.name),
        image: text(request.image),
        external_rootfs: text(request.external_rootfs),
        overrides: overrides(request.config.unwrap_or_default())?,
        host: host::host_config(host, log)?,
        joins,
    })
}

/// `X` of `container:X`.
fn joined(mode: &str) -> Option<String> {
    mode.strip_prefix("container:").map(str::to_owned)
}

fn overrides(config: v1::ContainerConfig) -> Result<Overrides, Status> {
    Ok(Overrides {
        hostname: text(config.hostname),
        domainname: text(config.domainname),
        user: text(config.user),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env,
        cmd: config.cmd,
        entrypoint: config.entrypoint.map(|list| list.values),
        working_dir: text(config.working_dir),
        labels: config.labels.into_iter().collect(),
        annotations: config.annotations.into_iter().collect(),
        expose: config.expose,
        stop_signal: signal(&config.stop_signal)?,
        stop_timeout: config
            .stop_timeout_seconds
            .map(|seconds| Duration::from_secs(seconds.into())),
        healthcheck: config.healthcheck.map(healthcheck),
    })
}

fn healthcheck(check: v1::Healthcheck) -> Healthcheck {
    Healthcheck {
        test: check.test,
        interval: Duration::from_nanos(check.interval_ns),
        timeout: Duration::from_nanos(check.timeout_ns),
        start_period: Duration::from_nanos(check.start_period_ns),
        retries: check.retries,
    }
}

/// A further process.
pub fn exec_config(request: v1::ExecRequest) -> (String, container::ExecConfig, Option<Attach>) {
    let attach = request.streams.map(streams);
    let config = container::ExecConfig {
        args: request.args,
        env: request.env,
        user: text(request.user),
        working_dir: text(request.working_dir),
        tty: request.tty,
        stdin: attach.is_some_and(|attach| attach.stdin),
        privileged: request.privileged,
    };
    (request.id, config, attach)
}

/// Which streams a client wants.
pub fn streams(streams: v1::Streams) -> Attach {
    Attach {
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        size: streams.size.and_then(size),
    }
}

/// The size of a terminal; one that no terminal has is none.
pub fn size(size: v1::TerminalSize) -> Option<TerminalSize> {
    let rows = u16::try_from(size.rows).ok()?;
    let columns = u16::try_from(size.columns).ok()?;
    Some(TerminalSize { rows, columns })
}

#[cfg(test)]
mod tests {
    use super::{new_container, signal, timestamp};
    use isula_api::v1;
    use isula_core::container::{LogConfig, MountKind, NetworkMode, RestartPolicy};

    fn create(host: v1::HostConfig) -> v1::CreateRequest {
        v1::CreateRequest { image: "busybox".into(), host: Some(host), ..Default::default() }
    }

    #[test]
    fn empty_texts_are_absent_and_the_defaults_are_those_of_the_daemon() {
        let log = LogConfig { max_files: 7, ..LogConfig::default() };
        let new = new_container(create(v1::HostConfig::default()), &log).unwrap();
        assert_eq!(new.name, None);
        assert_eq!(new.overrides.entrypoint, None);
        assert_eq!(new.host.log, log);
        assert_eq!(new.host.network, NetworkMode::None);
        assert_eq!(new.host.restart, RestartPolicy::No);
    }

    #[test]
    fn a_mode_that_joins_names_the_container() {
        let host = v1::HostConfig { network: "container:web".into(), ..Default::default() };
        let new = new_container(create(host), &LogConfig::default()).unwrap();
        assert_eq!(new.joins.network.as_deref(), Some("web"));
        assert_eq!(new.joins.ipc, None);
    }

    #[test]
    fn what_no_domain_type_can_hold_is_refused_by_name() {
        let refused = |host: v1::HostConfig| {
            new_container(create(host), &LogConfig::default()).unwrap_err().message().to_owned()
        };
        let default = v1::HostConfig::default;
        for (host, word) in [
            (v1::HostConfig { restart: "sometimes".into(), ..default() }, "sometimes"),
            (v1::HostConfig { restart: "on-failure:x".into(), ..default() }, "on-failure:x"),
            (v1::HostConfig { network: "bridge".into(), ..default() }, "bridge"),
            (v1::HostConfig { uts: "container:x".into(), ..default() }, "container:x"),
            (v1::HostConfig { cgroupns: "shared".into(), ..default() }, "shared"),
            (v1::HostConfig { log_driver: "syslog".into(), ..default() }, "syslog"),
            (v1::HostConfig { hooks_json: b"{".to_vec().into(), ..default() }, "hooks"),
            (
                v1::HostConfig {
                    mounts: vec![v1::Mount { target: "/x".into(), ..Default::default() }],
                    ..default()
                },
                "/x",
            ),
        ] {
            let said = refused(host);
            assert!(said.contains(word), "{said}");
        }
        assert!(signal("NOPE").is_err());
        assert!(timestamp(i64::MAX).is_ok());
    }

    #[test]
    fn a_volume_without_a_name_is_anonymous() {
        let mount = v1::Mount {
            kind: v1::mount::Kind::Volume.into(),
            target: "/data".into(),
            ..Default::default()
        };
        let host = v1::HostConfig { mounts: vec![mount], ..Default::default() };
        let new = new_container(create(host), &LogConfig::default()).unwrap();
        let kind = &new.host.mounts[0].kind;
        assert_eq!(*kind, MountKind::Volume { name: String::new(), anonymous: true });
    }
}
