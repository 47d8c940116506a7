//! Compressed streams that attack.

use std::io::Write;

use crate::{
    tarball::Tar,
    world::{
        Attack, Case,
        Wanted::{self, Refused},
    },
};

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `blocks` times 128 KiB of zeros as zstd has them: four bytes each (RFC 8878, 3.1.1.2).
fn zeros(blocks: usize) -> Vec<u8> {
    // No checksum, no size, a window of 512 KiB.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 9 << 3];
    for block in 0..blocks {
        let header = (128_u32 << 10 << 3) | (1 << 1) | u32::from(block + 1 == blocks);
        bytes.extend(&header.to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}

/// A file of `size` zeros, 16 GiB say.
pub fn bomb(size: u64) -> Vec<u8> {
    let header = Tar::default()
        .entry((b"bomb", b'0', b""), b"", |block| {
            block[124..136].copy_from_slice(format!("{size:012o}").as_bytes());
        })
        .open();
    [zstd::encode_all(&header[..], 1).unwrap(), zeros((size >> 17) as usize)].concat()
}

pub fn cases() -> Vec<Case> {
    let tar = Tar::default().file("f", &crate::server::noise(50_000)).end();
    let good = gzip(&tar);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= byte;
        bytes
    };
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    let mut window = zstd.clone();
    // The frame header asks for a window of 2^41 bytes.
    window[4..6].copy_from_slice(&[0, 0xff]);
    let mut xz = lzma_rust2::XzOptions::with_preset(0);
    xz.lzma_options.dict_size = 512 << 20;
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), xz).unwrap();
    writer.write_all(&tar).unwrap();
    let xz = writer.finish().unwrap();
    let empty = gzip(b"").repeat(100_000);
    let zeros_after = [zstd.clone(), zeros(1 << 17)].concat();
    let padded = [&tar[..], &vec![0; 4 << 20]].concat();
    let cases: Vec<(&str, Vec<u8>, Wanted)> = vec![
        ("a gzip stream that is cut off", good[..good.len() / 2].to_vec(), Refused("")),
        ("a gzip stream without its sum", good[..good.len() - 4].to_vec(), Refused("")),
        ("a gzip stream with a wrong sum", changed(good.len() - 6, 0x55), Refused("")),
        ("a gzip stream with a wrong byte", changed(good.len() / 2, 0x55), Refused("")),
        (
            "a gzip header with endless name",
            [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &[b'n'; 1 << 20]].concat(),
            Refused(""),
        ),
        ("garbage after a gzip stream", [&good[..], b"garbage garbage"].concat(), Refused("")),
        ("gzip within gzip", gzip(&good), Refused("")),
        ("a hundred thousand empty gzip streams", empty, Refused("cut off")),
        ("a zstd stream that is cut off", zstd[..zstd.len() / 2].to_vec(), Refused("")),
        ("a zstd window of terabytes", window, Refused("")),
        ("an xz dictionary of 512 MiB", xz, Refused("")),
        ("a bomb of 16 GiB", bomb(16 << 30), Refused("larger than the limit")),
        ("16 GiB of zeros and nothing else", zeros(1 << 17), Refused("larger than the limit")),
        ("16 GiB of zeros after the end", zeros_after, Refused("larger than the limit")),
        ("no archive at all", b"#!/bin/sh\necho hello\n".repeat(100), Refused("")),
        ("a web page", b"<html><body>Please log in</body></html>".to_vec(), Refused("")),
        ("an archive with padding", padded, Wanted::Safe),
    ];
    let case = |(name, bytes, wanted)| Case { name, attack: Attack::Import(bytes), wanted };
    cases.into_iter().map(case).collect()
}
