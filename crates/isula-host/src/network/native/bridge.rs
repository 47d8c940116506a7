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
        reaper::{Doomed, is_gone},
        result::CniResult,
    },
    cannot, host_local, mac_text, masquerade, previous,
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
    let result = previous(call, raw);
    let unplugged = match &result {
        Ok(Some(result)) => unplug(call, result).unwrap_or(false),
        Ok(None) | Err(_) => false,
    };
    if !unplugged {
        failures.extend(remove_devices(call).err());
    }
    if let Some(ipam) = &conf.ipam {
        let known: Vec<IpAddr> = match &result {
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

/// Cuts the end on the host off, and leaves both ends to be removed soon. Whether it was found: its
/// name is in the result of ADD, and no other device ever has it.
fn unplug(call: &Call, result: &CniResult) -> io::Result<bool> {
    let pairs = result.interfaces.iter().filter(|found| {
        found.sandbox.is_empty() && found.name.starts_with("veth") && !found.mac.is_empty()
    });
    let socket = Socket::route()?;
    let mut found = false;
    for pair in pairs {
        let Some(link) = socket.link(&pair.name)? else { continue };
        let same = link.mac.map(mac_text).as_deref() == Some(pair.mac.as_str());
        if same && link.kind.as_deref() == Some("veth") {
            if link.master.is_some() {
                socket.unplug(link.index)?;
            }
            call.reaper.take(Doomed { index: link.index, mac: link.mac })?;
            found = true;
        }
    }
    Ok(found)
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
