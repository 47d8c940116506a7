//! Header blocks of SPDY/3: pairs of names and values, compressed over the whole session.

use flate2::{Decompress, FlushDecompress};

use super::{
    dictionary::dictionary,
    frame::{Violation, number},
};

/// Bytes that a block may unpack to.
const UNPACKED_MAX: usize = 16 << 10;
/// Pairs in a block.
const PAIRS_MAX: u32 = 64;

/// Headers of a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of a name, which is lower case in SPDY.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Unpacks the blocks of one session, in their order: each refers to the ones before.
pub(super) struct Unpacker {
    zlib: Decompress,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self { zlib: Decompress::new(true) }
    }

    /// Unpacks a block and reads its pairs.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, Violation> {
        let unpacked = self.unpack(block)?;
        pairs(&unpacked)
    }

    fn unpack(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut unpacked = Vec::with_capacity(512);
        loop {
            let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
            let result = self.zlib.decompress_vec(block, &mut unpacked, FlushDecompress::Sync);
            let taken = usize::try_from(self.zlib.total_in() - read).unwrap_or(usize::MAX);
            block = block.get(taken..).unwrap_or_default();
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.zlib
                        .set_dictionary(&dictionary())
                        .map_err(|_| Violation("headers packed with another dictionary"))?;
                    continue;
                }
                Err(_) => return Err(Violation("headers that cannot be unpacked")),
                Ok(_) => {}
            }
            if unpacked.len() < unpacked.capacity() {
                // What is left after a pass that had room is what zlib has no use for.
                let progress = taken > 0 || self.zlib.total_out() > written;
                if block.is_empty() || !progress {
                    return Ok(unpacked);
                }
            } else if unpacked.len() >= UNPACKED_MAX {
                return Err(Violation("too many headers"));
            } else {
                unpacked.reserve(unpacked.capacity());
            }
        }
    }
}

fn pairs(mut block: &[u8]) -> Result<Headers, Violation> {
    let count = number(&mut block)?;
    if count > PAIRS_MAX {
        return Err(Violation("too many headers"));
    }
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((text(&mut block)?, text(&mut block)?));
    }
    if block.is_empty() { Ok(Headers(pairs)) } else { Err(Violation("bytes after the headers")) }
}

fn text(block: &mut &[u8]) -> Result<String, Violation> {
    let length = usize::try_from(number(block)?).unwrap_or(usize::MAX);
    let (text, rest) =
        block.split_at_checked(length).ok_or(Violation("a header longer than its frame"))?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Violation("a header that is not text"))
}

/// Packs the blocks we send. They are empty, so the stream holds them as they are: no compressor,
/// whose tables would be the largest thing in a session.
#[derive(Debug, Default)]
pub(super) struct Packer {
    begun: bool,
}

impl Packer {
    /// The next block without a pair.
    pub(super) fn empty(&mut self) -> Vec<u8> {
        // RFC 1950: deflate, 32 KiB window, no dictionary. RFC 1951: a stored block with the number of
        // pairs, and an empty one, which makes the other side hand out what it has.
        let mut block = if self.begun { Vec::new() } else { vec![0x78, 0x01] };
        self.begun = true;
        block.extend_from_slice(&[0x00, 0x04, 0x00, 0xfb, 0xff]);
        block.extend_from_slice(&0_u32.to_be_bytes());
        block.extend_from_slice(&[0x00, 0x00, 0x00, 0xff, 0xff]);
        block
    }
}
