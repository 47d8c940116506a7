//! nf_tables: transactions of tables, chains and rules, and the rules of a chain by their comment.

use std::io;

use rustix::io::Errno;

use super::{
    message::{ACK, APPEND, CREATE, Message, find, text},
    rule::Rule,
    socket::{Socket, netfilter},
};

const NFTABLES: u16 = 10 << 8;
const NEWTABLE: u16 = NFTABLES;
const NEWCHAIN: u16 = NFTABLES | 3;
const NEWRULE: u16 = NFTABLES | 6;
const GETRULE: u16 = NFTABLES | 7;
const DELRULE: u16 = NFTABLES | 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
/// Length of `struct nfgenmsg`.
const GENERAL: usize = 4;
/// The most that a comment may have (libnftnl).
const COMMENT: usize = 127;

/// What addresses the rules of a table are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Both.
    Inet = 1,
    V4 = 2,
    V6 = 10,
}

/// A table of nf_tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    pub family: Family,
    pub name: &'static str,
}

/// Where packets enter a chain by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

impl Hook {
    /// Addresses are translated at these priorities (`dstnat`, `srcnat`).
    fn priority(self) -> i32 {
        match self {
            Self::Prerouting | Self::Output => -100,
            Self::Postrouting => 100,
        }
    }
}

/// Before connections are looked at (`raw`).
const FIRST_OF_ALL: i32 = -300;

/// Changes that are made all at once or not at all.
#[derive(Debug)]
pub(crate) struct Transaction {
    table: Table,
    messages: Vec<Message>,
}

impl Table {
    /// Begins a transaction on this table.
    pub(crate) fn change(self) -> Transaction {
        Transaction { table: self, messages: vec![batch(BATCH_BEGIN)] }
    }

    /// Handles and comments of the rules of a chain; none when there is no such chain.
    fn rules(self, socket: &Socket, chain: &str) -> io::Result<Vec<(Vec<u8>, String)>> {
        let header = [self.family as u8, 0, 0, 0];
        let refine = |message: &mut Message| {
            message.put_text(RULE_TABLE, self.name).put_text(RULE_CHAIN, chain);
        };
        let read = |body: &[u8]| {
            let of =
                |kind, name: &str| find(body, GENERAL, kind).map(text).as_deref() == Some(name);
            if !of(RULE_TABLE, self.name) || !of(RULE_CHAIN, chain) {
                return None;
            }
            let handle = find(body, GENERAL, RULE_HANDLE)?.to_vec();
            let comment = find(body, GENERAL, RULE_USERDATA).and_then(comment).unwrap_or_default();
            Some((handle, comment))
        };
        match socket.list((GETRULE, &header), refine, read) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(Vec::new()),
            other => other,
        }
    }

    /// How many rules of a chain have a comment that `wanted` takes.
    pub(crate) fn count(self, chain: &str, wanted: impl Fn(&str) -> bool) -> io::Result<usize> {
        let rules = netfilter(|socket| self.rules(socket, chain))?;
        Ok(rules.iter().filter(|(_, comment)| wanted(comment)).count())
    }

    /// Removes the rules of these chains whose comment `wanted` takes.
    pub(crate) fn remove_rules(
        self,
        chains: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        netfilter(|socket| {
            let mut removal = self.change();
            for chain in chains {
                for (handle, _) in self.rules(socket, chain)?.iter().filter(|(_, c)| wanted(c)) {
                    let mut message = Message::new(DELRULE, 0, &removal.header());
                    message.put_text(RULE_TABLE, self.name).put_text(RULE_CHAIN, chain);
                    message.put(RULE_HANDLE, handle);
                    removal.messages.push(message);
                }
            }
            if removal.messages.len() == 1 { Ok(()) } else { removal.send(socket) }
        })
    }
}

impl Transaction {
    /// The table is there.
    pub(crate) fn table(mut self) -> Self {
        let mut message = Message::new(NEWTABLE, CREATE, &self.header());
        message.put_text(1, self.table.name);
        self.messages.push(message);
        self
    }

    /// A chain is there, that others lead to.
    pub(crate) fn chain(mut self, name: &str) -> Self {
        let mut message = Message::new(NEWCHAIN, CREATE, &self.header());
        message.put_text(CHAIN_TABLE, self.table.name).put_text(CHAIN_NAME, name);
        self.messages.push(message);
        self
    }

    /// A chain is there, that packets enter at a hook to have their addresses translated.
    pub(crate) fn hook(self, name: &str, hook: Hook) -> Self {
        self.base(name, "nat", (hook, hook.priority()))
    }

    /// A chain is there, that packets enter first of all, to be dropped or not.
    pub(crate) fn filter(self, name: &str) -> Self {
        self.base(name, "filter", (Hook::Prerouting, FIRST_OF_ALL))
    }

    fn base(mut self, name: &str, kind: &str, (hook, priority): (Hook, i32)) -> Self {
        let mut message = Message::new(NEWCHAIN, CREATE, &self.header());
        message.put_text(CHAIN_TABLE, self.table.name).put_text(CHAIN_NAME, name);
        message.nest(CHAIN_HOOK, |place| {
            place.put_be32(1, hook as u32).put(2, &priority.to_be_bytes());
        });
        message.put_text(CHAIN_TYPE, kind);
        self.messages.push(message);
        self
    }

    /// A chain has no rules.
    pub(crate) fn flush(mut self, chain: &str) -> Self {
        let mut message = Message::new(DELRULE, 0, &self.header());
        message.put_text(RULE_TABLE, self.table.name).put_text(RULE_CHAIN, chain);
        self.messages.push(message);
        self
    }

    /// A rule behind the others of its chain, with a comment unless it is empty.
    pub(crate) fn rule(mut self, chain: &str, rule: Rule, comment: &str) -> Self {
        let mut message = Message::new(NEWRULE, CREATE | APPEND, &self.header());
        message.put_text(RULE_TABLE, self.table.name).put_text(RULE_CHAIN, chain);
        message.nest(RULE_EXPRESSIONS, |expressions| rule.write(expressions));
        if !comment.is_empty() {
            message.put(RULE_USERDATA, &userdata(comment));
        }
        self.messages.push(message);
        self
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// `ENOENT` when the table or a chain is not there.
    pub(crate) fn commit(self) -> io::Result<()> {
        netfilter(|socket| self.send(socket))
    }

    fn send(mut self, socket: &Socket) -> io::Result<()> {
        if let Some(last) = self.messages.last_mut() {
            last.set_flags(ACK);
        }
        self.messages.push(batch(BATCH_END));
        socket.batch(self.messages)
    }

    fn header(&self) -> [u8; GENERAL] {
        [self.table.family as u8, 0, 0, 0]
    }
}

/// The message that opens or closes a transaction: its resource is nf_tables, in network order.
fn batch(kind: u16) -> Message {
    Message::new(kind, 0, &[0, 0, 0, 10])
}

/// A comment as the `nft` command reads it: kind 0, length, text with a zero byte.
fn userdata(comment: &str) -> Vec<u8> {
    let comment: Vec<u8> = comment.bytes().take(COMMENT).collect();
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![0, length];
    bytes.extend(comment);
    bytes.push(0);
    bytes
}

fn comment(mut userdata: &[u8]) -> Option<String> {
    loop {
        let (kind, length) = (*userdata.first()?, usize::from(*userdata.get(1)?));
        let value = userdata.get(2..2 + length)?;
        if kind == 0 {
            return Some(text(value));
        }
        userdata = userdata.get(2 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_read_as_it_was_written() {
        assert_eq!(comment(&userdata("abc")).as_deref(), Some("abc"));
        assert_eq!(comment(&[1, 1, 9, 0, 2, b'x', 0]).as_deref(), Some("x"));
        for broken in [&[][..], &[0], &[0, 9, 1], &[1, 200, 3]] {
            assert_eq!(comment(broken), None);
        }
        assert_eq!(comment(&userdata(&"x".repeat(300))).map(|text| text.len()), Some(COMMENT));
    }
}
