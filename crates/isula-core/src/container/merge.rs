//! The user's wish over the image's configuration, by Docker's rules. An image is hostile: what it
//! says is taken over only where it is well formed, and no label of it decides anything.

use std::collections::BTreeMap;

use super::{
    Config, Healthcheck, Invalid, Overrides,
    env::{name, put},
    path,
};
use crate::{image::ImageConfig, signal::Signal};

/// What runs in a container: `overrides` over `image`. `hostname` is the host name where the user
/// gave none.
///
/// # Errors
/// Nothing says what to run, or a value is malformed.
pub fn merge(
    overrides: &Overrides,
    image: Option<&ImageConfig>,
    hostname: &str,
) -> Result<Config, Invalid> {
    let nothing = ImageConfig::default();
    let image = image.unwrap_or(&nothing);
    let (entrypoint, cmd) = command(overrides, image)?;
    let mut labels: BTreeMap<String, String> = image.labels.clone();
    labels.extend(overrides.labels.clone());
    let stop_signal = match (overrides.stop_signal, &image.stop_signal) {
        (Some(signal), _) => Some(signal),
        (None, Some(text)) => Some(signal(text)?),
        (None, None) => None,
    };
    Ok(Config {
        hostname: overrides.hostname.clone().unwrap_or_else(|| hostname.to_owned()),
        domainname: overrides.domainname.clone(),
        user: overrides.user.clone().unwrap_or_else(|| image.user.clone()),
        tty: overrides.tty,
        open_stdin: overrides.open_stdin,
        stdin_once: overrides.stdin_once,
        env: environment(&image.env, &overrides.env)?,
        cmd,
        entrypoint,
        working_dir: working_dir(overrides, image)?,
        labels,
        annotations: overrides.annotations.clone(),
        exposed_ports: ports(&image.exposed_ports, &overrides.expose)?,
        volumes: volumes(&image.volumes)?,
        stop_signal,
        stop_timeout: overrides.stop_timeout,
        healthcheck: healthcheck(overrides.healthcheck.as_ref(), image.healthcheck.as_ref()),
    })
}

/// Entrypoint and command. A new entrypoint drops the image's command with the image's entrypoint.
fn command(
    overrides: &Overrides,
    image: &ImageConfig,
) -> Result<(Vec<String>, Vec<String>), Invalid> {
    let (entrypoint, mut cmd) = match &overrides.entrypoint {
        Some(given) => (given.clone(), Vec::new()),
        None => (image.entrypoint.clone(), image.cmd.clone()),
    };
    // `--entrypoint ""` reaches us as one empty word.
    let entrypoint = if entrypoint == [""] { Vec::new() } else { entrypoint };
    if !overrides.cmd.is_empty() {
        cmd.clone_from(&overrides.cmd);
    }
    let mut args = entrypoint.iter().chain(&cmd).peekable();
    if args.peek().is_none() {
        return Err(Invalid::NoCommand);
    }
    match args.find(|arg| arg.contains('\0')) {
        Some(arg) => Err(Invalid::value("command", arg, "it has a NUL character")),
        None => Ok((entrypoint, cmd)),
    }
}

/// The image's variables, then the user's: one that exists is replaced where it stands, `NAME`
/// alone removes it. Malformed entries of the image are dropped (SECURITY: never expanded, never
/// completed from the environment of the daemon); the user's are refused.
fn environment(image: &[String], user: &[String]) -> Result<Vec<String>, Invalid> {
    let mut merged: Vec<String> = Vec::with_capacity(image.len() + user.len());
    for entry in image {
        if name(entry).is_some() && !entry.contains('\0') {
            put(&mut merged, entry);
        }
    }
    for entry in user {
        if entry.contains('\0') {
            return Err(Invalid::value("env", entry, "it has a NUL character"));
        }
        if entry.is_empty() || entry.starts_with('=') {
            return Err(Invalid::value("env", entry, "the name of the variable is empty"));
        }
        match name(entry) {
            Some(_) => put(&mut merged, entry),
            None => merged.retain(|old| name(old) != Some(entry)),
        }
    }
    Ok(merged)
}

fn working_dir(overrides: &Overrides, image: &ImageConfig) -> Result<String, Invalid> {
    match &overrides.working_dir {
        Some(given) if !given.is_empty() => path::clean("workdir", given),
        _ if image.working_dir.is_empty() => Ok(String::new()),
        // An image's `WORKDIR app` means `/app`.
        _ => path::clean("workdir", &format!("/{}", image.working_dir)),
    }
}

fn signal(text: &str) -> Result<Signal, Invalid> {
    let why = "the image's stop signal is no signal";
    text.parse().map_err(|_| Invalid::value("stop-signal", text, why))
}

/// `80`, `80/tcp`, `8000-8010/udp`; the protocol is completed to `tcp`.
fn ports(image: &[String], user: &[String]) -> Result<Vec<String>, Invalid> {
    let mut all: Vec<String> = image.iter().filter_map(|text| port(text)).collect();
    for text in user {
        let why = "it must be PORT[-PORT][/tcp|udp|sctp]";
        all.push(port(text).ok_or_else(|| Invalid::value("expose", text, why))?);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

fn port(text: &str) -> Option<String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let protocol = protocol.to_ascii_lowercase();
    let fits = number(first)? <= number(last)? && ["tcp", "udp", "sctp"].contains(&&*protocol);
    fits.then(|| format!("{range}/{protocol}"))
}

fn volumes(image: &[String]) -> Result<Vec<String>, Invalid> {
    let mut targets = Vec::with_capacity(image.len());
    for target in image {
        targets.push(path::mount_target("volume of the image", target)?);
    }
    targets.sort();
    targets.dedup();
    Ok(targets)
}

/// A user may override the test, the times, or both; what is zero comes from the image.
fn healthcheck(user: Option<&Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (Some(user), Some(image)) = (user, image) else {
        return user.or(image).filter(|check| !check.test.is_empty()).cloned();
    };
    let time = |user: std::time::Duration, image| if user.is_zero() { image } else { user };
    let test = if user.test.is_empty() { &image.test } else { &user.test };
    Some(Healthcheck {
        test: test.clone(),
        interval: time(user.interval, image.interval),
        timeout: time(user.timeout, image.timeout),
        start_period: time(user.start_period, image.start_period),
        retries: if user.retries == 0 { image.retries } else { user.retries },
    })
}

#[cfg(test)]
mod tests;
