//! Plugins that are built in: `bridge` with `host-local` addresses, `portmap` and `loopback`, with
//! the same JSON in and out and the same traces on the host as the reference plugins
//! (containernetworking/plugins), so that either can undo what the other did.

mod bridge;
mod host_local;
mod loopback;
mod masquerade;
mod portmap;
mod ranges;

use std::path::Path;

use serde_json::{Map, Value};

use super::{call::Call, conflist::Plugin, result::CniResult};

pub(super) use host_local::reclaim;

/// A built-in plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    Bridge,
    Loopback,
    Portmap,
}

/// The built-in plugin of a type.
pub(super) fn named(kind: &str) -> Option<Native> {
    match kind {
        "bridge" => Some(Native::Bridge),
        "loopback" => Some(Native::Loopback),
        "portmap" => Some(Native::Portmap),
        _ => None,
    }
}

/// The built-in plugin for a configuration of which it knows every option.
pub(super) fn find(plugin: &Plugin) -> Option<Native> {
    let native = named(&plugin.kind)?;
    match native.refusal(&plugin.conf) {
        None => Some(native),
        Some(reason) => {
            tracing::debug!("the built-in {} can't be used: {reason}", plugin.kind);
            None
        }
    }
}

impl Native {
    /// Why this plugin can't carry out a configuration.
    pub(super) fn refusal(self, conf: &Map<String, Value>) -> Option<String> {
        match self {
            Self::Bridge => bridge::Conf::parse(conf).err(),
            Self::Loopback => None,
            Self::Portmap => portmap::Conf::parse(conf).err(),
        }
    }

    /// Carries a call out. It blocks. The error is the plugin's own words.
    pub(super) fn run(
        self,
        call: &Call,
        conf: &Map<String, Value>,
    ) -> Result<Option<CniResult>, String> {
        match self {
            Self::Bridge => bridge::run(call, conf),
            Self::Loopback => loopback::run(call, conf),
            Self::Portmap => portmap::run(call, conf),
        }
    }
}

/// The namespace that a call is about.
fn namespace(call: &Call) -> Result<&Path, String> {
    call.namespace.as_deref().ok_or_else(|| "there is no network namespace".to_owned())
}

/// What the plugins before this one did.
fn previous(call: &Call, conf: &Map<String, Value>) -> Result<Option<CniResult>, String> {
    let previous = conf.get("prevResult");
    previous.map(|value| CniResult::parse(value, call.version)).transpose()
}

/// Says what could not be done, with the cause.
fn cannot<E: std::fmt::Display>(action: impl std::fmt::Display) -> impl FnOnce(E) -> String {
    move |error| format!("cannot {action}: {error}")
}

/// Writes a switch below `/proc/sys/net` of this thread's network namespace.
fn set_switch(path: &str, value: &str) -> std::io::Result<()> {
    let path = format!("/proc/sys/net/{path}");
    if std::fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    std::fs::write(path, value)
}

/// A hardware address as text.
fn mac_text(mac: super::netlink::route::Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The hardware address of a text.
fn parse_mac(text: &str) -> Option<super::netlink::route::Mac> {
    let mut parts = text.split([':', '-']);
    let mut mac = [0; 6];
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hardware_address_is_six_bytes() {
        assert_eq!(parse_mac("0a:00:00:00:00:ff"), Some([10, 0, 0, 0, 0, 255]));
        assert_eq!(mac_text([10, 0, 0, 0, 0, 255]), "0a:00:00:00:00:ff");
        for wrong in
            ["", "0a:00:00:00:00", "0a:00:00:00:00:00:00", "xx:00:00:00:00:00", "a:0:0:0:0:0"]
        {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_to_the_program() {
        let built_in = |value: Value| find(&Plugin::parse(value).unwrap());
        let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}]]});
        let bridge = |key: &str, value: Value| {
            let mut conf = json!({"type": "bridge", "ipam": ipam, "isGateway": true});
            conf[key] = value;
            built_in(conf)
        };
        assert_eq!(bridge("mtu", json!(1400)), Some(Native::Bridge));
        assert_eq!(bridge("vlan", json!(0)), Some(Native::Bridge));
        assert_eq!(bridge("ipMasqBackend", json!("nftables")), Some(Native::Bridge));
        for (key, value) in [
            ("vlan", json!(7)),
            ("macspoofchk", json!(true)),
            ("enabledad", json!(true)),
            ("disableContainerInterface", json!(true)),
            ("vlanTrunk", json!([{"id": 3}])),
            ("ipMasqBackend", json!("iptables")),
            ("ipam", json!({"type": "dhcp"})),
            ("ipam", json!({"type": "host-local", "novel": 1})),
            ("novel", json!(1)),
            ("mtu", json!("large")),
        ] {
            assert_eq!(bridge(key, value.clone()), None, "{key} {value}");
        }
        assert_eq!(built_in(json!({"type": "portmap"})), Some(Native::Portmap));
        assert_eq!(built_in(json!({"type": "portmap", "backend": "iptables"})), None);
        assert_eq!(built_in(json!({"type": "portmap", "conditionsV4": ["-d", "1.2.3.4"]})), None);
        assert_eq!(built_in(json!({"type": "loopback"})), Some(Native::Loopback));
        assert_eq!(built_in(json!({"type": "macvlan"})), None);
    }
}
