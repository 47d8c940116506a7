//! `ipMasq` of plugins: what leaves a network gets the address of the host, by rules of nf_tables.

use std::net::IpAddr;

use rustix::io::Errno;
use sha2::{Digest, Sha512};

use super::{
    super::{
        call::Call,
        netlink::{
            nft::{Family, Hook, Table, Transaction},
            rule::{Rule, Side, Verdict},
        },
    },
    cannot,
};

const TABLE: Table = Table { family: Family::Inet, name: "cni_plugins_masquerade" };
const CHAIN: &str = "masq_checks";
const HOOK: &str = "postrouting";

/// Hides these addresses from everything outside of their networks.
pub(super) fn add(call: &Call, addresses: &[(IpAddr, u8)]) -> Result<(), String> {
    let comment = comment(&call.network, &call.interface, &call.id);
    let rules = |change: Transaction| {
        addresses.iter().fold(change, |change, &(ip, prefix)| {
            let rule = Rule::default()
                .family_of(ip)
                .address_is(Side::Source, ip)
                .in_network(Side::Destination, (ip, prefix), false)
                .masquerade();
            change.rule(CHAIN, rule, &comment)
        })
    };
    let added = rules(TABLE.change()).commit().or_else(|error| {
        // Nothing is there yet, or somebody flushed everything.
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => rules(structure(TABLE.change())).commit(),
            _ => Err(error),
        }
    });
    added.map_err(cannot("masquerade"))
}

fn structure(change: Transaction) -> Transaction {
    let multicast =
        [(IpAddr::from([224, 0, 0, 0]), 4), (IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8)];
    let change = change.table().chain(CHAIN).hook(HOOK, Hook::Postrouting).flush(HOOK);
    let change = multicast.into_iter().fold(change, |change, network| {
        let rule = Rule::default()
            .family_of(network.0)
            .in_network(Side::Destination, network, true)
            .verdict(Verdict::Return);
        change.rule(HOOK, rule, "")
    });
    change.rule(HOOK, Rule::default().verdict(Verdict::Goto(CHAIN)), "")
}

/// Removes the rules of an attachment.
pub(super) fn remove(call: &Call) -> Result<(), String> {
    let own = instance(&call.network, &call.interface, &call.id);
    let removed = TABLE.remove_rules(&[CHAIN], |comment| comment.starts_with(&own));
    removed.map_err(cannot("remove rules of masquerading"))
}

/// Removes the rules of a network that belong to none of these attachments.
pub(super) fn collect(network: &str, valid: &[(String, String)]) -> Result<(), String> {
    let of_network = format!("{}-", hash(network));
    let kept: Vec<String> =
        valid.iter().map(|(id, interface)| instance(network, interface, id)).collect();
    let stale = |comment: &str| {
        comment.starts_with(&of_network) && !kept.iter().any(|own| comment.starts_with(own))
    };
    TABLE.remove_rules(&[CHAIN], stale).map_err(cannot("remove rules of masquerading"))
}

/// Begins with what stands for network, interface and namespace, and says them in words.
fn comment(network: &str, interface: &str, id: &str) -> String {
    let own = instance(network, interface, id);
    let plain = |text: &str| text.replace('"', "");
    let (network, interface, id) = (plain(network), plain(interface), plain(id));
    format!("{own}, net: {network}, if: {interface}, id: {id}")
}

fn instance(network: &str, interface: &str, id: &str) -> String {
    format!("{}-{}", hash(network), hash(&format!("{interface}:{id}")))
}

/// The first 16 digits of a SHA-512.
fn hash(text: &str) -> String {
    Sha512::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_bear_the_comments_of_the_reference_plugins() {
        // sha512sum of "net" and of "eth0:id".
        let comment = comment("net", "eth0", "id");
        assert!(comment.ends_with(", net: net, if: eth0, id: id"), "{comment}");
        assert_eq!(comment.find(", "), Some(33));
    }
}
