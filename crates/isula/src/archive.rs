//! Archives of directories: an OCI layout on its way to the daemon, and one that comes from there.
//!
//! Only what such a layout has is known: plain files below plain directories. Names from the daemon
//! are checked, so that nothing is written beside the directory that was asked for.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

const BLOCK: usize = 512;
/// Numbers of eleven octal digits end here.
const LARGE: u64 = 1 << 33;

/// The files of a layout as a tar.
pub struct Packer {
    files: VecDeque<(String, PathBuf)>,
    /// Headers and padding that are to be read next.
    pending: Vec<u8>,
    current: Option<(io::Take<File>, u64)>,
    ended: bool,
}

impl Packer {
    /// Of the OCI layout in this directory.
    ///
    /// # Errors
    /// It is none, or can't be read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        if !dir.join("oci-layout").is_file() {
            return Err(io::Error::other("it is a directory, and no OCI layout"));
        }
        let mut files: VecDeque<_> = ["oci-layout", "index.json"]
            .into_iter()
            .map(|name| (name.to_owned(), dir.join(name)))
            .collect();
        let blobs = dir.join("blobs");
        for algorithm in fs::read_dir(blobs)? {
            let algorithm = algorithm?;
            for blob in fs::read_dir(algorithm.path())? {
                let blob = blob?;
                let names = (algorithm.file_name().into_string(), blob.file_name().into_string());
                if let (Ok(algorithm), Ok(name)) = names {
                    files.push_back((format!("blobs/{algorithm}/{name}"), blob.path()));
                }
            }
        }
        Ok(Self { files, pending: Vec::new(), current: None, ended: false })
    }

    fn advance(&mut self) -> io::Result<()> {
        if let Some((file, size)) = self.current.take() {
            if file.limit() > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pending = vec![0; padding(size)];
            return Ok(());
        }
        let Some((name, path)) = self.files.pop_front() else {
            self.pending = vec![0; 2 * BLOCK];
            self.ended = true;
            return Ok(());
        };
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        self.pending = header(&name, size).to_vec();
        self.current = Some((file.take(size), size));
        Ok(())
    }
}

impl Read for Packer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.pending.is_empty() {
                let length = self.pending.as_slice().read(buffer)?;
                self.pending.drain(..length);
                return Ok(length);
            }
            if let Some((file, _)) = &mut self.current {
                let length = file.read(buffer)?;
                if length > 0 || buffer.is_empty() {
                    return Ok(length);
                }
            }
            if self.ended {
                return Ok(0);
            }
            self.advance()?;
        }
    }
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// A ustar header; sizes beyond 8 GiB as GNU tar writes them.
fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = block.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, name.as_bytes().get(..100).unwrap_or(name.as_bytes()));
    put(100, b"0000644\x000000000\x000000000\0");
    if size < LARGE {
        put(124, format!("{size:011o}").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0        0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}

/// Writes the members of a tar, as they come, into a directory.
pub struct Unpacker {
    dir: PathBuf,
    header: Vec<u8>,
    /// The file at hand and what is left of it; of its padding.
    file: Option<(File, u64)>,
    padding: usize,
}

impl Unpacker {
    /// Into this directory, which is made if it is missing and must be empty.
    ///
    /// # Errors
    /// It can't be made, or holds something.
    pub fn new(dir: &Path) -> io::Result<Self> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_dir(dir)?.next().is_some() {
                    return Err(io::Error::other("the directory is not empty"));
                }
            }
            result => result?,
        }
        Ok(Self { dir: dir.to_owned(), header: Vec::new(), file: None, padding: 0 })
    }

    fn begin(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.header);
        if block.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let bad = || io::Error::other("the archive of the daemon is malformed");
        let name = block.get(..100).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(|_| bad())?;
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        let path = Path::new(name);
        if name.is_empty() || !path.components().all(plain) {
            return Err(bad());
        }
        let path = self.dir.join(path);
        match block.get(156) {
            Some(b'5') => return fs::create_dir_all(path),
            Some(b'0') => {}
            // A pax header: its size is in the header that follows, or too large for us anyway.
            _ => return Err(bad()),
        }
        let size = size(block.get(124..136).unwrap_or_default()).ok_or_else(bad)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        self.padding = padding(size);
        self.file = Some((File::create_new(path)?, size));
        Ok(())
    }
}

fn size(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

impl Write for Unpacker {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((file, left)) = &mut self.file
            && *left > 0
        {
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let written = file.write(bytes.get(..most).unwrap_or_default())?;
            *left -= written as u64;
            return Ok(written);
        }
        self.file = None;
        if self.padding > 0 {
            let skipped = self.padding.min(bytes.len());
            self.padding -= skipped;
            return Ok(skipped);
        }
        let wanted = BLOCK.saturating_sub(self.header.len()).min(bytes.len());
        self.header.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        if self.header.len() == BLOCK {
            self.begin()?;
        }
        Ok(wanted)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{Packer, Unpacker, header};

    #[test]
    fn a_layout_survives_the_way_there_and_back() {
        let scratch = tempfile::tempdir().unwrap();
        let from = scratch.path().join("from");
        std::fs::create_dir_all(from.join("blobs/sha256")).unwrap();
        let files = [("oci-layout", 3), ("index.json", 512), ("blobs/sha256/ab", 100_000)];
        for (name, size) in files {
            std::fs::write(from.join(name), vec![7; size]).unwrap();
        }
        let mut tar = Vec::new();
        Packer::open(&from).unwrap().read_to_end(&mut tar).unwrap();
        assert_eq!(tar.len() % 512, 0);
        let to = scratch.path().join("to");
        let mut unpacker = Unpacker::new(&to).unwrap();
        for piece in tar.chunks(333) {
            unpacker.write_all(piece).unwrap();
        }
        for (name, size) in files {
            assert_eq!(std::fs::read(to.join(name)).unwrap(), vec![7; size], "{name}");
        }
        assert!(Packer::open(&scratch.path().join("from/blobs")).is_err());
        assert!(Unpacker::new(&to).is_err());
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["../x", "/x", "a/../../x", ""] {
            let mut unpacker = Unpacker::new(&scratch.path().join("d")).unwrap();
            assert!(unpacker.write_all(&header(name, 1)).is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
