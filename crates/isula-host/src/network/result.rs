//! Results of plugins, of every version of the specification: read into one form, written as the
//! version at hand wants it.

use std::net::IpAddr;

use isula_core::ports::{Address, Attachment, NetworkDns};
use serde_json::{Map, Value, json};

use super::version::Version;

/// What plugins did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CniResult {
    pub interfaces: Vec<Interface>,
    pub ips: Vec<Ip>,
    pub routes: Vec<Route>,
    pub dns: NetworkDns,
}

/// An interface that a plugin made or found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub mac: String,
    pub mtu: Option<u32>,
    /// Path of the namespace; empty on the host.
    pub sandbox: String,
    pub socket_path: Option<String>,
    pub pci_id: Option<String>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ip {
    /// Which of the interfaces has it.
    pub interface: Option<i64>,
    pub address: (IpAddr, u8),
    pub gateway: Option<IpAddr>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub destination: (IpAddr, u8),
    pub gateway: Option<IpAddr>,
    pub mtu: Option<u32>,
    pub advmss: Option<u32>,
    pub priority: Option<u32>,
    pub table: Option<u32>,
    pub scope: Option<u32>,
}

/// An address with the length of its prefix, such as `10.0.0.1/8`.
pub(super) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, prefix) = text.split_once('/')?;
    let ip = canonical(ip.parse().ok()?);
    let prefix: u8 = prefix.parse().ok()?;
    (prefix <= if ip.is_ipv6() { 128 } else { 32 }).then_some((ip, prefix))
}

/// An address of IPv4 is one of IPv4, however it was written.
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

impl CniResult {
    /// Reads the result of a plugin; one that does not say its version has that of the network.
    /// The error is what is wrong.
    pub(super) fn parse(value: &Value, network: Version) -> Result<Self, String> {
        let object = value.as_object().ok_or("the result is no object")?;
        let version = match object.get("cniVersion").and_then(Value::as_str) {
            None | Some("") => network,
            Some(text) => Version::parse(text)
                .ok_or_else(|| format!("the result is of the unknown version {text:?}"))?,
        };
        let mut result = Self { dns: dns(object.get("dns"))?, ..Self::default() };
        if version < Version::V0_3_0 {
            result.old_addresses(object)?;
            return Ok(result);
        }
        for item in list(object, "interfaces")? {
            result.interfaces.push(interface(item)?);
        }
        for item in list(object, "ips")? {
            result.ips.push(address(item)?);
        }
        for item in list(object, "routes")? {
            result.routes.push(Route::parse(item)?);
        }
        Ok(result)
    }

    /// `ip4` and `ip6` of 0.2.0 and before, with their own routes.
    fn old_addresses(&mut self, object: &Map<String, Value>) -> Result<(), String> {
        for key in ["ip4", "ip6"] {
            let Some(item) = object.get(key).and_then(Value::as_object) else { continue };
            let text = item.get("ip").and_then(Value::as_str).unwrap_or_default();
            let address = network(text).ok_or_else(|| format!("{text:?} is no address"))?;
            self.ips.push(Ip { interface: None, address, gateway: ip(item, "gateway")? });
            for route in list(item, "routes")? {
                self.routes.push(Route::parse(route)?);
            }
        }
        Ok(())
    }

    /// The result as this version has it, from 0.3.0 on.
    pub(super) fn render(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".to_owned(), version.as_str().into());
        if !self.interfaces.is_empty() {
            let all = self.interfaces.iter().map(|item| item.render(version)).collect();
            object.insert("interfaces".to_owned(), Value::Array(all));
        }
        if !self.ips.is_empty() {
            let all = self.ips.iter().map(|item| item.render(version)).collect();
            object.insert("ips".to_owned(), Value::Array(all));
        }
        if !self.routes.is_empty() {
            let all = self.routes.iter().map(|item| item.render(version)).collect();
            object.insert("routes".to_owned(), Value::Array(all));
        }
        object.insert("dns".to_owned(), render_dns(&self.dns));
        Value::Object(object)
    }

    /// What became of an interface, for the engine.
    pub(super) fn attachment(&self, network: &str, interface: &str) -> Attachment {
        let inside = |found: &&Interface| found.name == interface && !found.sandbox.is_empty();
        let ours = self.interfaces.iter().find(inside);
        let index = self.interfaces.iter().position(|found| inside(&found));
        // An address without an interface is the namespace's (results before 0.3.0 know no other).
        let is_ours = |ip: &&Ip| match ip.interface {
            None => true,
            Some(at) => usize::try_from(at).ok() == index,
        };
        let address =
            |ip: &Ip| Address { ip: ip.address.0, prefix: ip.address.1, gateway: ip.gateway };
        Attachment {
            network: network.to_owned(),
            interface: interface.to_owned(),
            mac: ours.map(|found| found.mac.clone()).filter(|mac| !mac.is_empty()),
            addresses: self.ips.iter().filter(is_ours).map(address).collect(),
            dns: self.dns.clone(),
        }
    }
}

impl Interface {
    fn render(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("name".to_owned(), self.name.as_str().into());
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                object.insert(key.to_owned(), value.into());
            }
        };
        put("mac", &self.mac);
        put("sandbox", &self.sandbox);
        if version >= Version::V1_1_0 {
            put("socketPath", self.socket_path.as_deref().unwrap_or_default());
            put("pciID", self.pci_id.as_deref().unwrap_or_default());
            if let Some(mtu) = self.mtu {
                object.insert("mtu".to_owned(), mtu.into());
            }
        }
        Value::Object(object)
    }
}

impl Ip {
    fn render(&self, version: Version) -> Value {
        let (ip, prefix) = self.address;
        let mut value = json!({ "address": format!("{ip}/{prefix}") });
        if let Some(object) = value.as_object_mut() {
            if version < Version::V1_0_0 {
                let family = if ip.is_ipv6() { "6" } else { "4" };
                object.insert("version".to_owned(), family.into());
            }
            if let Some(interface) = self.interface {
                object.insert("interface".to_owned(), interface.into());
            }
            if let Some(gateway) = self.gateway {
                object.insert("gateway".to_owned(), gateway.to_string().into());
            }
        }
        value
    }
}

impl Route {
    /// A route to a destination and nothing else.
    pub(super) fn to(destination: (IpAddr, u8), gateway: Option<IpAddr>) -> Self {
        Self {
            destination,
            gateway,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }

    /// Reads a route of a result or a configuration.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("a route is no object")?;
        let text = object.get("dst").and_then(Value::as_str).unwrap_or_default();
        let destination =
            network(text).ok_or_else(|| format!("{text:?} is no destination of a route"))?;
        Ok(Self {
            destination,
            gateway: ip(object, "gw")?,
            mtu: number(object, "mtu")?,
            advmss: number(object, "advmss")?,
            priority: number(object, "priority")?,
            table: number(object, "table")?,
            scope: number(object, "scope")?,
        })
    }

    fn render(&self, version: Version) -> Value {
        let (ip, prefix) = self.destination;
        let mut value = json!({ "dst": format!("{ip}/{prefix}") });
        if let Some(object) = value.as_object_mut() {
            if let Some(gateway) = self.gateway {
                object.insert("gw".to_owned(), gateway.to_string().into());
            }
            let new = [
                ("mtu", self.mtu),
                ("advmss", self.advmss),
                ("priority", self.priority),
                ("table", self.table),
                ("scope", self.scope),
            ];
            for (key, number) in new {
                if let Some(number) = number.filter(|_| version >= Version::V1_1_0) {
                    object.insert(key.to_owned(), number.into());
                }
            }
        }
        value
    }
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a [Value], String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{key} is no list")),
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key} is no text")),
    }
}

fn number(object: &Map<String, Value>, key: &str) -> Result<Option<u32>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| format!("{key} is no number that fits")),
    }
}

fn ip(object: &Map<String, Value>, key: &str) -> Result<Option<IpAddr>, String> {
    let Some(text) = text(object, key)? else { return Ok(None) };
    let wrong = |_| format!("{key} is no address: {text:?}");
    text.parse().map(|ip| Some(canonical(ip))).map_err(wrong)
}

fn interface(value: &Value) -> Result<Interface, String> {
    let object = value.as_object().ok_or("an interface is no object")?;
    Ok(Interface {
        name: text(object, "name")?.unwrap_or_default(),
        mac: text(object, "mac")?.unwrap_or_default(),
        mtu: number(object, "mtu")?,
        sandbox: text(object, "sandbox")?.unwrap_or_default(),
        socket_path: text(object, "socketPath")?,
        pci_id: text(object, "pciID")?,
    })
}

fn address(value: &Value) -> Result<Ip, String> {
    let object = value.as_object().ok_or("an address is no object")?;
    let wanted = text(object, "address")?.unwrap_or_default();
    Ok(Ip {
        interface: object.get("interface").and_then(Value::as_i64),
        address: network(&wanted).ok_or_else(|| format!("{wanted:?} is no address"))?,
        gateway: ip(object, "gateway")?,
    })
}

/// Reads name resolution, of a result or a configuration.
pub(super) fn dns(value: Option<&Value>) -> Result<NetworkDns, String> {
    let object = match value {
        None | Some(Value::Null) => return Ok(NetworkDns::default()),
        Some(value) => value.as_object().ok_or("dns is no object")?,
    };
    let texts = |key: &str| {
        let items = list(object, key)?.iter();
        let text = |item: &Value| item.as_str().map(str::to_owned);
        items.map(text).collect::<Option<Vec<_>>>().ok_or_else(|| format!("{key}: no text"))
    };
    Ok(NetworkDns {
        nameservers: texts("nameservers")?,
        domain: text(object, "domain")?,
        search: texts("search")?,
        options: texts("options")?,
    })
}

/// Writes name resolution; what is empty is left out.
pub(super) fn render_dns(dns: &NetworkDns) -> Value {
    let mut object = Map::new();
    if !dns.nameservers.is_empty() {
        object.insert("nameservers".to_owned(), dns.nameservers.clone().into());
    }
    if let Some(domain) = &dns.domain {
        object.insert("domain".to_owned(), domain.as_str().into());
    }
    if !dns.search.is_empty() {
        object.insert("search".to_owned(), dns.search.clone().into());
    }
    if !dns.options.is_empty() {
        object.insert("options".to_owned(), dns.options.clone().into());
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CniResult, String> {
        CniResult::parse(&serde_json::from_str(text).unwrap(), Version::V1_0_0)
    }

    #[test]
    fn results_of_all_versions_say_the_same() {
        let old = parse(
            r#"{"cniVersion": "0.2.0", "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1",
                "routes": [{"dst": "0.0.0.0/0"}]}, "dns": {"nameservers": ["10.1.0.1"]}}"#,
        )
        .unwrap();
        let middle = parse(
            r#"{"cniVersion": "0.3.1", "interfaces": [{"name": "eth0", "sandbox": "/n",
                "mac": "00:11:22:33:44:55"}], "ips": [{"version": "4", "interface": 0,
                "address": "10.1.2.3/24", "gateway": "10.1.2.1"}],
                "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["10.1.0.1"]}}"#,
        )
        .unwrap();
        let addresses = |result: &CniResult| result.attachment("n", "eth0").addresses;
        assert_eq!(addresses(&old), addresses(&middle));
        assert_eq!((&old.routes, &old.dns), (&middle.routes, &middle.dns));
        for version in [Version::V0_3_0, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0] {
            let again = CniResult::parse(&middle.render(version), Version::V0_3_0).unwrap();
            assert_eq!(again, middle, "{version:?}");
        }
        let family = |version| middle.render(version)["ips"][0].get("version").is_some();
        assert!(family(Version::V0_4_0) && !family(Version::V1_0_0));
    }

    #[test]
    fn what_1_1_0_added_is_kept_there_and_left_out_before() {
        let text = r#"{"cniVersion": "1.1.0", "interfaces": [{"name": "a", "mtu": 1400,
            "socketPath": "/s", "pciID": "p"}], "routes": [{"dst": "fd00::/64", "gw": "fe80::1",
            "mtu": 1, "advmss": 2, "priority": 3, "table": 4, "scope": 5}]}"#;
        let result = parse(text).unwrap();
        assert_eq!(
            CniResult::parse(&result.render(Version::V1_1_0), Version::V1_1_0),
            Ok(result.clone())
        );
        let before = result.render(Version::V1_0_0);
        assert_eq!(before["interfaces"][0], json!({"name": "a"}));
        assert_eq!(before["routes"][0], json!({"dst": "fd00::/64", "gw": "fe80::1"}));
    }

    #[test]
    fn an_address_of_the_host_is_not_the_containers() {
        let result = parse(
            r#"{"interfaces": [{"name": "br"}, {"name": "eth0", "sandbox": "/n"}],
                "ips": [{"interface": 0, "address": "10.0.0.1/8"},
                        {"interface": 1, "address": "::ffff:10.0.0.2/8"}]}"#,
        )
        .unwrap();
        let addresses = result.attachment("n", "eth0").addresses;
        assert_eq!(addresses.len(), 1);
        assert_eq!(addresses[0].ip, IpAddr::from([10, 0, 0, 2]));
    }

    #[test]
    fn rubbish_is_named() {
        for (text, wanted) in [
            ("[]", "the result is no object"),
            (r#"{"cniVersion": "7.0.0"}"#, "the result is of the unknown version \"7.0.0\""),
            (r#"{"ips": {}}"#, "ips is no list"),
            (r#"{"ips": [{"address": "10.0.0.1"}]}"#, "\"10.0.0.1\" is no address"),
            (r#"{"ips": [{"address": "10.0.0.1/33"}]}"#, "\"10.0.0.1/33\" is no address"),
            (r#"{"routes": [{"dst": "x"}]}"#, "\"x\" is no destination of a route"),
            (r#"{"routes": [{"dst": "::/0", "mtu": -1}]}"#, "mtu is no number that fits"),
            (r#"{"dns": {"search": [1]}}"#, "search: no text"),
        ] {
            assert_eq!(parse(text).unwrap_err(), wanted, "{text}");
        }
    }
}
