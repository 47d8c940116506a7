//! `loopback`: the loopback device is up.

use std::io;

use serde_json::{Map, Value};

use super::{
    super::{
        call::{Call, Command},
        namespaces::inside,
        netlink::Socket,
        result::{CniResult, Interface, Ip},
    },
    cannot, namespace, previous,
};

const NAME: &str = "lo";

pub(super) fn run(call: &Call, conf: &Map<String, Value>) -> Result<Option<CniResult>, String> {
    match call.command {
        Command::Add => add(call, conf).map(Some),
        Command::Del => del(call).map(|()| None),
        Command::Check => check(call).map(|()| None),
        Command::Status | Command::Collect | Command::Version => Ok(None),
    }
}

fn add(call: &Call, conf: &Map<String, Value>) -> Result<CniResult, String> {
    let path = namespace(call)?;
    let addresses = inside(path, || {
        let socket = Socket::route()?;
        let link = socket.link(NAME)?.ok_or(io::ErrorKind::NotFound)?;
        socket.set_up(link.index)?;
        socket.addresses(link.index)
    })
    .map_err(cannot("bring the loopback device up"))?;
    if let Some((ip, _)) = addresses.iter().find(|(ip, _)| !ip.is_loopback()) {
        return Err(format!("the loopback device has the address {ip}"));
    }
    if let Some(result) = previous(call, conf)? {
        return Ok(result);
    }
    let first = |ipv6: bool| addresses.iter().find(move |(ip, _)| ip.is_ipv6() == ipv6).copied();
    let ip = |address| Ip { interface: Some(0), address, gateway: None };
    Ok(CniResult {
        interfaces: vec![Interface {
            name: NAME.to_owned(),
            mac: "00:00:00:00:00:00".to_owned(),
            sandbox: path.to_string_lossy().into_owned(),
            ..Interface::default()
        }],
        ips: [first(false), first(true)].into_iter().flatten().map(ip).collect(),
        ..CniResult::default()
    })
}

fn del(call: &Call) -> Result<(), String> {
    let Some(path) = call.namespace.as_deref() else { return Ok(()) };
    let down = || {
        let socket = Socket::route()?;
        let link = socket.link(NAME)?.ok_or(io::ErrorKind::NotFound)?;
        socket.set_down(link.index)
    };
    match inside(path, down) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(cannot("bring the loopback device down")),
    }
}

fn check(call: &Call) -> Result<(), String> {
    let link = inside(namespace(call)?, || Socket::route()?.link(NAME));
    match link.map_err(cannot("look at the loopback device"))? {
        Some(link) if link.up => Ok(()),
        _ => Err("the loopback device is down".to_owned()),
    }
}
