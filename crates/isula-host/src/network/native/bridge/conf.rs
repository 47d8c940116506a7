//! The configuration of `bridge`, as far as the built-in one goes.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{
    super::{call::Call, netlink::route::Mac},
    host_local, parse_mac,
};

/// A configuration of which every option is known.
#[derive(Debug)]
pub(in super::super) struct Conf {
    pub bridge: String,
    pub is_gateway: bool,
    pub is_default_gateway: bool,
    pub force_address: bool,
    pub ip_masq: bool,
    pub hairpin: bool,
    pub promiscuous: bool,
    pub isolated: bool,
    pub mtu: Option<u32>,
    pub ipam: Option<host_local::Conf>,
}

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Raw {
    bridge: Option<String>,
    is_gateway: Option<bool>,
    is_default_gateway: Option<bool>,
    force_address: Option<bool>,
    ip_masq: Option<bool>,
    ip_masq_backend: Option<String>,
    mtu: Option<u32>,
    hairpin_mode: Option<bool>,
    promisc_mode: Option<bool>,
    vlan: Option<u32>,
    vlan_trunk: Option<Vec<Value>>,
    // Without a VLAN it says nothing.
    #[serde(rename = "preserveDefaultVlan")]
    _preserve_default_vlan: Option<bool>,
    macspoofchk: Option<bool>,
    enabledad: Option<bool>,
    disable_container_interface: Option<bool>,
    port_isolation: Option<bool>,
    ipam: Option<Value>,
    // Of every plugin.
    #[serde(rename = "dns")]
    _dns: Value,
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
    #[serde(rename = "runtimeConfig")]
    _runtime: Value,
    #[serde(rename = "cni.dev/valid-attachments")]
    _valid: Value,
    #[serde(rename = "cni.dev/attachments")]
    _attachments: Value,
}

impl Conf {
    /// Reads a configuration; the error is what this plugin can't do.
    pub(in super::super) fn parse(conf: &Map<String, Value>) -> Result<Self, String> {
        let raw: Raw = serde_json::from_value(Value::Object(conf.clone()))
            .map_err(|error| error.to_string())?;
        let on = |flag: Option<bool>| flag.unwrap_or(false);
        let unsupported = [
            ("vlan", raw.vlan.is_some_and(|vlan| vlan != 0)),
            ("vlanTrunk", raw.vlan_trunk.is_some_and(|trunk| !trunk.is_empty())),
            ("macspoofchk", on(raw.macspoofchk)),
            ("enabledad", on(raw.enabledad)),
            ("disableContainerInterface", on(raw.disable_container_interface)),
            ("ipMasqBackend", raw.ip_masq_backend.is_some_and(|name| name != "nftables")),
        ];
        if let Some((name, _)) = unsupported.iter().find(|(_, set)| *set) {
            return Err(format!("{name} is not supported"));
        }
        Ok(Self {
            bridge: raw.bridge.filter(|name| !name.is_empty()).unwrap_or("cni0".to_owned()),
            is_gateway: on(raw.is_gateway) || on(raw.is_default_gateway),
            is_default_gateway: on(raw.is_default_gateway),
            force_address: on(raw.force_address),
            ip_masq: on(raw.ip_masq),
            hairpin: on(raw.hairpin_mode),
            promiscuous: on(raw.promisc_mode),
            isolated: on(raw.port_isolation),
            mtu: raw.mtu.filter(|mtu| *mtu != 0),
            ipam: ipam(raw.ipam)?,
        })
    }
}

/// Addresses by `host-local`, or none at all.
fn ipam(value: Option<Value>) -> Result<Option<host_local::Conf>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    match value.get("type").and_then(Value::as_str) {
        None | Some("") if value.as_object().is_some_and(Map::is_empty) => Ok(None),
        Some("host-local") => {
            serde_json::from_value(value).map(Some).map_err(|error| format!("ipam: {error}"))
        }
        other => Err(format!("ipam of type {:?} is not supported", other.unwrap_or_default())),
    }
}

/// The hardware address that is wanted: by the runtime, the configuration, or an argument.
pub(super) fn wanted_mac(call: &Call, conf: &Map<String, Value>) -> Result<Option<Mac>, String> {
    let in_runtime = conf.get("runtimeConfig").and_then(|runtime| runtime.get("mac"));
    let in_args = conf.get("args").and_then(|args| args.get("cni")).and_then(|cni| cni.get("mac"));
    let text = |value: Option<&'_ Value>| {
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let wanted = text(in_runtime).or(text(in_args)).or_else(|| call.arg("MAC").map(str::to_owned));
    wanted
        .map(|text| parse_mac(&text).ok_or_else(|| format!("{text:?} is no hardware address")))
        .transpose()
}
