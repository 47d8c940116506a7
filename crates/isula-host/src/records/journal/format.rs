//! How records are laid out in a half of the journal, and which of them count.

use std::io;

use isula_core::id::ContainerId;
use serde::{Deserialize, Serialize};

const MAGIC: u32 = u32::from_le_bytes(*b"iSJ1");
/// Bytes in front of a payload.
pub(super) const HEADER: usize = 20;

/// One change of one container's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum Record<'a> {
    /// The record is now this.
    Put { id: &'a str, runtime: &'a str, config: &'a str, host: &'a str },
    /// The container is gone.
    Gone { id: &'a str, runtime: &'a str },
    /// The plain files are synced and newer than any record before this one.
    Direct { id: &'a str, runtime: &'a str },
}

impl Record<'_> {
    /// The container's id.
    pub(in super::super) fn id(&self) -> &str {
        match self {
            Self::Put { id, .. } | Self::Gone { id, .. } | Self::Direct { id, .. } => id,
        }
    }

    /// The bytes of the record.
    pub(in super::super) fn encode(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(io::Error::other)
    }
}

/// What is in a half.
#[derive(Debug, Default)]
pub(in super::super) struct Contents {
    /// Of the records; 0 when there are none.
    pub(super) generation: u64,
    /// The payloads in order.
    pub(in super::super) payloads: Vec<Vec<u8>>,
    /// Bytes of them with their headers.
    pub(super) length: usize,
    /// The checksum of the last.
    pub(super) chain: u32,
}

/// The container that a payload is about.
pub(super) fn id_of(payload: &[u8]) -> Option<ContainerId> {
    let record: Record<'_> = postcard::from_bytes(payload).ok()?;
    ContainerId::try_from(record.id().to_owned()).ok()
}

/// A payload with its header, and its checksum.
pub(super) fn frame(payload: &[u8], generation: u64, chain: u32) -> io::Result<(Vec<u8>, u32)> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    let crc = crc32(crc32(chain, &bytes), payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    Ok((bytes, crc))
}

/// The records of a half that count.
pub(super) fn scan(half: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let mut bytes = half;
    while let Some((generation, crc, payload, rest)) = next(bytes, contents.chain) {
        if !contents.payloads.is_empty() && generation != contents.generation {
            break;
        }
        contents.generation = generation;
        contents.chain = crc;
        contents.payloads.push(payload.to_vec());
        bytes = rest;
    }
    contents.length = half.len() - bytes.len();
    contents
}

/// Walks through the records of a half that count, one in memory at a time, and tells of each where
/// its payload is. `read_at` fills the whole buffer from a place in the half.
pub(super) fn walk(
    size: usize,
    mut read_at: impl FnMut(&mut [u8], usize) -> io::Result<()>,
    mut take: impl FnMut(usize, &[u8]),
) -> io::Result<()> {
    let (mut at, mut chain, mut of) = (0, 0, None);
    let mut bytes = Vec::new();
    while at + HEADER <= size {
        bytes.resize(HEADER, 0);
        read_at(&mut bytes, at)?;
        let length = bytes.get(4..8).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
        let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
        if length > size - at - HEADER {
            break;
        }
        bytes.resize(HEADER + length, 0);
        read_at(&mut bytes, at)?;
        let Some((generation, crc, payload, _)) = next(&bytes, chain) else { break };
        if of.is_some_and(|of| of != generation) {
            break;
        }
        take(at + HEADER, payload);
        (of, chain) = (Some(generation), crc);
        at += HEADER + length;
    }
    Ok(())
}

/// The first record of these bytes, if it is whole: generation, checksum, payload, what follows.
fn next(bytes: &[u8], chain: u32) -> Option<(u64, u32, &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let word = |from: usize| Some(u32::from_le_bytes(header.get(from..from + 4)?.try_into().ok()?));
    if word(0)? != MAGIC {
        return None;
    }
    let generation = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
    let (payload, rest) = rest.split_at_checked(usize::try_from(word(4)?).ok()?)?;
    let crc = crc32(crc32(chain, header.get(..HEADER - 4)?), payload);
    (crc == word(HEADER - 4)?).then_some((generation, crc, payload, rest))
}

/// CRC-32 (ISO-HDLC, as in gzip: RFC 1952 section 8), continued from `crc`.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                table[index] = value;
            }
            index += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| {
        let index = usize::from((crc ^ u32::from(*byte)) as u8);
        TABLE.get(index).copied().unwrap_or(0) ^ (crc >> 8)
    };
    !bytes.iter().fold(!crc, step)
}

#[cfg(test)]
mod tests {
    use super::{Contents, HEADER, crc32, frame, scan, walk};

    /// What a walk finds, which is what a scan finds.
    fn walked(half: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut found = Vec::new();
        let read_at = |buffer: &mut [u8], at: usize| {
            buffer.copy_from_slice(&half[at..at + buffer.len()]);
            Ok(())
        };
        walk(half.len(), read_at, |at, payload| found.push((at, payload.to_vec()))).unwrap();
        let payloads: Vec<&[u8]> = found.iter().map(|(_, payload)| &payload[..]).collect();
        assert_eq!(payloads, texts(&scan(half)));
        found
    }

    #[test]
    fn a_walk_finds_what_a_scan_finds_and_where() {
        let (bytes, ends) = half(&[b"one", b"", b"three", &[9; 40]], 5);
        assert_eq!(
            walked(&bytes).iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            [HEADER, ends[0] + HEADER, ends[1] + HEADER, ends[2] + HEADER,]
        );
        for cut in 0..=bytes.len() {
            let mut torn = bytes[..cut].to_vec();
            walked(&torn);
            torn.resize(bytes.len() + 100, 0);
            walked(&torn);
        }
        let (new, ends) = half(&[b"ONE"], 7);
        walked(&[&new[..], &bytes[ends[0]..]].concat());
        walked(&[0xff; 64]);
    }

    fn texts(contents: &Contents) -> Vec<&[u8]> {
        contents.payloads.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xcbf4_3926);
    }

    /// A half with these payloads, and where each record ends.
    fn half(payloads: &[&[u8]], generation: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends, mut chain) = (Vec::new(), Vec::new(), 0);
        for payload in payloads {
            let (framed, crc) = frame(payload, generation, chain).unwrap();
            bytes.extend(framed);
            ends.push(bytes.len());
            chain = crc;
        }
        (bytes, ends)
    }

    #[test]
    fn a_half_cut_at_any_byte_keeps_every_whole_record_before_the_cut() {
        let (bytes, ends) = half(&[b"one", b"", b"three", &[9; 40]], 5);
        for cut in 0..=bytes.len() {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(bytes.len() + 100, 0);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(scan(&torn).payloads.len(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_records() {
        let (bytes, ends) = half(&[b"one", b"two"], 5);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let whole = usize::from(bit / 8 >= ends[0]);
            assert_eq!(scan(&damaged).payloads.len(), whole, "bit {bit}");
        }
    }

    #[test]
    fn a_record_behind_a_torn_one_never_counts_again() {
        let (mut bytes, ends) = half(&[b"one", b"two", b"old"], 5);
        // The second was torn; another of the same length took its place.
        let first = scan(&bytes[..ends[0]]);
        let (other, _) = frame(b"TWO", 5, first.chain).unwrap();
        bytes[ends[0]..ends[1]].copy_from_slice(&other);
        assert_eq!(texts(&scan(&bytes)), [b"one", b"TWO"]);
    }

    #[test]
    fn records_of_an_older_use_of_the_half_do_not_count() {
        let (old, _) = half(&[b"one", b"two", b"tri"], 5);
        let (new, ends) = half(&[b"ONE"], 7);
        let bytes = [&new[..], &old[ends[0]..]].concat();
        assert_eq!(texts(&scan(&bytes)), [b"ONE"]);
    }
}
