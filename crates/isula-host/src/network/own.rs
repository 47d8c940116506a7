//! The network `bridge`, which is there without a file: a bridge of the host behind which the
//! containers have private addresses. A file that describes a network of that name goes before it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use isula_core::ports::BRIDGE;
use serde_json::{Value, json};

use super::conflist::Conflist;

/// What the network `bridge` depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The name of the device on the host, at most 15 bytes; it is made where it is missing.
    pub device: String,
    /// The address of the host in the network.
    pub gateway: Ipv4Addr,
    /// The length of the network's prefix in bits, 8 to 30.
    pub prefix: u8,
}

/// The network, with what it keeps below the data root: two daemons do not share their addresses.
pub(super) fn network(bridge: &Bridge, data_root: &Path) -> Result<Conflist, String> {
    let mask = u32::MAX.checked_shl(32 - u32::from(bridge.prefix)).unwrap_or(0);
    let subnet = Ipv4Addr::from_bits(bridge.gateway.to_bits() & mask);
    let list = json!({
        "cniVersion": "1.0.0",
        "name": BRIDGE,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge.device,
                "isDefaultGateway": true,
                "ipMasq": true,
                "ipMasqBackend": "nftables",
                "hairpinMode": true,
                "capabilities": {"ips": true, "mac": true},
                "ipam": {
                    "type": "host-local",
                    "dataDir": data_root.join("cni/networks"),
                    "ranges": [[{
                        "subnet": format!("{subnet}/{}", bridge.prefix),
                        "gateway": IpAddr::V4(bridge.gateway),
                    }]],
                },
            },
            {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}},
        ],
    });
    let Value::Object(list) = list else { return Err("it is no object".to_owned()) };
    Conflist::from_object(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_that_of_the_gateway() {
        let bridge =
            Bridge { device: "isula0".to_owned(), gateway: [10, 83, 7, 1].into(), prefix: 20 };
        let network = network(&bridge, Path::new("/data")).unwrap();
        assert_eq!((network.name.as_str(), network.plugins.len()), ("bridge", 2));
        assert!(network.json.contains(r#""subnet":"10.83.0.0/20""#), "{}", network.json);
        assert!(network.json.contains(r#""gateway":"10.83.7.1""#), "{}", network.json);
    }
}
