//! Inflating: gzip, zstd and xz, told apart by their first bytes, or nothing.

use std::io::{self, BufRead, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

/// The most memory an xz stream may ask for (`xz -9` asks for 65 MiB), in KiB.
const XZ_MEMORY: u32 = 100 << 10;
/// The largest window a zstd stream may ask for, as a power of two (what the tools accept).
const ZSTD_WINDOW: u32 = 27;

/// The bytes behind a stream that may be compressed.
pub(crate) enum Inflated<R: BufRead> {
    Plain(Prefixed<R>),
    Gzip(Box<MultiGzDecoder<Prefixed<R>>>),
    Zstd(Box<zstd::Decoder<'static, Prefixed<R>>>),
    Xz(Box<XzReader<Prefixed<R>>>),
}

/// A reader before which some bytes were put back.
pub(crate) type Prefixed<R> = io::Chain<Cursor<Vec<u8>>, R>;

impl<R: BufRead> Inflated<R> {
    /// Looks at the first bytes of the input.
    ///
    /// # Errors
    /// As the input's.
    pub(crate) fn new(mut input: R) -> io::Result<Self> {
        let mut magic = Vec::with_capacity(6);
        input.by_ref().take(6).read_to_end(&mut magic)?;
        let is = |start: &[u8]| magic.starts_with(start);
        let (gzip, zstd, xz) = (
            is(&[0x1f, 0x8b]),
            is(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable(&magic),
            is(b"\xfd7zXZ\0"),
        );
        let input = Cursor::new(magic).chain(input);
        Ok(if gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(input)))
        } else if zstd {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Self::Zstd(Box::new(decoder))
        } else if xz {
            Self::Xz(Box::new(XzReader::new_mem_limit(input, true, XZ_MEMORY)))
        } else {
            Self::Plain(input)
        })
    }
}

/// zstd's skippable frames (RFC 8878, 3.1.2), with which some compressors begin.
fn is_skippable(magic: &[u8]) -> bool {
    matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer).map_err(malformed),
            Self::Xz(decoder) => decoder.read(buffer).map_err(malformed),
        }
    }
}

/// A decoder's own complaint is about the bytes, whatever kind it has; an error that came up from
/// the reader below (it has a number of the system, or is of our own making) is left alone.
fn malformed(error: io::Error) -> io::Error {
    let ours = error.get_ref().is_some_and(|inner| inner.is::<isula_core::error::PortError>());
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::OutOfMemory | io::ErrorKind::Unsupported
            if !ours && error.raw_os_error().is_none() =>
        {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::Inflated;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn inflate(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Inflated::new(bytes)?.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn each_compression_is_recognised_and_members_are_joined() {
        let text = b"a tar, perhaps".repeat(1000);
        let zstd = || zstd::encode_all(&text[..], 1).unwrap();
        for bytes in [text.clone(), gzip(&text), zstd(), xz(&text)] {
            assert_eq!(inflate(&bytes).unwrap(), text);
        }
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd()].concat();
        assert_eq!(inflate(&skippable).unwrap(), text);
        let (first, second) = text.split_at(777);
        for joined in [
            [gzip(first), gzip(second)].concat(),
            [xz(first), xz(second)].concat(),
            [zstd::encode_all(first, 1).unwrap(), zstd::encode_all(second, 1).unwrap()].concat(),
        ] {
            assert_eq!(inflate(&joined).unwrap(), text);
        }
        for short in [&b""[..], b"a", b"\x1f"] {
            assert_eq!(inflate(short).unwrap(), short);
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_or_damaged_is_an_error() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for whole in [gzip(&text), zstd::encode_all(&text[..], 1).unwrap(), xz(&text)] {
            assert!(inflate(&whole[..whole.len() - 3]).is_err());
            assert!(inflate(&whole[..whole.len() / 2]).is_err());
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 0x55;
            let damaged = inflate(&flipped);
            // zstd has a checksum only where its writer wished so; the digest catches the rest.
            assert!(damaged.is_err() || damaged.unwrap() != text);
        }
    }
}
