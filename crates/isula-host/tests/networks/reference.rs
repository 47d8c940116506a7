//! The built-in plugins beside those of containernetworking/plugins: the same result, devices,
//! addresses and routes, and either undoes what the other did.

use std::{fs, path::PathBuf, process::Command};

use isula_core::ports::{Networks, PortMapping, Protocol};
use serde_json::{Value, json};

use crate::world::{Pod, World, on_a_host, rules, run};

/// Where the reference plugins are.
fn plugins() -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/go/bin/cni");
    let named = std::env::var_os("ISULA_CNI_PLUGINS").map(PathBuf::from);
    let places = named.into_iter().chain([built.into(), "/opt/cni/bin".into()]);
    let mut found = places.filter(|place| place.join("bridge").is_file());
    found.next().expect("install the CNI plugins: tools/setup.sh test")
}

const LISTS: [&str; 6] = [
    r#"{"cniVersion": "0.3.1", "name": "net", "plugins": [{"type": "bridge", "isGateway": true,
        "ipam": {"type": "host-local", "dataDir": "DATA", "subnet": "10.5.0.0/24",
        "rangeStart": "10.5.0.20", "routes": [{"dst": "0.0.0.0/0"}]}}]}"#,
    r#"{"cniVersion": "0.4.0", "name": "net", "plugins": [{"type": "bridge", "bridge": "br7",
        "isDefaultGateway": true, "hairpinMode": true, "mtu": 1400,
        "dns": {"nameservers": ["10.5.0.1"], "search": ["a", "b"]},
        "ipam": {"type": "host-local", "dataDir": "DATA", "ranges": [
            [{"subnet": "10.5.0.0/24", "gateway": "10.5.0.254"}],
            [{"subnet": "fd05::/64"}]],
        "routes": [{"dst": "10.9.0.0/16", "gw": "10.5.0.7"}, {"dst": "fd09::/64"}]}}]}"#,
    r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge", "promiscMode": true,
        "isGateway": true, "forceAddress": true,
        "ipam": {"type": "host-local", "dataDir": "DATA", "ranges": [
            [{"subnet": "10.5.0.0/29"}, {"subnet": "10.6.0.0/29"}], [{"subnet": "10.7.0.0/24"}]]}}]}"#,
    r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}]}"#,
    r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge", "ipam": {}},
        {"type": "loopback"}]}"#,
    r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "loopback"}]}"#,
];

/// What an attachment left behind, without what chance chooses.
async fn traces(conflist: &str, native: bool) -> Value {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let conflist = conflist.to_owned();
    let host = move || {
        on_a_host(&conflist.clone(), |world| async move {
            let world = world.with(|settings| {
                settings.native = native;
                settings.bin_dirs = vec![plugins()];
            });
            let mut seen = Vec::new();
            for number in 1..=2 {
                let pod = world.pod(number).await;
                pod.attach(&world).await;
                // The reference plugin can't check a network without addresses.
                if conflist.contains("host-local") {
                    world.networks.check(&pod.request()).await.unwrap();
                }
                seen.push(json!({
                    "result": result(&world, &pod),
                    "addresses": pod.inside(addresses),
                    "routes": pod.inside(routes),
                }));
            }
            let switches = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
            let switches =
                switches.map(|name| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap());
            let reserved = world.reserved();
            sender
                .send(json!({
                    "pods": seen, "host": addresses(), "routes": routes(),
                    "switches": switches, "reserved": reserved,
                }))
                .unwrap();
        });
    };
    tokio::task::spawn_blocking(host).await.unwrap();
    receiver.await.unwrap()
}

fn result(world: &World, pod: &Pod) -> Value {
    let path = world.root.join(format!("data/cni/results/net-{}-eth0", pod.id));
    let entry: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    anonymous(entry["result"].clone(), pod.path.to_str().unwrap())
}

/// Hardware addresses, names of pairs and the place of the namespace are left to chance.
fn anonymous(value: Value, path: &str) -> Value {
    match value {
        Value::Object(object) => {
            let known = object.into_iter().map(|(key, value)| {
                let value = match key.as_str() {
                    "mac" if value != "00:00:00:00:00:00" => "MAC".into(),
                    _ => anonymous(value, path),
                };
                (key, value)
            });
            Value::Object(known.collect())
        }
        Value::Array(items) => items.into_iter().map(|item| anonymous(item, path)).collect(),
        Value::String(text) if text == path => "NAMESPACE".into(),
        Value::String(text) if text.starts_with("veth") => "VETH".into(),
        other => other,
    }
}

fn addresses() -> Value {
    let text = run(Command::new("ip").args(["-j", "-d", "addr"]));
    let links: Value = serde_json::from_str(&text).unwrap();
    let link = |link: &Value| {
        let address = |address: &Value| {
            let local = address["local"].as_str().unwrap();
            let scope = &address["scope"];
            (!local.starts_with("fe80:"))
                .then(|| json!([local, address["prefixlen"], scope, address["broadcast"]]))
        };
        let addresses = link["addr_info"].as_array().unwrap().iter().filter_map(address);
        let name = link["ifname"].as_str().unwrap();
        let port = &link["linkinfo"]["info_slave_data"];
        json!({
            "name": if name.starts_with("veth") { "VETH" } else { name },
            "addresses": addresses.collect::<Vec<_>>(),
            "mtu": link["mtu"], "up": link["flags"].as_array().unwrap().contains(&"UP".into()),
            "master": link["master"], "kind": link["linkinfo"]["info_kind"],
            "promiscuity": link["promiscuity"],
            "hairpin": port["hairpin"], "isolated": port["isolated"],
        })
    };
    let usual = |link: &&Value| link["linkinfo"]["info_kind"].is_string() || link["ifname"] == "lo";
    links.as_array().unwrap().iter().filter(usual).map(link).collect()
}

fn routes() -> Value {
    let show = |family| {
        let text = run(Command::new("ip").args([family, "-j", "route", "show"]));
        let routes: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut routes = routes.as_array().cloned().unwrap_or_default();
        routes.retain(|route| !route["dst"].as_str().is_some_and(|dst| dst.starts_with("fe80:")));
        routes
            .into_iter()
            .map(|mut route| {
                // Whether a neighbour was there when somebody looked.
                route["flags"] = Value::Null;
                route
            })
            .collect::<Value>()
    };
    json!([show("-4"), show("-6")])
}

#[tokio::test]
async fn the_same_conflist_gives_the_same() {
    for conflist in LISTS {
        let built_in = traces(conflist, true).await;
        let reference = traces(conflist, false).await;
        let (built_in, reference) = (pretty(&built_in), pretty(&reference));
        assert_eq!(built_in, reference, "{conflist}");
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn either_takes_away_what_the_other_made() {
    let conflist = r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [
        {"type": "bridge", "isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables",
         "ipam": {"type": "host-local", "dataDir": "DATA", "subnet": "10.5.0.0/24"}},
        {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}}]}"#;
    if !knows_nftables() {
        return;
    }
    on_a_host(conflist, |world| async move {
        let programs = world.with(|settings| {
            settings.native = false;
            settings.bin_dirs = vec![plugins()];
        });
        let mut shown = Vec::new();
        for (maker, remover) in [(true, false), (false, true)] {
            let pod = world.pod(1).await;
            let mut request = pod.request();
            request.capabilities.port_mappings = vec![PortMapping {
                host_port: 8080,
                container_port: 80,
                protocol: Protocol::Tcp,
                host_ip: None,
            }];
            let by = |native| if native { &world } else { &programs };
            by(maker).networks.attach(&request).await.unwrap();
            let text = rules();
            shown.push(
                text.lines()
                    .filter(|line| line.contains("comment") && !line.contains("table"))
                    .filter(|line| !line.trim().starts_with("comment"))
                    .map(|line| line.trim().to_owned())
                    .collect::<Vec<_>>(),
            );
            // The record says who made it; without that it is whoever is asked.
            let path = world.root.join(format!("data/cni/results/net-{}-eth0", pod.id));
            let text = fs::read_to_string(&path).unwrap();
            let mut entry: Value = serde_json::from_str(&text).unwrap();
            entry["isulaNative"] = json!([remover, remover]);
            fs::write(&path, entry.to_string()).unwrap();
            by(remover).networks.detach(&request).await.unwrap();
            world.networks.remove_namespace(&pod.id).await.unwrap();
            world.assert_nothing_left();
        }
        let without_address =
            |lines: &Vec<String>| lines.join("\n").replace("10.5.0.3", "10.5.0.2");
        assert_eq!(without_address(&shown[0]), without_address(&shown[1]));
    });
}

/// Plugins before 1.5 use iptables alone.
fn knows_nftables() -> bool {
    fs::read(plugins().join("portmap")).unwrap().windows(12).any(|part| part == b"cni_hostport")
}
