//! Links, addresses and routes.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::{
    message::{CREATE, EXCLUSIVE, Message, attributes, find, text, u16_at, u32_at},
    socket::{Socket, acknowledged},
};

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;

const INET: u8 = 2;
const BRIDGE: u8 = 7;
const INET6: u8 = 10;

const IFF_UP: u32 = 1;
const IFF_PROMISC: u32 = 0x100;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_GROUP: u16 = 27;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
/// Length of `struct ifinfomsg`.
const LINK: usize = 16;
/// `IF_OPER_UP` and `IF_OPER_UNKNOWN`.
const OPERATIONAL: [u8; 2] = [6, 0];

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
const TABLE_MAIN: u32 = 254;
const PROTOCOL_BOOT: u8 = 3;
const UNICAST: u8 = 1;

/// A hardware address of Ethernet.
pub(crate) type Mac = [u8; 6];

/// A link as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub name: String,
    pub mac: Option<Mac>,
    pub mtu: u32,
    /// Administratively.
    pub up: bool,
    /// A cable, so to speak, is in.
    pub operational: bool,
    pub promiscuous: bool,
    /// `bridge`, `veth`, …; hardware has none.
    pub kind: Option<String>,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
    /// The other end of a pair.
    pub peer: Option<u32>,
}

/// A pair of devices, one end here and a port of a bridge, the other in another namespace.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub name: &'a str,
    pub mac: Mac,
    pub peer: &'a str,
    pub peer_mac: Mac,
    pub namespace: BorrowedFd<'a>,
    pub mtu: Option<u32>,
    pub master: u32,
}

/// A route to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub destination: Option<(IpAddr, u8)>,
    pub gateway: Option<IpAddr>,
    pub link: u32,
    pub priority: Option<u32>,
    pub table: Option<u32>,
    pub scope: Option<u8>,
    pub mtu: Option<u32>,
    pub advmss: Option<u32>,
}

impl Socket {
    /// The link of a name.
    pub(crate) fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let mut message = Message::new(GETLINK, 0, &link_header(0, 0, 0, 0));
        message.put_text(IFLA_IFNAME, name);
        self.get(message, read_link)
    }

    /// The link of an index.
    pub(crate) fn link_at(&self, index: u32) -> io::Result<Option<Link>> {
        self.get(Message::new(GETLINK, 0, &link_header(0, index, 0, 0)), read_link)
    }

    /// Takes a port out of its bridge: nothing passes it any longer.
    pub(crate) fn unplug(&self, index: u32) -> io::Result<()> {
        let mut message = acknowledged(NEWLINK, 0, &link_header(0, index, 0, 0));
        message.put_u32(IFLA_MASTER, 0);
        self.change(message)
    }

    /// Puts a link into a group.
    pub(crate) fn set_group(&self, index: u32, group: u32) -> io::Result<()> {
        let mut message = acknowledged(NEWLINK, 0, &link_header(0, index, 0, 0));
        message.put_u32(IFLA_GROUP, group);
        self.change(message)
    }

    /// Removes all links of a group, and their peers, in one go.
    pub(crate) fn remove_group(&self, group: u32) -> io::Result<()> {
        let mut message = acknowledged(DELLINK, 0, &link_header(0, 0, 0, 0));
        message.put_u32(IFLA_GROUP, group);
        self.change(message)
    }

    /// Makes a bridge.
    pub(crate) fn make_bridge(&self, name: &str, mtu: Option<u32>) -> io::Result<()> {
        let header = link_header(0, 0, 0, 0);
        let mut message = acknowledged(NEWLINK, CREATE | EXCLUSIVE, &header);
        message.put_text(IFLA_IFNAME, name);
        if let Some(mtu) = mtu {
            message.put_u32(IFLA_MTU, mtu);
        }
        message.nest(IFLA_LINKINFO, |info| {
            info.put_text(IFLA_INFO_KIND, "bridge");
        });
        self.change(message)
    }

    /// Makes a pair: this end is up and a port of its bridge; the peer is down.
    pub(crate) fn make_pair(&self, pair: &Pair<'_>) -> io::Result<()> {
        let header = link_header(0, 0, IFF_UP, IFF_UP);
        let mut message = acknowledged(NEWLINK, CREATE | EXCLUSIVE, &header);
        let mtu = |message: &mut Message| {
            if let Some(mtu) = pair.mtu {
                message.put_u32(IFLA_MTU, mtu);
            }
        };
        message.put_text(IFLA_IFNAME, pair.name).put(IFLA_ADDRESS, &pair.mac);
        message.put_u32(IFLA_MASTER, pair.master);
        mtu(&mut message);
        let namespace = u32::try_from(pair.namespace.as_raw_fd()).unwrap_or(u32::MAX);
        message.nest(IFLA_LINKINFO, |info| {
            info.put_text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                data.nest_plain(VETH_INFO_PEER, &link_header(0, 0, 0, 0), |peer| {
                    peer.put_text(IFLA_IFNAME, pair.peer).put(IFLA_ADDRESS, &pair.peer_mac);
                    peer.put_u32(IFLA_NET_NS_FD, namespace);
                    mtu(peer);
                });
            });
        });
        self.change(message)
    }

    /// Removes a link, and with it its peer.
    pub(crate) fn remove_link(&self, index: u32) -> io::Result<()> {
        self.change(acknowledged(DELLINK, 0, &link_header(0, index, 0, 0)))
    }

    pub(crate) fn set_up(&self, index: u32) -> io::Result<()> {
        self.change(acknowledged(NEWLINK, 0, &link_header(0, index, IFF_UP, IFF_UP)))
    }

    pub(crate) fn set_down(&self, index: u32) -> io::Result<()> {
        self.change(acknowledged(NEWLINK, 0, &link_header(0, index, 0, IFF_UP)))
    }

    pub(crate) fn set_promiscuous(&self, index: u32) -> io::Result<()> {
        self.change(acknowledged(NEWLINK, 0, &link_header(0, index, IFF_PROMISC, IFF_PROMISC)))
    }

    pub(crate) fn set_mac(&self, index: u32, mac: Mac) -> io::Result<()> {
        let mut message = acknowledged(NEWLINK, 0, &link_header(0, index, 0, 0));
        message.put(IFLA_ADDRESS, &mac);
        self.change(message)
    }

    /// What a port of a bridge may do: send back where a frame came from, and reach other isolated
    /// ports.
    pub(crate) fn set_port(&self, index: u32, hairpin: bool, isolated: bool) -> io::Result<()> {
        let mut message = acknowledged(SETLINK, 0, &link_header(BRIDGE, index, 0, 0));
        message.nest(IFLA_PROTINFO, |port| {
            port.put(IFLA_BRPORT_MODE, &[u8::from(hairpin)]);
            port.put(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)]);
        });
        self.change(message)
    }

    /// The addresses of a link.
    pub(crate) fn addresses(&self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        let all = self.list(
            (GETADDR, &[0; 8]),
            |_| {},
            |body| {
                let ip = find(body, 8, IFA_LOCAL).or_else(|| find(body, 8, IFA_ADDRESS))?;
                Some((u32_at(body, 4)?, address(ip)?, *body.get(1)?))
            },
        )?;
        let of_link = |(link, ip, prefix)| (link == index).then_some((ip, prefix));
        Ok(all.into_iter().filter_map(of_link).collect())
    }

    pub(crate) fn add_address(&self, index: u32, (ip, prefix): (IpAddr, u8)) -> io::Result<()> {
        let mut header = address_header(ip, prefix, index);
        if ip.is_ipv6() {
            // It was reserved for this link: nobody is asked first, which would take a second.
            header[2] = IFA_F_NODAD;
        }
        let mut message = acknowledged(NEWADDR, CREATE | EXCLUSIVE, &header);
        message.put(IFA_LOCAL, &octets(ip)).put(IFA_ADDRESS, &octets(ip));
        if let (IpAddr::V4(ip), 0..=30) = (ip, prefix) {
            let broadcast = u32::from(ip) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            message.put_be32(IFA_BROADCAST, broadcast);
        }
        self.change(message)
    }

    pub(crate) fn remove_address(&self, index: u32, (ip, prefix): (IpAddr, u8)) -> io::Result<()> {
        let mut message = acknowledged(DELADDR, 0, &address_header(ip, prefix, index));
        message.put(IFA_LOCAL, &octets(ip));
        self.change(message)
    }

    pub(crate) fn add_route(&self, route: &Route) -> io::Result<()> {
        let of = route.destination.map(|(ip, _)| ip).or(route.gateway);
        let family = if of.is_some_and(|ip| ip.is_ipv6()) { INET6 } else { INET };
        let length = route.destination.map_or(0, |(_, prefix)| prefix);
        let table = route.table.unwrap_or(TABLE_MAIN);
        let scope = route.scope.unwrap_or(0);
        let short = u8::try_from(table).unwrap_or(0);
        let mut header = vec![family, length, 0, 0, short, PROTOCOL_BOOT, scope, UNICAST];
        header.extend([0; 4]);
        let mut message = acknowledged(NEWROUTE, CREATE, &header);
        if let Some((ip, _)) = route.destination.filter(|(_, prefix)| *prefix > 0) {
            message.put(RTA_DST, &octets(ip));
        }
        if let Some(gateway) = route.gateway {
            message.put(RTA_GATEWAY, &octets(gateway));
        }
        message.put_u32(RTA_OIF, route.link).put_u32(RTA_TABLE, table);
        if let Some(priority) = route.priority {
            message.put_u32(RTA_PRIORITY, priority);
        }
        if route.mtu.is_some() || route.advmss.is_some() {
            message.nest(RTA_METRICS, |metrics| {
                for (kind, value) in [(RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss)] {
                    if let Some(value) = value {
                        metrics.put_u32(kind, value);
                    }
                }
            });
        }
        self.change(message)
    }

    /// Destination, gateway and link of every route of a family.
    pub(crate) fn routes(&self, ipv6: bool) -> io::Result<Vec<Route>> {
        let mut header = [0; 12];
        header[0] = if ipv6 { INET6 } else { INET };
        self.list(
            (GETROUTE, &header),
            |_| {},
            |body| {
                let any = IpAddr::from([0; 4]);
                let any6 = IpAddr::from([0u16; 8]);
                let zero = if ipv6 { any6 } else { any };
                let destination = find(body, 12, RTA_DST).and_then(address).unwrap_or(zero);
                Some(Route {
                    destination: Some((destination, *body.get(1)?)),
                    gateway: find(body, 12, RTA_GATEWAY).and_then(address),
                    link: find(body, 12, RTA_OIF).and_then(|value| u32_at(value, 0)).unwrap_or(0),
                    table: find(body, 12, RTA_TABLE).and_then(|value| u32_at(value, 0)),
                    ..Route::default()
                })
            },
        )
    }
}

/// The link that a message is about.
pub(crate) fn read_link(body: &[u8]) -> Option<Link> {
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: flags & IFF_UP != 0,
        operational: false,
        promiscuous: false,
        kind: None,
        master: None,
        peer: None,
    };
    // ARPHRD_NETROM stands first; a message of another kind has no name.
    u16_at(body, 2)?;
    for (kind, value) in attributes(body, LINK) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINK => link.peer = u32_at(value, 0),
            IFLA_PROMISCUITY => link.promiscuous = u32_at(value, 0) != Some(0),
            IFLA_OPERSTATE => {
                link.operational = value.first().is_some_and(|state| OPERATIONAL.contains(state));
            }
            IFLA_LINKINFO => link.kind = find(value, 0, IFLA_INFO_KIND).map(text),
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

/// `struct ifinfomsg`.
fn link_header(family: u8, index: u32, flags: u32, change: u32) -> [u8; LINK] {
    let mut header = [0; LINK];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// `struct ifaddrmsg`.
fn address_header(ip: IpAddr, prefix: u8, index: u32) -> [u8; 8] {
    let [a, b, c, d] = index.to_ne_bytes();
    [if ip.is_ipv6() { INET6 } else { INET }, prefix, 0, 0, a, b, c, d]
}

pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
