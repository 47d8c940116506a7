//! CHECK: everything is as ADD made it.

use std::io;

use serde_json::{Map, Value};

use super::{
    super::{
        super::{
            call::Call,
            namespaces::inside,
            netlink::{Socket, route::Link},
            result::{CniResult, Ip},
        },
        cannot, host_local, mac_text, namespace, previous,
    },
    conf::Conf,
};

pub(super) fn check(conf: &Conf, call: &Call, raw: &Map<String, Value>) -> Result<(), String> {
    if let Some(ipam) = &conf.ipam {
        host_local::check(ipam, call)?;
    }
    let result = previous(call, raw)?.ok_or("the result of ADD is missing")?;
    let socket = Socket::route().map_err(cannot("talk to the kernel"))?;
    let find = |name: &str| -> Result<Link, String> {
        let found = socket.link(name).map_err(cannot(format!("look at {name}")))?;
        found.ok_or_else(|| format!("{name} is gone"))
    };
    let bridge = find(&conf.bridge)?;
    if bridge.kind.as_deref() != Some("bridge") {
        return Err(format!("{} is no bridge", conf.bridge));
    }
    let path = namespace(call)?;
    let sandbox = path.to_string_lossy();
    let ours = |found: &&_| is_ours(found, &call.interface, &sandbox);
    let wanted = result.interfaces.iter().find(ours);
    let wanted = wanted.ok_or_else(|| format!("the result has no {}", call.interface))?;
    let peer = inside(path, || look_inside(call, &result)).map_err(|error| match error.kind() {
        io::ErrorKind::Other => error.to_string(),
        _ => format!("cannot look into the namespace: {error}"),
    })?;
    let mac = peer.mac.map(mac_text).unwrap_or_default();
    if !wanted.mac.is_empty() && !wanted.mac.eq_ignore_ascii_case(&mac) {
        return Err(format!(
            "{} has the hardware address {mac}, not {}",
            call.interface, wanted.mac
        ));
    }
    let on_host = |found: &&super::super::super::result::Interface| {
        found.sandbox.is_empty() && found.name != conf.bridge
    };
    for interface in result.interfaces.iter().filter(on_host) {
        let port = find(&interface.name)?;
        if port.peer == Some(peer.index) && port.master == Some(bridge.index) {
            return Ok(());
        }
    }
    Err(format!("{} is not connected to {}", call.interface, conf.bridge))
}

fn is_ours(found: &super::super::super::result::Interface, name: &str, sandbox: &str) -> bool {
    found.name == name && found.sandbox == sandbox
}

/// The device in the namespace has its addresses and routes.
fn look_inside(call: &Call, result: &CniResult) -> io::Result<Link> {
    let missing = |what: String| io::Error::other(format!("{} has not {what}", call.interface));
    let socket = Socket::route()?;
    let link = socket.link(&call.interface)?;
    let link = link.ok_or_else(|| io::Error::other(format!("{} is gone", call.interface)))?;
    if link.kind.as_deref() != Some("veth") {
        return Err(io::Error::other(format!("{} is no end of a pair", call.interface)));
    }
    let present = socket.addresses(link.index)?;
    let is_ours = |ip: &&Ip| {
        let at = ip.interface.and_then(|at| usize::try_from(at).ok());
        let interface = at.and_then(|at| result.interfaces.get(at));
        interface.is_none_or(|interface| interface.name == call.interface)
    };
    for ip in result.ips.iter().filter(is_ours) {
        if !present.contains(&ip.address) {
            return Err(missing(format!("the address {}/{}", ip.address.0, ip.address.1)));
        }
    }
    for ipv6 in [false, true] {
        let wanted = result.routes.iter().filter(|route| route.destination.0.is_ipv6() == ipv6);
        let mut wanted = wanted.peekable();
        if wanted.peek().is_none() {
            continue;
        }
        let routes = socket.routes(ipv6)?;
        for route in wanted {
            let same = |found: &crate::network::netlink::route::Route| {
                found.destination == Some(route.destination)
                    && (route.gateway.is_none() || found.gateway == route.gateway)
            };
            if !routes.iter().any(same) {
                let (ip, prefix) = route.destination;
                return Err(missing(format!("the route {ip}/{prefix}")));
            }
        }
    }
    Ok(link)
}
