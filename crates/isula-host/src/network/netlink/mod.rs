//! Netlink: messages, a socket, and what of rtnetlink, nf_tables and conntrack the built-in plugins
//! need.
//!
//! Written here because it is small: the crates for nf_tables are bindings of C libraries or under
//! the GPL, and those for rtnetlink bring an async stack of their own.

pub(super) mod conntrack;
pub(super) mod message;
pub(super) mod nft;
pub(super) mod route;
pub(super) mod rule;
mod socket;

pub(super) use socket::Socket;
