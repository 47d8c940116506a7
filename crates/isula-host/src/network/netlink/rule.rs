//! The expressions of a rule of nf_tables, as the kernel wants them.

use std::net::IpAddr;

use super::{message::Message, route::octets};

const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// Registers: of the verdict, and two of 16 bytes.
const VERDICT: u32 = 0;
const FIRST: u32 = 1;
const SECOND: u32 = 2;

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const META_LINK_TYPE: u32 = 8;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const FIB_DESTINATION: u32 = 2;
const FIB_TYPE: u32 = 3;
const ROUTE_LOCAL: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NAT_DESTINATION: u32 = 1;

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

/// What a rule leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Drop,
    Return,
    Jump(&'a str),
    Goto(&'a str),
}

/// The expressions of one rule, in order.
#[derive(Debug, Default)]
pub(crate) struct Rule(Vec<Expression>);

type Write = Box<dyn FnOnce(&mut Message)>;

struct Expression(&'static str, Write);

impl std::fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Rule {
    /// Only packets of the family of this address (in a table of both).
    pub(crate) fn family_of(self, ip: IpAddr) -> Self {
        const IPV4: u8 = 2;
        const IPV6: u8 = 10;
        let family = if ip.is_ipv6() { IPV6 } else { IPV4 };
        self.meta(META_FAMILY).compare(EQUAL, vec![family])
    }

    /// Only packets that come from another link than the loopback device.
    pub(crate) fn not_by_loopback(self) -> Self {
        // ARPHRD_LOOPBACK of linux/if_arp.h.
        const LOOPBACK: u16 = 772;
        self.meta(META_LINK_TYPE).compare(NOT_EQUAL, LOOPBACK.to_ne_bytes().to_vec())
    }

    /// Only packets from or to exactly this address.
    pub(crate) fn address_is(self, side: Side, ip: IpAddr) -> Self {
        self.load_address(side, ip).compare(EQUAL, octets(ip))
    }

    /// Only packets from or to this network, or only others.
    pub(crate) fn in_network(self, side: Side, (ip, prefix): (IpAddr, u8), inside: bool) -> Self {
        let mask = mask(ip, prefix);
        let network = octets(ip).iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
        let operator = if inside { EQUAL } else { NOT_EQUAL };
        self.load_address(side, ip).masked(mask).compare(operator, network)
    }

    /// Only packets to an address of this machine.
    pub(crate) fn destination_is_local(self) -> Self {
        let fib = self.with("fib", |data| {
            data.put_be32(1, FIRST).put_be32(2, FIB_TYPE).put_be32(3, FIB_DESTINATION);
        });
        fib.compare(EQUAL, ROUTE_LOCAL.to_ne_bytes().to_vec())
    }

    /// Only packets to this port of a transport, by its number.
    pub(crate) fn destination_port(self, transport: u8, port: u16) -> Self {
        let transported = self.meta(META_PROTOCOL).compare(EQUAL, vec![transport]);
        let loaded = transported.with("payload", |data| {
            data.put_be32(1, FIRST).put_be32(2, TRANSPORT_HEADER);
            data.put_be32(3, 2).put_be32(4, 2);
        });
        loaded.compare(EQUAL, port.to_be_bytes().to_vec())
    }

    /// They get this destination.
    pub(crate) fn redirect(self, ip: IpAddr, port: u16) -> Self {
        let family = if ip.is_ipv6() { 10 } else { 2 };
        self.immediate(FIRST, octets(ip)).immediate(SECOND, port.to_be_bytes().to_vec()).with(
            "nat",
            move |data| {
                data.put_be32(1, NAT_DESTINATION).put_be32(2, family);
                data.put_be32(3, FIRST).put_be32(4, FIRST);
                data.put_be32(5, SECOND).put_be32(6, SECOND);
            },
        )
    }

    /// They get the address of the link by which they leave as their source.
    pub(crate) fn masquerade(self) -> Self {
        self.with("masq", |_| {})
    }

    /// They take this way.
    pub(crate) fn verdict(self, verdict: Verdict<'_>) -> Self {
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Return => (-5, None),
            Verdict::Jump(chain) => (-3, Some(chain.to_owned())),
            Verdict::Goto(chain) => (-4, Some(chain.to_owned())),
        };
        self.with("immediate", move |data| {
            data.put_be32(1, VERDICT).nest(2, |value| {
                value.nest(DATA_VERDICT, |verdict| {
                    verdict.put(VERDICT_CODE, &i32::to_be_bytes(code));
                    if let Some(chain) = &chain {
                        verdict.put_text(VERDICT_CHAIN, chain);
                    }
                });
            });
        })
    }

    /// Writes the expressions as the elements of the attribute that is open.
    pub(crate) fn write(self, message: &mut Message) {
        for Expression(name, write) in self.0 {
            message.nest(LIST_ELEMENT, |element| {
                element.put_text(EXPRESSION_NAME, name).nest(EXPRESSION_DATA, write);
            });
        }
    }

    fn with(mut self, name: &'static str, write: impl FnOnce(&mut Message) + 'static) -> Self {
        self.0.push(Expression(name, Box::new(write)));
        self
    }

    fn meta(self, key: u32) -> Self {
        self.with("meta", move |data| {
            data.put_be32(1, FIRST).put_be32(2, key);
        })
    }

    fn load_address(self, side: Side, ip: IpAddr) -> Self {
        let (source, length) = if ip.is_ipv6() { (8, 16) } else { (12, 4) };
        let offset = match side {
            Side::Source => source,
            Side::Destination => source + length,
        };
        self.with("payload", move |data| {
            data.put_be32(1, FIRST).put_be32(2, NETWORK_HEADER);
            data.put_be32(3, offset).put_be32(4, length);
        })
    }

    fn compare(self, operator: u32, value: Vec<u8>) -> Self {
        self.with("cmp", move |data| {
            data.put_be32(1, FIRST).put_be32(2, operator);
            data.nest(3, |inner| {
                inner.put(DATA_VALUE, &value);
            });
        })
    }

    fn masked(self, mask: Vec<u8>) -> Self {
        self.with("bitwise", move |data| {
            let length = u32::try_from(mask.len()).unwrap_or(0);
            data.put_be32(1, FIRST).put_be32(2, FIRST).put_be32(3, length);
            data.nest(4, |inner| {
                inner.put(DATA_VALUE, &mask);
            });
            data.nest(5, |inner| {
                inner.put(DATA_VALUE, &vec![0; mask.len()]);
            });
        })
    }

    fn immediate(self, register: u32, value: Vec<u8>) -> Self {
        self.with("immediate", move |data| {
            data.put_be32(1, register).nest(2, |inner| {
                inner.put(DATA_VALUE, &value);
            });
        })
    }
}

/// The mask of so many bits, as long as the address.
fn mask(ip: IpAddr, prefix: u8) -> Vec<u8> {
    let all = if ip.is_ipv6() { 128 } else { 32u32 };
    let bits = u128::MAX.checked_shl(all.saturating_sub(prefix.into())).unwrap_or(0);
    let bytes = bits.to_be_bytes();
    let length = usize::from(if ip.is_ipv6() { 16u8 } else { 4 });
    bytes.get(16 - length..).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_as_many_bits_as_prefixes() {
        let v4 = IpAddr::from([10, 0, 0, 0]);
        assert_eq!(mask(v4, 20), [255, 255, 240, 0]);
        assert_eq!((mask(v4, 0), mask(v4, 32)), (vec![0; 4], vec![255; 4]));
        let v6 = IpAddr::from([0u16; 8]);
        assert_eq!(mask(v6, 64)[7..9], [255, 0]);
        assert_eq!(mask(v6, 0), vec![0; 16]);
    }
}
