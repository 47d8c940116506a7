//! Headers of a tar: ustar, with a pax header before it for what does not fit (POSIX pax,
//! "ustar Interchange Format" and "pax Extended Header").

use std::io::{self, Write};

use crate::archive::{Entry, Kind};

const BLOCK: usize = 512;
/// Zeros for padding and for the end mark.
pub(crate) const ZEROS: [u8; 1024] = [0; 1024];
/// The first number that eight and eleven octal digits can't hold.
const SHORT: u64 = 1 << 21;
const LONG: u64 = 1 << 33;

/// Writes the headers of an entry; its data, if it is a file, is the caller's to write and pad.
///
/// # Errors
/// As the output's.
pub(crate) fn write(entry: &Entry, output: &mut impl Write) -> io::Result<()> {
    let records = records(entry);
    if !records.is_empty() {
        let name = entry.path.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty());
        let name = [b"PaxHeaders/", name.unwrap_or(b"root")].concat();
        let mut block = Block::new(&name, b'x');
        block.number(100, 8, 0o644);
        block.number(124, 12, records.len() as u64);
        output.write_all(&block.finish())?;
        output.write_all(&records)?;
        output.write_all(padding(records.len() as u64))?;
    }
    let (flag, link) = match &entry.kind {
        Kind::File { .. } => (b'0', &[][..]),
        Kind::Hardlink(target) => (b'1', target.as_slice()),
        Kind::Symlink(text) => (b'2', text.as_slice()),
        Kind::Character(..) => (b'3', &[][..]),
        Kind::Block(..) => (b'4', &[][..]),
        Kind::Directory => (b'5', &[][..]),
        Kind::Fifo => (b'6', &[][..]),
    };
    let mut block = Block::new(&entry.path, flag);
    block.number(100, 8, entry.mode.into());
    block.number(108, 8, entry.uid.into());
    block.number(116, 8, entry.gid.into());
    if let Kind::File { size, .. } = entry.kind {
        block.number(124, 12, size);
    }
    block.number(136, 12, u64::try_from(entry.modified.0).unwrap_or(0));
    block.text(157, 100, link);
    if let Kind::Character(major, minor) | Kind::Block(major, minor) = entry.kind {
        block.number(329, 8, major.into());
        block.number(337, 8, minor.into());
    }
    output.write_all(&block.finish())
}

/// The zeros after so many bytes of data.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    ZEROS.get(..(BLOCK - over) % BLOCK).unwrap_or_default()
}

/// The pax records of what a ustar header can't say.
fn records(entry: &Entry) -> Vec<u8> {
    let mut all = Vec::new();
    if entry.path.len() > 100 {
        record(&mut all, b"path", &entry.path);
    }
    if let Kind::Hardlink(text) | Kind::Symlink(text) = &entry.kind
        && text.len() > 100
    {
        record(&mut all, b"linkpath", text);
    }
    if let Kind::File { size, .. } = entry.kind
        && size >= LONG
    {
        record(&mut all, b"size", size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(id) >= SHORT {
            record(&mut all, key, id.to_string().as_bytes());
        }
    }
    let (seconds, nanoseconds) = entry.modified;
    if nanoseconds > 0 || u64::try_from(seconds).is_ok_and(|seconds| seconds >= LONG) || seconds < 0
    {
        record(&mut all, b"mtime", time(seconds, nanoseconds).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut all, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    all
}

/// Decimal seconds. The nanoseconds of a time before 1970 count forwards, the digits backwards.
fn time(seconds: i64, nanoseconds: u32) -> String {
    match (seconds < 0, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (false, _) => format!("{seconds}.{nanoseconds:09}"),
        (true, _) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(all: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    all.extend_from_slice(length.to_string().as_bytes());
    for part in [&b" "[..], key, b"=", value, b"\n"] {
        all.extend_from_slice(part);
    }
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(name: &[u8], flag: u8) -> Self {
        let mut block = Self([0; BLOCK]);
        block.text(0, 100, name);
        block.text(156, 1, &[flag]);
        block.text(257, 8, b"ustar\x0000");
        for at in [100, 108, 116, 329, 337] {
            block.number(at, 8, 0);
        }
        block.number(124, 12, 0);
        block.number(136, 12, 0);
        block
    }

    fn text(&mut self, at: usize, length: usize, text: &[u8]) {
        let length = text.len().min(length);
        if let (Some(field), Some(text)) = (self.0.get_mut(at..at + length), text.get(..length)) {
            field.copy_from_slice(text);
        }
    }

    /// Octal digits and a NUL; what is too large is in a pax record, and 0 here.
    fn number(&mut self, at: usize, length: usize, value: u64) {
        let width = length - 1;
        let text = format!("{value:0width$o}");
        let text = if text.len() > width { format!("{:0width$o}", 0) } else { text };
        self.text(at, width, text.as_bytes());
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.text(148, 8, b"        ");
        let sum: u32 = self.0.iter().copied().map(u32::from).sum();
        self.text(148, 8, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}
