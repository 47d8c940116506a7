//! Netlink messages: a header, a fixed part, attributes that may be nested; all lengths checked.

use std::io;

use rustix::io::Errno;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// `NLA_F_NESTED`, and the bits of an attribute's type that are flags.
const NESTED: u16 = 1 << 15;
const FLAGS: u16 = 3 << 14;

/// This is a request.
pub(crate) const REQUEST: u16 = 1;
/// Answer even when all is well.
pub(crate) const ACK: u16 = 4;
/// All objects, not one.
pub(crate) const DUMP: u16 = 0x300;
/// It must not exist yet.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// Make it.
pub(crate) const CREATE: u16 = 0x400;
/// Behind those that exist.
pub(crate) const APPEND: u16 = 0x800;

/// A message that is being written.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    /// An attribute did not fit its length.
    overflow: bool,
}

impl Message {
    /// A message of a kind, with the fixed part that this kind has.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        pad(&mut bytes);
        Self { bytes, overflow: false }
    }

    /// An attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend(value);
        self.close(start);
        self
    }

    /// An attribute of attributes.
    pub(crate) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(kind | NESTED);
        inside(self);
        self.close(start);
        self
    }

    /// An attribute that holds a fixed part before further attributes.
    pub(crate) fn nest_plain(
        &mut self,
        kind: u16,
        fixed: &[u8],
        inside: impl FnOnce(&mut Self),
    ) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend(fixed);
        pad(&mut self.bytes);
        inside(self);
        self.close(start);
        self
    }

    /// A number in the machine's order (rtnetlink).
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A number in the network's order (nfnetlink).
    pub(crate) fn put_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// A text with the zero byte that the kernel wants.
    pub(crate) fn put_text(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend(value.bytes());
        self.bytes.push(0);
        self.close(start);
        self
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len().saturating_sub(start);
        match (u16::try_from(length), self.bytes.get_mut(start..start + 2)) {
            (Ok(length), Some(place)) => place.copy_from_slice(&length.to_ne_bytes()),
            _ => self.overflow = true,
        }
        pad(&mut self.bytes);
    }

    /// Adds flags.
    pub(crate) fn set_flags(&mut self, flags: u16) {
        if let Some(place) = self.bytes.get_mut(6..8) {
            for (byte, more) in place.iter_mut().zip(flags.to_ne_bytes()) {
                *byte |= more;
            }
        }
    }

    /// The message with its length and number, to be sent.
    pub(crate) fn finish(mut self, number: u32) -> io::Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).map_err(|_| Errno::MSGSIZE)?;
        if self.overflow {
            return Err(Errno::MSGSIZE.into());
        }
        for (at, value) in [(0, length), (8, number)] {
            if let Some(place) = self.bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
        }
        Ok(self.bytes)
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A message that came from the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    pub kind: u16,
    pub flags: u16,
    pub number: u32,
    /// What is behind the header.
    pub body: &'a [u8],
}

/// The messages of a datagram; what is cut short ends them.
pub(crate) fn replies(mut bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let body = bytes.get(HEADER..length)?;
        let reply = Reply {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            number: u32_at(bytes, 8)?,
            body,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(reply)
    })
}

/// The attributes behind a fixed part of so many bytes.
pub(crate) fn attributes(body: &[u8], fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(fixed.next_multiple_of(4)..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & !FLAGS;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The attribute of a kind.
pub(crate) fn find(body: &[u8], fixed: usize, kind: u16) -> Option<&[u8]> {
    attributes(body, fixed).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A text without its zero byte.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut message = Message::new(16, ACK, &[1, 2, 3]);
        message.put_text(3, "eth0").nest(5, |inner| {
            inner.put(1, &[9]).put_be32(2, 1);
        });
        let bytes = message.finish(7).unwrap();
        let all: Vec<Reply<'_>> = replies(&bytes).collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind, all[0].flags, all[0].number), (16, ACK | REQUEST, 7));
        assert_eq!(text(find(all[0].body, 3, 3).unwrap()), "eth0");
        let inner = find(all[0].body, 3, 5).unwrap();
        assert_eq!(find(inner, 0, 1), Some(&[9][..]));
        assert_eq!(find(inner, 0, 2), Some(&[0, 0, 0, 1][..]));
    }

    #[test]
    fn a_value_that_does_not_fit_its_length_is_refused() {
        let mut message = Message::new(1, 0, &[]);
        message.put(1, &vec![0; 1 << 16]);
        assert_eq!(Errno::from_io_error(&message.finish(1).unwrap_err()), Some(Errno::MSGSIZE));
    }

    #[test]
    fn rubbish_is_read_without_harm() {
        for length in 0..64u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37) % 19).collect();
            replies(&bytes).for_each(drop);
            attributes(&bytes, 4).for_each(drop);
        }
        assert_eq!(replies(&[0; 32]).count(), 0);
        assert_eq!(attributes(&[0; 32], 0).count(), 0);
    }
}
