//! Ranges of addresses, and walking through them.

use std::net::IpAddr;

use serde::Deserialize;

use super::super::result::network;

/// A range as a configuration says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RangeConf {
    pub range_start: Option<IpAddr>,
    pub range_end: Option<IpAddr>,
    pub subnet: Option<String>,
    pub gateway: Option<IpAddr>,
}

/// A range with everything said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub first: IpAddr,
    pub last: IpAddr,
    pub subnet: (IpAddr, u8),
    pub gateway: IpAddr,
}

/// Ranges of one family, from all of which one address is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RangeSet(pub Vec<Range>);

impl RangeConf {
    pub(super) fn complete(&self) -> Result<Range, String> {
        let text = self.subnet.as_deref().unwrap_or_default();
        let subnet = network(text).ok_or_else(|| format!("{text:?} is no subnet"))?;
        let bits = if subnet.0.is_ipv6() { 128 } else { 32 };
        if subnet.1 > bits - 2 {
            return Err(format!("network {text} is too small to allocate from"));
        }
        let base = number(subnet.0);
        let hosts = u128::MAX.checked_shr(128 - u32::from(bits - subnet.1)).unwrap_or(0);
        if base & hosts != 0 {
            let network = address(subnet.0, base & !hosts);
            return Err(format!("network {text} has host bits set: its address is {network}"));
        }
        let canonical = |ip: Option<IpAddr>| ip.map(|ip| ip.to_canonical());
        let first = address(subnet.0, base.wrapping_add(1));
        // The broadcast address of IPv4 is nobody's.
        let end = (base | hosts) - u128::from(subnet.0.is_ipv4());
        let range = Range {
            first: canonical(self.range_start).unwrap_or(first),
            last: canonical(self.range_end).unwrap_or(address(subnet.0, end)),
            gateway: canonical(self.gateway).unwrap_or(first),
            subnet,
        };
        for (name, ip) in [("rangeStart", range.first), ("rangeEnd", range.last)] {
            let inside = (base..=base | hosts).contains(&number(ip));
            if ip.is_ipv6() != subnet.0.is_ipv6() || !inside {
                return Err(format!("{name} {ip} is not in network {text}"));
            }
        }
        if number(range.first) > number(range.last) {
            return Err(format!("rangeStart {} is behind rangeEnd {}", range.first, range.last));
        }
        Ok(range)
    }
}

impl Range {
    fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv6() == self.first.is_ipv6()
            && (number(self.first)..=number(self.last)).contains(&number(ip))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || self.contains(other.last) || other.contains(self.first)
    }
}

impl RangeSet {
    /// Checks the ranges of a set.
    pub(super) fn complete(set: &[RangeConf]) -> Result<Self, String> {
        let ranges = set.iter().map(RangeConf::complete).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = ranges.first() else { return Err("a set of ranges is empty".to_owned()) };
        if ranges.iter().any(|range| range.first.is_ipv6() != first.first.is_ipv6()) {
            return Err("a set of ranges mixes address families".to_owned());
        }
        let set = Self(ranges);
        for (place, range) in set.0.iter().enumerate() {
            if set.0.iter().skip(place + 1).any(|other| range.overlaps(other)) {
                return Err("ranges of a set overlap".to_owned());
            }
        }
        Ok(set)
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|range| other.0.iter().any(|other| range.overlaps(other)))
    }

    /// The range that an address is in.
    pub(super) fn range_of(&self, ip: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(ip))
    }

    /// Every address that may be given, each once, beginning behind the one given last; gateways
    /// are left out.
    pub(super) fn walk(&self, last: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let place = |ip: IpAddr| self.0.iter().position(|range| range.contains(ip));
        let start = last.and_then(|ip| place(ip).map(|place| (place, Some(number(ip)))));
        let (place, after) = start.unwrap_or((0, None));
        let behind = self.0.iter().skip(place).take(1).filter_map(move |range| {
            let from = match after {
                Some(after) => after.checked_add(1)?,
                None => number(range.first),
            };
            Some((range, from, number(range.last)))
        });
        let whole = |range: &'_ Range| (number(range.first), number(range.last));
        let others = self.0.iter().skip(place + 1).chain(self.0.iter().take(place));
        let others = others.map(move |range| (range, whole(range).0, whole(range).1));
        let before = self
            .0
            .iter()
            .skip(place)
            .take(1)
            .filter_map(move |range| after.map(|after| (range, number(range.first), after)));
        let spans = behind.chain(others).chain(before);
        spans
            .flat_map(|(range, from, to)| {
                (from..=to).map(move |n| (address(range.first, n), range))
            })
            .filter(|(ip, range)| *ip != range.gateway)
    }
}

/// An address as a number, to count with.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address of a number, of the family of another address.
fn address(family: IpAddr, number: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

/// The first address of a network, which gateways have.
pub(super) fn first_of((ip, prefix): (IpAddr, u8)) -> IpAddr {
    let bits = if ip.is_ipv6() { 128u32 } else { 32 };
    let hosts = u128::MAX.checked_shr(128 - bits.saturating_sub(prefix.into())).unwrap_or(0);
    address(ip, (number(ip) & !hosts).wrapping_add(1))
}

/// Whether one network is, or touches, another.
pub(super) fn networks_touch(one: (IpAddr, u8), other: (IpAddr, u8)) -> bool {
    if one.0.is_ipv6() != other.0.is_ipv6() {
        return false;
    }
    let bits = if one.0.is_ipv6() { 128u32 } else { 32 };
    let prefix = u32::from(one.1.min(other.1));
    let hosts = u128::MAX.checked_shr(128 - bits.saturating_sub(prefix)).unwrap_or(0);
    number(one.0) & !hosts == number(other.0) & !hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> RangeConf {
        serde_json::from_str(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_said_follows_from_the_subnet() {
        let range = conf(r#"{"subnet": "10.1.2.0/24"}"#).complete().unwrap();
        assert_eq!((range.first, range.last), (ip("10.1.2.1"), ip("10.1.2.254")));
        assert_eq!(range.gateway, ip("10.1.2.1"));
        let range = conf(r#"{"subnet": "fd00:1::/64"}"#).complete().unwrap();
        assert_eq!(range.last, ip("fd00:1::ffff:ffff:ffff:ffff"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, wanted) in [
            (r#"{}"#, "\"\" is no subnet"),
            (r#"{"subnet": "10.0.0.0/31"}"#, "network 10.0.0.0/31 is too small"),
            (r#"{"subnet": "10.0.0.1/24"}"#, "network 10.0.0.1/24 has host bits set"),
            (
                r#"{"subnet": "10.0.0.0/24", "rangeStart": "10.0.1.0"}"#,
                "rangeStart 10.0.1.0 is not",
            ),
            (r#"{"subnet": "10.0.0.0/24", "rangeEnd": "fd00::1"}"#, "rangeEnd fd00::1 is not"),
            (
                r#"{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8"}"#,
                "rangeStart 10.0.0.9 is behind",
            ),
        ] {
            let error = conf(text).complete().unwrap_err();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
        let overlapping =
            [conf(r#"{"subnet": "10.0.0.0/16"}"#), conf(r#"{"subnet": "10.0.1.0/24"}"#)];
        assert!(RangeSet::complete(&overlapping).unwrap_err().contains("overlap"));
        let mixed = [conf(r#"{"subnet": "10.0.0.0/16"}"#), conf(r#"{"subnet": "fd00::/64"}"#)];
        assert!(RangeSet::complete(&mixed).unwrap_err().contains("mixes"));
    }

    #[test]
    fn the_walk_begins_behind_the_last_one_and_meets_everyone_once() {
        let set = RangeSet::complete(&[
            conf(r#"{"subnet": "10.0.0.0/29"}"#),
            conf(r#"{"subnet": "10.0.1.0/24", "rangeStart": "10.0.1.8", "rangeEnd": "10.0.1.9"}"#),
        ])
        .unwrap();
        let walk = |last: Option<&str>| {
            let all = set.walk(last.map(ip)).map(|(ip, _)| ip.to_string());
            all.collect::<Vec<_>>().join(" ")
        };
        let whole = "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.1.8 10.0.1.9";
        assert_eq!(walk(None), whole);
        assert_eq!(walk(Some("9.9.9.9")), whole);
        assert_eq!(
            walk(Some("10.0.0.4")),
            "10.0.0.5 10.0.0.6 10.0.1.8 10.0.1.9 10.0.0.2 10.0.0.3 10.0.0.4"
        );
        assert_eq!(
            walk(Some("10.0.1.9")),
            "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.1.8 10.0.1.9"
        );
    }

    #[test]
    fn networks_touch_when_one_is_in_the_other() {
        let net = |text: &str| network(text).unwrap();
        assert!(networks_touch(net("10.0.0.1/8"), net("10.1.0.1/16")));
        assert!(!networks_touch(net("10.0.0.1/16"), net("10.1.0.1/16")));
        assert!(!networks_touch(net("0.0.0.0/0"), net("::/0")));
        assert_eq!(first_of(net("10.9.8.7/16")), ip("10.9.0.1"));
        assert_eq!(first_of(net("fd00::99/64")), ip("fd00::1"));
    }
}
