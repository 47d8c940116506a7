//! `portmap`: ports of the host lead into the namespace, by rules of nf_tables that bear its id.

use std::net::IpAddr;

use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{
        call::{Call, Command},
        netlink::{
            Socket, conntrack,
            nft::{Family, Hook, Table, Transaction},
            rule::{Rule, Side, Verdict},
        },
        result::CniResult,
    },
    cannot, previous, set_switch,
};

const NAME: &str = "cni_hostport";
/// Of the tables of both families.
const TABLES: [Table; 2] =
    [Table { family: Family::V4, name: NAME }, Table { family: Family::V6, name: NAME }];
/// Where all hooks lead.
const ALL: &str = "hostports_all";
const PORTS: &str = "hostports";
/// Former versions of the reference plugin had rules in there.
const FORMER: &str = "hostip_hostports";
const MASQUERADE: &str = "masquerading";
/// Ours: what keeps the host's loopback addresses the host's own.
const GUARD: &str = "loopback_guard";

/// The configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Conf {
    backend: Option<String>,
    snat: Option<bool>,
    #[serde(rename = "conditionsV4")]
    conditions_v4: Option<Vec<String>>,
    #[serde(rename = "conditionsV6")]
    conditions_v6: Option<Vec<String>>,
    masq_all: bool,
    external_set_mark_chain: Option<String>,
    runtime_config: Runtime,
    // Of iptables alone.
    #[serde(rename = "markMasqBit")]
    _mark_masq_bit: Option<Value>,
    // Of every plugin.
    #[serde(rename = "name")]
    _name: Value,
    #[serde(rename = "type")]
    _kind: Value,
    #[serde(rename = "cniVersion")]
    _version: Value,
    #[serde(rename = "capabilities")]
    _capabilities: Value,
    #[serde(rename = "prevResult")]
    _previous: Value,
    #[serde(rename = "args")]
    _args: Value,
    #[serde(rename = "cni.dev/valid-attachments")]
    _valid: Value,
    #[serde(rename = "cni.dev/attachments")]
    _attachments: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Runtime {
    port_mappings: Option<Vec<Mapping>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_port: u16,
    container_port: u16,
    #[serde(default)]
    protocol: String,
    #[serde(default, rename = "hostIP")]
    host_ip: String,
}

impl Conf {
    /// Reads a configuration; the error is what this plugin can't do.
    pub(super) fn parse(conf: &Map<String, Value>) -> Result<Self, String> {
        let value = Value::Object(conf.clone());
        let conf: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let is_set =
            |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let unsupported = [
            ("backend", conf.backend.as_deref().is_some_and(|name| name != "nftables")),
            ("conditionsV4", is_set(&conf.conditions_v4)),
            ("conditionsV6", is_set(&conf.conditions_v6)),
            ("masqAll", conf.masq_all),
            ("externalSetMarkChain", conf.external_set_mark_chain.is_some()),
        ];
        match unsupported.iter().find(|(_, set)| *set) {
            Some((name, _)) => Err(format!("{name} is not supported")),
            None => Ok(conf),
        }
    }

    fn mappings(&self) -> &[Mapping] {
        self.runtime_config.port_mappings.as_deref().unwrap_or_default()
    }

    fn masquerades(&self) -> bool {
        self.snat.unwrap_or(true)
    }
}

impl Mapping {
    /// The address of the host that it is limited to; `Err` when it is of the other family.
    fn host_ip(&self, ipv6: bool) -> Result<Option<IpAddr>, ()> {
        if self.host_ip.is_empty() {
            return Ok(None);
        }
        let ip: IpAddr = self.host_ip.parse().map_err(|_| ())?;
        let ip = ip.to_canonical();
        match ip.is_ipv6() == ipv6 {
            true => Ok(Some(ip).filter(|ip| !ip.is_unspecified())),
            false => Err(()),
        }
    }

    fn transport(&self) -> Result<u8, String> {
        match self.protocol.to_ascii_lowercase().as_str() {
            "tcp" | "" => Ok(6),
            "udp" => Ok(17),
            "sctp" => Ok(132),
            other => Err(format!("unknown protocol {other:?}")),
        }
    }
}

pub(super) fn run(call: &Call, conf: &Map<String, Value>) -> Result<Option<CniResult>, String> {
    match call.command {
        Command::Add => add(call, conf).map(Some),
        Command::Del => {
            if !Conf::parse(conf)?.mappings().is_empty() {
                remove(&call.id)?;
            }
            Ok(None)
        }
        Command::Check => check(call, conf).map(|()| None),
        // Rules do not say whose network they are of.
        Command::Status | Command::Collect | Command::Version => Ok(None),
    }
}

fn add(call: &Call, raw: &Map<String, Value>) -> Result<CniResult, String> {
    let conf = Conf::parse(raw)?;
    let result = previous(call, raw)?.ok_or("it must be called behind another plugin")?;
    for mapping in conf.mappings() {
        if mapping.host_port == 0 || mapping.container_port == 0 {
            return Err("port 0 can't be mapped".to_owned());
        }
        mapping.transport()?;
        if !mapping.host_ip.is_empty() && mapping.host_ip.parse::<IpAddr>().is_err() {
            return Err(format!("{:?} is no address of the host", mapping.host_ip));
        }
    }
    if conf.mappings().is_empty() {
        return Ok(result);
    }
    for ip in targets(&result, &call.interface).into_iter().flatten() {
        let wanted = |first| forward(&conf, (&call.id, ip), first).map(Transaction::commit);
        let added = wanted(false)?.or_else(|error| match Errno::from_io_error(&error) {
            // Nothing is there yet, or somebody flushed everything.
            Some(Errno::NOENT) => wanted(true).and_then(|done| done.map_err(|e| e.to_string())),
            _ => Err(error.to_string()),
        });
        added.map_err(cannot("map ports"))?;
        let udp: Vec<u16> = conf
            .mappings()
            .iter()
            .filter(|m| m.transport() == Ok(17))
            .map(|m| m.host_port)
            .collect();
        if let Err(error) = conntrack::forget_udp(&udp, ip.is_ipv6()) {
            tracing::warn!("cannot end former flows to mapped ports: {error}");
        }
        if conf.masquerades() && ip.is_ipv4() {
            route_localhost(&result)?;
        }
    }
    Ok(result)
}

/// The first address of each family that the interface in the namespace has.
fn targets(result: &CniResult, interface: &str) -> [Option<IpAddr>; 2] {
    let is_ours = |at: i64| {
        let found = usize::try_from(at).ok().and_then(|at| result.interfaces.get(at));
        found.is_none_or(|found| found.name == interface && !found.sandbox.is_empty())
    };
    let ours = |ipv6: bool| {
        let mut all = result.ips.iter().filter(|ip| ip.interface.is_none_or(is_ours));
        all.find(|ip| ip.address.0.is_ipv6() == ipv6).map(|ip| ip.address.0)
    };
    [ours(false), ours(true)]
}

fn table(ip: IpAddr) -> Table {
    Table { family: if ip.is_ipv6() { Family::V6 } else { Family::V4 }, name: NAME }
}

/// The rules of a namespace; the first one brings the structure along.
fn forward(conf: &Conf, (id, ip): (&str, IpAddr), first: bool) -> Result<Transaction, String> {
    let mut change = table(ip).change();
    if first {
        change = structure(change);
    }
    for mapping in conf.mappings() {
        let Ok(host) = mapping.host_ip(ip.is_ipv6()) else { continue };
        let rule = match host {
            Some(host) => Rule::default().address_is(Side::Destination, host),
            None => Rule::default(),
        };
        let rule = rule
            .destination_port(mapping.transport()?, mapping.host_port)
            .redirect(ip, mapping.container_port);
        change = change.rule(PORTS, rule, id);
    }
    if conf.masquerades() {
        // From the namespace to itself, and from the host's own loopback.
        let mut sources = vec![ip];
        if ip.is_ipv4() {
            sources.push(IpAddr::from([127, 0, 0, 1]));
            change = guard(change);
        }
        for source in sources {
            let rule = Rule::default()
                .address_is(Side::Source, source)
                .address_is(Side::Destination, ip)
                .masquerade();
            change = change.rule(MASQUERADE, rule, id);
        }
    }
    Ok(change)
}

/// The bridge routes loopback addresses from now on ([`route_localhost`]): nobody behind it may send
/// to the host's (CVE-2020-8558).
fn guard(change: Transaction) -> Transaction {
    let loopback = (IpAddr::from([127, 0, 0, 0]), 8);
    let rule = Rule::default()
        .not_by_loopback()
        .in_network(Side::Destination, loopback, true)
        .verdict(Verdict::Drop);
    change.filter(GUARD).flush(GUARD).rule(GUARD, rule, "")
}

fn structure(change: Transaction) -> Transaction {
    let jump = |chain| Rule::default().verdict(Verdict::Jump(chain));
    let change = change.table().chain(PORTS).chain(FORMER).chain(ALL).flush(ALL);
    let change = change.rule(ALL, jump(FORMER), "").rule(ALL, jump(PORTS), "");
    let hooks = [("prerouting", Hook::Prerouting), ("output", Hook::Output)];
    let change = hooks.into_iter().fold(change, |change, (name, hook)| {
        let rule = Rule::default().destination_is_local().verdict(Verdict::Jump(ALL));
        change.hook(name, hook).flush(name).rule(name, rule, "")
    });
    change.hook(MASQUERADE, Hook::Postrouting)
}

/// Lets packets from 127.0.0.1 leave by the device that leads to the namespace.
fn route_localhost(result: &CniResult) -> Result<(), String> {
    let socket = Socket::route().map_err(cannot("look at the links"))?;
    // The first device on the host that has addresses: the bridge; without one, the host's end.
    for interface in result.interfaces.iter().filter(|found| found.sandbox.is_empty()) {
        let link = socket.link(&interface.name).map_err(cannot("look at the links"))?;
        if link.is_some() {
            let switch = format!("ipv4/conf/{}/route_localnet", interface.name);
            return set_switch(&switch, "1").map_err(cannot(format!("set {switch}")));
        }
    }
    Ok(())
}

fn remove(id: &str) -> Result<(), String> {
    for table in TABLES {
        table
            .remove_rules(&[PORTS, FORMER, MASQUERADE], |comment| comment == id)
            .map_err(cannot("remove rules of ports"))?;
    }
    Ok(())
}

fn check(call: &Call, raw: &Map<String, Value>) -> Result<(), String> {
    let conf = Conf::parse(raw)?;
    let result = previous(call, raw)?.ok_or("the result of ADD is missing")?;
    if conf.mappings().is_empty() {
        return Ok(());
    }
    for ip in targets(&result, &call.interface).into_iter().flatten() {
        let of_family = |m: &&Mapping| m.host_ip(ip.is_ipv6()).is_ok();
        let mapped = conf.mappings().iter().filter(of_family).count();
        let masked = usize::from(conf.masquerades()) * if ip.is_ipv6() { 1 } else { 2 };
        for (chain, wanted) in [(PORTS, mapped), (MASQUERADE, masked)] {
            let found = table(ip)
                .count(chain, |comment| comment == call.id)
                .map_err(cannot("list rules of ports"))?;
            if found < wanted {
                return Err(format!("rules are missing in chain {chain}: {found} of {wanted}"));
            }
        }
    }
    Ok(())
}
