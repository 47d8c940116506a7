//! `bridge`: a pair of devices, one end in the namespace, the other a port of a bridge on the host.

mod add;
mod check;
mod conf;

use std::{io, net::IpAddr};

use serde_json::{Map, Value};

use super::{
    super::{
        call::{Call, Command},
        namespaces::inside,
        netlink::Socket,
        result::CniResult,
    },
    cannot, host_local, masquerade, previous,
};

pub(super) use conf::Conf;

pub(super) fn run(call: &Call, raw: &Map<String, Value>) -> Result<Option<CniResult>, String> {
    let conf = Conf::parse(raw)?;
    match call.command {
        Command::Add => add::add(&conf, call, raw).map(Some),
        Command::Del => del(&conf, call, raw).map(|()| None),
        Command::Check => check::check(&conf, call, raw).map(|()| None),
        Command::Collect => collect(&conf, call, raw).map(|()| None),
        Command::Status | Command::Version => Ok(None),
    }
}

/// Removes the devices, the addresses and the rules, each of them even when another can't be.
fn del(conf: &Conf, call: &Call, raw: &Map<String, Value>) -> Result<(), String> {
    let mut failures = Vec::new();
    failures.extend(remove_devices(call).err());
    if let Some(ipam) = &conf.ipam {
        let known: Vec<IpAddr> = match previous(call, raw) {
            Ok(Some(result)) => {
                let all = result.attachment(&call.network, &call.interface).addresses;
                all.into_iter().map(|address| address.ip).collect()
            }
            Ok(None) | Err(_) => Vec::new(),
        };
        failures.extend(host_local::del(ipam, call, &known).err());
        if conf.ip_masq {
            failures.extend(masquerade::remove(call).err());
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// The end in the namespace goes, and the other one with it.
fn remove_devices(call: &Call) -> Result<(), String> {
    let Some(path) = call.namespace.as_deref() else { return Ok(()) };
    let removed = inside(path, || {
        let socket = Socket::route()?;
        match socket.link(&call.interface)? {
            Some(link) => socket.remove_link(link.index),
            None => Ok(()),
        }
    });
    match removed {
        Err(error) if is_gone(&error) => Ok(()),
        other => other.map_err(cannot(format!("remove {}", call.interface))),
    }
}

/// The namespace or the device went by itself in the meantime.
fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV))
}

/// Frees addresses and rules that belong to no attachment.
fn collect(conf: &Conf, call: &Call, raw: &Map<String, Value>) -> Result<(), String> {
    let listed = raw.get("cni.dev/valid-attachments").and_then(Value::as_array);
    let listed = listed.ok_or("the valid attachments are missing")?;
    let pair = |item: &Value| {
        let text = |key| item.get(key).and_then(Value::as_str).map(str::to_owned);
        Some((text("containerID")?, text("ifname")?))
    };
    let valid: Vec<(String, String)> = listed.iter().filter_map(pair).collect();
    let mut failures = Vec::new();
    if let Some(ipam) = &conf.ipam {
        failures.extend(host_local::collect(ipam, &call.network, &valid).err());
        if conf.ip_masq {
            failures.extend(masquerade::collect(&call.network, &valid).err());
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}
