//! Hashing bytes on their way.

use std::io::{self, BufRead, Read};

use isula_core::image::Digest;
use sha2::{Digest as _, Sha256};

/// Large enough to make system calls and calls into the hash rare, small enough for the
/// processor's second-level cache.
const BUFFER: usize = 128 << 10;

/// The digest of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// Hashes bytes that are written.
#[derive(Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::from_sha256(self.0.finalize().into())
    }
}

/// A buffer that hashes and counts what is read through it.
pub(crate) struct Hashing<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    hash: Sha256,
    count: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(input: R) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { input, buffer, start: 0, end: 0, hash: Sha256::new(), count: 0 }
    }

    /// Reads to the end, and gives the digest and the number of all bytes.
    ///
    /// # Errors
    /// As the input's.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64)> {
        loop {
            match self.fill_buf()?.len() {
                0 => return Ok((Digest::from_sha256(self.hash.finalize().into()), self.count)),
                length => self.consume(length),
            }
        }
    }
}

impl<R: Read> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end {
            (self.start, self.end) = (0, 0);
            match self.input.read(&mut self.buffer) {
                Ok(length) => {
                    self.end = length.min(self.buffer.len());
                    let fresh = self.buffer.get(..self.end).unwrap_or_default();
                    self.hash.update(fresh);
                    self.count += fresh.len() as u64;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// What more bytes than expected mean.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Excess {
    /// The bytes contradict what was said of them.
    Malformed(&'static str),
    /// A limit of ours.
    TooLarge(&'static str),
}

/// Refuses bytes beyond a limit: the reader fails instead of passing them on.
pub(crate) struct AtMost<R> {
    input: R,
    left: u64,
    excess: Excess,
    exceeded: bool,
}

impl<R> AtMost<R> {
    pub(crate) fn new(input: R, limit: u64, excess: Excess) -> Self {
        Self { input, left: limit, excess, exceeded: false }
    }
}

impl<R: Read> Read for AtMost<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            self.exceeded = self.exceeded || self.input.read(&mut [0])? > 0;
            return match (self.exceeded, self.excess) {
                (false, _) => Ok(0),
                (true, Excess::Malformed(why)) => {
                    Err(io::Error::new(io::ErrorKind::InvalidData, why))
                }
                (true, Excess::TooLarge(why)) => {
                    Err(io::Error::new(io::ErrorKind::FileTooLarge, why))
                }
            };
        }
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.input.read(buffer.get_mut(..limit).unwrap_or_default())?;
        self.left -= length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{AtMost, Excess, Hashing, digest};

    #[test]
    fn the_digest_is_of_all_bytes_whether_they_were_read_or_not() {
        let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut reader = Hashing::new(&bytes[..]);
        let mut start = [0; 1000];
        reader.read_exact(&mut start).unwrap();
        assert_eq!(reader.finish().unwrap(), (digest(&bytes), 2_000_000));
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b"").as_str(), empty);
    }

    #[test]
    fn one_byte_beyond_the_limit_is_an_error() {
        let (mut text, long) = (String::new(), Excess::Malformed("too long"));
        AtMost::new(&b"abc"[..], 3, long).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        let error = AtMost::new(&b"abcd"[..], 3, long).read_to_string(&mut text).unwrap_err();
        assert_eq!(error.to_string(), "too long");
    }
}
