//! Messages of the API into the domain, where they are refused if they mean nothing.

mod host;
mod network;
#[cfg(test)]
mod tests;

use std::{str::FromStr, time::Duration};

use isula_api::v1;
use isula_core::{
    container::{ExecConfig, Healthcheck, Joins, LogConfig, NewContainer, Overrides},
    image::Reference,
    ports::{Attach, LogOptions, PullOptions, TerminalSize},
    signal::Signal,
};
use isula_engine::{Patience, StopOptions};
use jiff::Timestamp;
use tonic::Status;

use super::status::invalid;

/// proto3 has no absent text; the domain has no empty one.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A signal by name or number; absent when empty.
pub(super) fn signal(text: &str) -> Result<Option<Signal>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error: isula_core::signal::SignalError| invalid(error.to_string()))
}

/// A reference of an image.
pub(super) fn reference(text: &str) -> Result<Reference, Status> {
    Reference::from_str(text).map_err(|error| invalid(error.to_string()))
}

/// A point in time.
pub(super) fn timestamp(nanoseconds: i64) -> Result<Timestamp, Status> {
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map_err(|_| invalid(format!("time out of range: {nanoseconds}")))
}

/// Nanoseconds since the epoch, as far as they reach (1677 to 2262).
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let exact = time.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// A request to create a container. `log` is what it gets if it does not say.
pub(super) fn new_container(
    request: v1::CreateRequest,
    log: &LogConfig,
) -> Result<NewContainer, Status> {
    let mut joins = Joins::default();
    let host = request.host.unwrap_or_default();
    let mut config = request.config.unwrap_or_default();
    // What is published is exposed, too.
    config.expose.extend(host.ports.iter().map(|port| {
        let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
        format!("{}/{protocol}", port.container_port)
    }));
    Ok(NewContainer {
        name: some(request.name),
        image: some(request.image),
        external_rootfs: some(request.external_rootfs),
        overrides: overrides(config)?,
        host: host::host_config(host, &mut joins, log)?,
        joins,
    })
}

fn overrides(config: v1::ContainerConfig) -> Result<Overrides, Status> {
    let seconds = config.stop_timeout_seconds.map(u64::from);
    Ok(Overrides {
        hostname: some(config.hostname),
        domainname: some(config.domainname),
        user: some(config.user),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env,
        cmd: config.cmd,
        entrypoint: config.entrypoint.map(|list| list.values),
        working_dir: some(config.working_dir),
        labels: config.labels.into_iter().collect(),
        annotations: config.annotations.into_iter().collect(),
        expose: config.expose,
        stop_signal: signal(&config.stop_signal)?,
        stop_timeout: seconds.map(Duration::from_secs),
        healthcheck: config.healthcheck.map(|check| Healthcheck {
            test: check.test,
            interval: Duration::from_nanos(check.interval_ns),
            timeout: Duration::from_nanos(check.timeout_ns),
            start_period: Duration::from_nanos(check.start_period_ns),
            retries: check.retries,
        }),
    })
}

/// The streams that a client wants.
pub(super) fn attach(streams: Option<v1::Streams>) -> Result<Attach, Status> {
    let streams = streams.unwrap_or_default();
    Ok(Attach {
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        size: streams.size.map(size).transpose()?,
    })
}

/// The size of a terminal.
pub(super) fn size(size: v1::TerminalSize) -> Result<TerminalSize, Status> {
    let side = |side: u32| {
        u16::try_from(side).map_err(|_| {
            invalid(format!(
                "a terminal of {} rows and {} columns is too large",
                size.rows, size.columns
            ))
        })
    };
    Ok(TerminalSize { rows: side(size.rows)?, columns: side(size.columns)? })
}

/// A further process: its container, what it is, and the streams of its client.
pub(super) fn exec(request: v1::ExecRequest) -> Result<(String, ExecConfig, Attach), Status> {
    if request.args.is_empty() {
        return Err(invalid("no command specified"));
    }
    let attach = attach(request.streams)?;
    let config = ExecConfig {
        args: request.args,
        env: request.env,
        user: some(request.user),
        working_dir: some(request.working_dir),
        tty: request.tty,
        stdin: attach.stdin,
        privileged: request.privileged,
    };
    Ok((request.id, config, attach))
}

/// How to stop.
pub(super) fn stop(request: &v1::StopRequest) -> Result<StopOptions, Status> {
    let patience = match request.timeout_seconds {
        None => None,
        Some(-1) => Some(Patience::Forever),
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) => Some(Patience::For(Duration::from_secs(seconds))),
            Err(_) => return Err(invalid(format!("invalid timeout: {seconds}"))),
        },
    };
    Ok(StopOptions { patience, signal: signal(&request.signal)? })
}

/// Which part of a log.
pub(super) fn logs(request: &v1::LogsRequest) -> Result<LogOptions, Status> {
    Ok(LogOptions {
        follow: request.follow,
        tail: request.tail,
        since: request.since_ns.map(timestamp).transpose()?,
        until: request.until_ns.map(timestamp).transpose()?,
    })
}

/// How to pull.
pub(super) fn pull(request: v1::PullRequest) -> Result<(Reference, PullOptions), Status> {
    let credentials = request.credentials.map(|credentials| isula_core::ports::Credentials {
        username: credentials.username,
        password: credentials.password,
    });
    let options = PullOptions { platform: some(request.platform), credentials };
    Ok((reference(&request.reference)?, options))
}
