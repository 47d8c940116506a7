//! Frames of SPDY/3.1: the eight bytes they begin with, and the ones we write.
//!
//! ```text
//! control  1 | version 15 | type 16        data  0 | stream 31
//!          flags 8 | length 24                   flags 8 | length 24
//! ```

use bytes::{BufMut, BytesMut};

/// The last frame of a stream in its direction.
pub(super) const FIN: u8 = 0x01;
/// Bytes of the beginning of a frame.
pub(super) const HEAD: usize = 8;
/// Bytes of data in a frame of ours.
pub(super) const DATA_MAX: usize = 16 << 10;

const VERSION: u16 = 3;
const CONTROL: u32 = 0x8000_0000;

/// What a control frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    SynStream,
    SynReply,
    Reset,
    Settings,
    Ping,
    GoAway,
    Headers,
    WindowUpdate,
    /// To be passed over (section 2.2.1: "a receiver MUST ignore" unknown types).
    Unknown,
}

/// The beginning of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Control { kind: Kind, flags: u8, length: usize },
    Data { stream: u32, flags: u8, length: usize },
}

/// Why a stream or a session ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Refused = 3,
    Cancelled = 5,
    Internal = 6,
}

/// The peer does not speak SPDY/3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client broke the protocol: {0}")]
pub(super) struct Violation(pub &'static str);

/// Reads the beginning of a frame.
pub(super) fn head(bytes: [u8; HEAD]) -> Result<Head, Violation> {
    let [a, b, c, d, flags, e, f, g] = bytes;
    let word = u32::from_be_bytes([a, b, c, d]);
    let length = usize::from(e) << 16 | usize::from(f) << 8 | usize::from(g);
    if word & CONTROL == 0 {
        return Ok(Head::Data { stream: word, flags, length });
    }
    if u16::from_be_bytes([a & 0x7f, b]) != VERSION {
        return Err(Violation("a frame of another version"));
    }
    let kind = match u16::from_be_bytes([c, d]) {
        1 => Kind::SynStream,
        2 => Kind::SynReply,
        3 => Kind::Reset,
        4 => Kind::Settings,
        6 => Kind::Ping,
        7 => Kind::GoAway,
        8 => Kind::Headers,
        9 => Kind::WindowUpdate,
        _ => Kind::Unknown,
    };
    Ok(Head::Control { kind, flags, length })
}

/// Takes a 32-bit number off the front.
pub(super) fn number(bytes: &mut &[u8]) -> Result<u32, Violation> {
    let (first, rest) = bytes.split_first_chunk::<4>().ok_or(Violation("a frame too short"))?;
    *bytes = rest;
    Ok(u32::from_be_bytes(*first))
}

/// Takes the number of a stream off the front.
pub(super) fn stream_number(bytes: &mut &[u8]) -> Result<u32, Violation> {
    number(bytes).map(|word| word & !CONTROL)
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, length: u32) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u32(u32::from(flags) << 24 | (length & 0x00ff_ffff));
}

/// Begins a data frame; the bytes follow.
pub(super) fn data(out: &mut BytesMut, stream: u32, flags: u8, length: usize) {
    let length = u32::try_from(length).unwrap_or_default();
    out.put_u32(stream & !CONTROL);
    out.put_u32(u32::from(flags) << 24 | (length & 0x00ff_ffff));
}

/// Accepts a stream; `block` are the compressed headers.
pub(super) fn reply(out: &mut BytesMut, stream: u32, block: &[u8]) {
    control(out, 2, 0, u32::try_from(block.len() + 4).unwrap_or_default());
    out.put_u32(stream);
    out.put_slice(block);
}

/// Ends a stream at once.
pub(super) fn reset(out: &mut BytesMut, stream: u32, reason: Reason) {
    control(out, 3, 0, 8);
    out.put_u32(stream);
    out.put_u32(reason as u32);
}

/// Answers a ping.
pub(super) fn ping(out: &mut BytesMut, id: u32) {
    control(out, 6, 0, 4);
    out.put_u32(id);
}

/// Says that no stream is accepted any more.
pub(super) fn go_away(out: &mut BytesMut, last: u32, broken: bool) {
    control(out, 7, 0, 8);
    out.put_u32(last);
    out.put_u32(u32::from(broken));
}

/// Allows the peer to send more.
pub(super) fn window_update(out: &mut BytesMut, stream: u32, bytes: u32) {
    control(out, 9, 0, 8);
    out.put_u32(stream);
    out.put_u32(bytes);
}
