//! ADD: the bridge, the address, the pair, and what lies at both of its ends.

use std::{fs::File, io, net::IpAddr, os::fd::AsFd, time::Duration};

use rustix::io::Errno;
use serde_json::{Map, Value};

use super::{
    super::{
        super::{
            call::Call,
            namespaces::inside,
            netlink::{
                Socket,
                route::{self, Link, Mac, Pair, read_link},
            },
            result::{CniResult, Interface, Route, dns},
        },
        cannot, host_local, mac_text, masquerade, namespace,
        ranges::{first_of, networks_touch},
        set_switch,
    },
    conf::{Conf, wanted_mac},
    remove_devices,
};

/// How long the port of the bridge may take to come up.
const PATIENCE: Duration = Duration::from_millis(2500);

pub(super) fn add(conf: &Conf, call: &Call, raw: &Map<String, Value>) -> Result<CniResult, String> {
    if conf.hairpin && conf.promiscuous {
        return Err("hairpinMode and promiscMode exclude each other".to_owned());
    }
    let mac = wanted_mac(call, raw)?;
    namespace(call)?;
    let socket = Socket::route().map_err(cannot("talk to the kernel"))?;
    let bridge = ensure_bridge(&socket, conf)?;
    let mut result = match &conf.ipam {
        Some(ipam) => host_local::add(ipam, call, raw)?,
        None => CniResult::default(),
    };
    let made = attach(conf, call, (&socket, &bridge), (mac, &mut result));
    if let Err(message) = made {
        let known: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.0).collect();
        let undone = remove_devices(call).err();
        let freed = conf.ipam.as_ref().and_then(|ipam| host_local::del(ipam, call, &known).err());
        for failure in [undone, freed].into_iter().flatten() {
            tracing::warn!("{failure}");
        }
        return Err(message);
    }
    let wanted = dns(raw.get("dns"))?;
    if wanted != Default::default() {
        result.dns = wanted;
    }
    Ok(result)
}

/// Everything behind the bridge and the address; the caller undoes it.
fn attach(
    conf: &Conf,
    call: &Call,
    (socket, bridge): (&Socket, &Link),
    (mac, result): (Option<Mac>, &mut CniResult),
) -> Result<(), String> {
    let path = namespace(call)?;
    let peer_mac = mac.unwrap_or_else(random_mac);
    let host = make_pair(conf, call, (socket, bridge), peer_mac)?;
    complete(conf, result);
    configure_inside(conf, call, result)?;
    if conf.is_gateway {
        for ip in &result.ips {
            if let Some(gateway) = ip.gateway {
                let address = (gateway, ip.address.1);
                ensure_address(socket, bridge, address, conf.force_address)?;
                forward(gateway.is_ipv6())?;
            }
        }
    }
    if conf.ip_masq && conf.ipam.is_some() {
        let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
        masquerade::add(call, &addresses)?;
    }
    let port = await_port(socket, &host)?;
    // Its own address changes with its first port unless it was given one.
    let bridge = link(socket, &conf.bridge)?;
    let on_host = |link: Link| Interface {
        name: link.name,
        mac: link.mac.map(mac_text).unwrap_or_default(),
        ..Interface::default()
    };
    result.interfaces = vec![
        on_host(bridge),
        on_host(port),
        Interface {
            name: call.interface.clone(),
            mac: mac_text(peer_mac),
            sandbox: path.to_string_lossy().into_owned(),
            ..Interface::default()
        },
    ];
    Ok(())
}

fn link(socket: &Socket, name: &str) -> Result<Link, String> {
    let found = socket.link(name).map_err(cannot(format!("look at {name}")))?;
    found.ok_or_else(|| format!("there is no {name}"))
}

/// The bridge is there and up.
fn ensure_bridge(socket: &Socket, conf: &Conf) -> Result<Link, String> {
    let name = &conf.bridge;
    let found = socket.link(name).map_err(cannot(format!("look at {name}")))?;
    let is_new = found.is_none();
    if is_new {
        match socket.make_bridge(name, conf.mtu) {
            // Another one was faster.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {}
            other => other.map_err(cannot(format!("make the bridge {name}")))?,
        }
    }
    let bridge = match found {
        Some(bridge) => bridge,
        None => link(socket, name)?,
    };
    if bridge.kind.as_deref() != Some("bridge") {
        return Err(format!("{name} exists and is no bridge"));
    }
    if conf.promiscuous && !bridge.promiscuous {
        let on = socket.set_promiscuous(bridge.index);
        on.map_err(cannot(format!("make {name} promiscuous")))?;
    }
    if is_new {
        // The routes of this device are ours. A kernel without IPv6 has no such switch.
        let _ = set_switch(&format!("ipv6/conf/{name}/accept_ra"), "0");
    }
    if !bridge.up {
        socket.set_up(bridge.index).map_err(cannot(format!("bring {name} up")))?;
    }
    Ok(bridge)
}

/// Makes the pair in one message; gives back the name of the end on the host. Names are random:
/// that of a device whose namespace dies may be in use for a while.
fn make_pair(
    conf: &Conf,
    call: &Call,
    (socket, bridge): (&Socket, &Link),
    peer_mac: Mac,
) -> Result<String, String> {
    const ATTEMPTS: usize = 8;
    let path = namespace(call)?;
    let file = File::open(path).map_err(cannot(format!("open {}", path.display())))?;
    let mut attempt = 0;
    let name = loop {
        attempt += 1;
        let bytes = random();
        let name =
            format!("veth{:08x}", u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let made = socket.make_pair(&Pair {
            name: &name,
            mac: random_mac(),
            peer: &call.interface,
            peer_mac,
            namespace: file.as_fd(),
            mtu: conf.mtu,
            master: bridge.index,
        });
        let Err(error) = made else { break name };
        let exists = Errno::from_io_error(&error) == Some(Errno::EXIST);
        let inside = exists.then(|| has_link(call)).transpose()?;
        match inside {
            // The device of a former attachment may be on its way out.
            Some(true) if attempt == 1 => call.reaper.settle(),
            Some(true) => return Err(format!("{} exists in the namespace", call.interface)),
            Some(false) if attempt < ATTEMPTS => {}
            _ => return Err(format!("cannot make {}: {error}", call.interface)),
        }
    };
    if conf.hairpin || conf.isolated {
        let port = link(socket, &name)?;
        let set = socket.set_port(port.index, conf.hairpin, conf.isolated);
        set.map_err(cannot(format!("configure the port {name}")))?;
    }
    Ok(name)
}

fn has_link(call: &Call) -> Result<bool, String> {
    let found = inside(namespace(call)?, || Socket::route()?.link(&call.interface));
    found.map(|found| found.is_some()).map_err(cannot("look into the namespace"))
}

/// Gateways and default routes that follow from the configuration.
fn complete(conf: &Conf, result: &mut CniResult) {
    let CniResult { ips, routes, .. } = result;
    for ip in ips {
        ip.interface = Some(2);
        let ipv6 = ip.address.0.is_ipv6();
        if ip.gateway.is_none() && conf.is_gateway {
            ip.gateway = Some(first_of(ip.address));
        }
        let any = if ipv6 { IpAddr::from([0u16; 8]) } else { IpAddr::from([0u8; 4]) };
        let is_default = |route: &Route| route.gateway.is_some() && route.destination == (any, 0);
        if conf.is_default_gateway && !routes.iter().any(is_default) {
            routes.push(Route::to((any, 0), ip.gateway));
        }
    }
}

/// The end in the namespace: addresses, up, routes.
fn configure_inside(conf: &Conf, call: &Call, result: &CniResult) -> Result<(), String> {
    let name = &call.interface;
    // The cause is told by a text, for the errors of many steps.
    let configured = inside(namespace(call)?, || {
        let step = |action: String| {
            move |error: io::Error| io::Error::other(format!("cannot {action}: {error}"))
        };
        let socket = Socket::route()?;
        let link = socket.link(name)?.ok_or(io::ErrorKind::NotFound)?;
        // Addresses of ours are nobody else's; neighbours are told of them. A kernel without
        // IPv6 has no such switches.
        let _ = set_switch(&format!("ipv6/conf/{name}/accept_dad"), "0");
        let _ = set_switch(&format!("ipv4/conf/{name}/arp_notify"), "1");
        if conf.is_gateway {
            // Whoever else says to be a router is none (CVE-2020-13401).
            let _ = set_switch(&format!("ipv6/conf/{name}/accept_ra"), "0");
        }
        if result.ips.iter().any(|ip| ip.address.0.is_ipv6()) {
            for device in ["lo", name] {
                let switch = format!("ipv6/conf/{device}/disable_ipv6");
                set_switch(&switch, "0").map_err(step(format!("set {switch}")))?;
            }
            let switch = format!("ipv6/conf/{name}/keep_addr_on_down");
            set_switch(&switch, "1").map_err(step(format!("set {switch}")))?;
        }
        for ip in &result.ips {
            let (address, prefix) = ip.address;
            let added = socket.add_address(link.index, ip.address);
            added.map_err(step(format!("add the address {address}/{prefix} to {name}")))?;
        }
        socket.set_up(link.index).map_err(step(format!("bring {name} up")))?;
        for route in &result.routes {
            let (destination, prefix) = route.destination;
            let added = socket.add_route(&as_kernel(route, result, link.index));
            added.map_err(step(format!("add the route {destination}/{prefix} to {name}")))?;
        }
        Ok(())
    });
    configured.map_err(|error| match error.kind() {
        io::ErrorKind::Other => error.to_string(),
        _ => format!("cannot configure {name}: {error}"),
    })
}

/// A route without a gateway goes by the first one of its family.
fn as_kernel(route: &Route, result: &CniResult, link: u32) -> route::Route {
    let ipv6 = route.destination.0.is_ipv6();
    let first = || result.ips.iter().filter_map(|ip| ip.gateway).find(|ip| ip.is_ipv6() == ipv6);
    route::Route {
        destination: Some(route.destination),
        gateway: route.gateway.or_else(first),
        link,
        priority: route.priority,
        table: route.table,
        scope: route.scope.and_then(|scope| u8::try_from(scope).ok()),
        mtu: route.mtu,
        advmss: route.advmss,
    }
}

/// The bridge has the address of the gateway, and a hardware address that stays.
fn ensure_address(
    socket: &Socket,
    bridge: &Link,
    address: (IpAddr, u8),
    force: bool,
) -> Result<(), String> {
    let name = &bridge.name;
    let shown = format!("{}/{}", address.0, address.1);
    let present = socket.addresses(bridge.index).map_err(cannot(format!("look at {name}")))?;
    if present.contains(&address) {
        return Ok(());
    }
    for other in present.into_iter().filter(|(ip, _)| ip.is_ipv6() == address.0.is_ipv6()) {
        // IPv6 knows many addresses, as long as their networks are apart.
        if address.0.is_ipv6() && !networks_touch(other, address) {
            continue;
        }
        if !force {
            return Err(format!("{name} has the address {}/{}, not {shown}", other.0, other.1));
        }
        let removed = socket.remove_address(bridge.index, other);
        removed.map_err(cannot(format!("take {}/{} from {name}", other.0, other.1)))?;
    }
    match socket.add_address(bridge.index, address) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {}
        other => other.map_err(cannot(format!("add the address {shown} to {name}")))?,
    }
    match bridge.mac {
        Some(mac) => socket.set_mac(bridge.index, mac).map_err(cannot(format!("set up {name}"))),
        None => Ok(()),
    }
}

fn forward(ipv6: bool) -> Result<(), String> {
    let switch = if ipv6 { "ipv6/conf/all/forwarding" } else { "ipv4/ip_forward" };
    set_switch(switch, "1").map_err(cannot(format!("set {switch}")))
}

/// Waits until frames pass the port. The kernel tells of it; mostly it has before we ask.
fn await_port(socket: &Socket, name: &str) -> Result<Link, String> {
    let look = || link(socket, name);
    let port = look()?;
    if port.operational {
        return Ok(port);
    }
    let watch = || {
        let changes = Socket::link_changes()?;
        changes.set_patience(PATIENCE)?;
        Ok(changes)
    };
    let changes = watch().map_err(cannot::<io::Error>("watch the links"))?;
    let port = look()?;
    if port.operational {
        return Ok(port);
    }
    let is_up =
        |body: &[u8]| read_link(body).is_some_and(|l| l.index == port.index && l.operational);
    match changes.await_change(is_up) {
        Ok(()) => look(),
        // So many changes that some were lost, or none in time: it is looked at once more.
        Err(_) => match look()? {
            port if port.operational => Ok(port),
            _ => Err(format!("the port {name} does not come up")),
        },
    }
}

fn random() -> [u8; 8] {
    let mut bytes = [0; 8];
    // getrandom(2): so few bytes come whole, but for a signal before the generator is ready.
    while rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) != Ok(8) {}
    bytes
}

/// A hardware address of no maker, for one device.
fn random_mac() -> Mac {
    let [first, b, c, d, e, f, ..] = random();
    [(first & 0xfe) | 2, b, c, d, e, f]
}
