//! Addresses are given once, freed exactly, and told as the reference plugin tells them.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{
    super::super::{call::Command, version::Version},
    *,
};

struct Network {
    directory: tempfile::TempDir,
    conf: Map<String, Value>,
}

impl Network {
    fn new(ipam: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut ipam = ipam;
        ipam["type"] = "host-local".into();
        ipam["dataDir"] = directory.path().to_str().unwrap().into();
        let conf = Map::from_iter([("ipam".to_owned(), ipam)]);
        Self { directory, conf }
    }

    fn ipam(&self) -> Conf {
        serde_json::from_value(self.conf["ipam"].clone()).unwrap()
    }

    fn add(&self, id: &str) -> Result<CniResult, String> {
        add(&self.ipam(), &call(id), &self.conf)
    }

    fn given(&self, id: &str) -> Vec<String> {
        let result = self.add(id).unwrap();
        result.ips.iter().map(|ip| ip.address.0.to_string()).collect()
    }

    fn files(&self) -> Vec<String> {
        let listed = fs::read_dir(self.directory.path().join("net")).unwrap();
        let mut names: Vec<String> =
            listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn call(id: &str) -> Call {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut call = Call::about_network(Command::Add, "net", (Version::V1_0_0, deadline));
    (call.id, call.interface) = (id.to_owned(), "eth0".to_owned());
    call
}

#[test]
fn addresses_are_given_in_turn_and_written_down() {
    let network = Network::new(json!({"subnet": "10.1.0.0/29", "routes": [{"dst": "0.0.0.0/0"}]}));
    assert_eq!(network.given("a"), ["10.1.0.2"]);
    assert_eq!(network.given("b"), ["10.1.0.3"]);
    let directory = network.directory.path().join("net");
    assert_eq!(fs::read(directory.join("10.1.0.2")).unwrap(), b"a\r\neth0");
    assert_eq!(fs::read(directory.join("last_reserved_ip.0")).unwrap(), b"10.1.0.3");
    del(&network.ipam(), &call("a"), &[]).unwrap();
    assert_eq!(network.given("c"), ["10.1.0.4"]);
    assert_eq!(
        (network.given("d"), network.given("e")),
        (vec!["10.1.0.5".into()], vec!["10.1.0.6".into()])
    );
    assert_eq!(network.given("f"), ["10.1.0.2"]);
    let error = network.add("g").unwrap_err();
    assert_eq!(error, "no address is free in 10.1.0.1-10.1.0.6");
}

#[test]
fn each_set_gives_an_address_or_none_does() {
    let network = Network::new(json!({"ranges": [
        [{"subnet": "10.1.0.0/24"}],
        [{"subnet": "fd00::/64", "rangeStart": "fd00::5", "rangeEnd": "fd00::5"}],
    ]}));
    assert_eq!(network.given("a"), ["10.1.0.2", "fd00::5"]);
    network.add("b").unwrap_err();
    let addresses = ["10.1.0.2", "fd00::5", "last_reserved_ip.0", "last_reserved_ip.1", "lock"];
    assert_eq!(network.files(), addresses);
}

#[test]
fn an_address_can_be_asked_for() {
    let mut network = Network::new(json!({"subnet": "10.1.0.0/24"}));
    network.conf.insert("runtimeConfig".to_owned(), json!({"ips": ["10.1.0.77/24"]}));
    assert_eq!(network.given("a"), ["10.1.0.77"]);
    assert_eq!(network.add("b").unwrap_err(), "the address 10.1.0.77 is taken");
    network.conf.insert("runtimeConfig".to_owned(), json!({"ips": ["10.1.0.1"]}));
    assert_eq!(network.add("b").unwrap_err(), "the address 10.1.0.1 is the gateway's");
    network.conf.insert("runtimeConfig".to_owned(), json!({"ips": ["10.9.0.1"]}));
    assert_eq!(network.add("b").unwrap_err(), "10.9.0.1 is in no range of the network");
    assert!(!network.files().contains(&"10.1.0.78".to_owned()));
    network
        .conf
        .insert("runtimeConfig".to_owned(), json!({"ipRanges": [[{"subnet": "10.7.0.0/24"}]]}));
    assert_eq!(network.given("b"), ["10.7.0.2", "10.1.0.2"]);
}

#[test]
fn freeing_and_collecting_take_nobody_elses() {
    let network = Network::new(json!({"subnet": "10.1.0.0/24"}));
    for id in ["a", "b", "c", "d"] {
        network.add(id).unwrap();
    }
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    // The address that is known belongs to another by now: everything is looked at.
    del(&network.ipam(), &call("a"), &[ip("10.1.0.3")]).unwrap();
    del(&network.ipam(), &call("a"), &[]).unwrap();
    assert!(check(&network.ipam(), &call("a")).is_err());
    check(&network.ipam(), &call("b")).unwrap();
    let valid = [("b".to_owned(), "eth0".to_owned())];
    let (long_ago, later) = (SystemTime::UNIX_EPOCH, SystemTime::now() + Duration::from_secs(9));
    reclaim(&network.conf, ("net", long_ago), &valid).unwrap();
    assert_eq!(network.files().len(), 5);
    reclaim(&network.conf, ("net", later), &valid).unwrap();
    assert_eq!(network.files(), ["10.1.0.3", "last_reserved_ip.0", "lock"]);
    network.add("e").unwrap();
    collect(&network.ipam(), "net", &[]).unwrap();
    assert_eq!(network.files(), ["last_reserved_ip.0", "lock"]);
    del(&Conf { data_dir: Some("/no/such".into()), ..network.ipam() }, &call("a"), &[]).unwrap();
}

#[test]
fn name_resolution_can_come_from_a_file() {
    let network = Network::new(json!({"subnet": "10.1.0.0/24"}));
    let path = network.directory.path().join("resolv.conf");
    fs::write(&path, "# x\nnameserver 10.0.0.1\nsearch a b\noptions ndots:2\ndomain c\n").unwrap();
    let ipam = Conf { resolv_conf: Some(path), ..network.ipam() };
    let dns = add(&ipam, &call("a"), &network.conf).unwrap().dns;
    assert_eq!(dns.nameservers, ["10.0.0.1"]);
    assert_eq!((dns.search, dns.options), (vec!["a".into(), "b".into()], vec!["ndots:2".into()]));
    assert_eq!(dns.domain.as_deref(), Some("c"));
}

#[test]
fn an_address_without_an_owner_is_freed_and_none_is_ever_seen() {
    let network = Network::new(json!({"subnet": "10.1.0.0/29"}));
    assert_eq!(network.given("a"), ["10.1.0.2"]);
    // As another plugin leaves it that is killed between two calls.
    fs::write(network.directory.path().join("net/10.1.0.3"), "").unwrap();
    // As ours does.
    fs::write(network.directory.path().join("net").join(NEW), "half").unwrap();
    assert_eq!(network.given("b"), ["10.1.0.4"]);
    collect(&network.ipam(), "net", &[("b".to_owned(), "eth0".to_owned())]).unwrap();
    let files = network.files();
    let addresses: Vec<_> = files.iter().filter(|name| name.starts_with("10.")).collect();
    assert_eq!(addresses, ["10.1.0.4"]);
}
