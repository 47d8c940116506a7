//! The members of an archive, at hand by name.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use isula_core::{error::PortError, ports::Result};
use isula_sys::beneath;

use crate::{
    archive::{Kind, Reader},
    compression::Inflated,
    error::{corrupt, from_io},
    reserve::Reserve,
    unpack::path,
};

/// The most members of an archive.
const MEMBER_LIMIT: usize = 100_000;
/// The most links that lead to one member.
const LINK_LIMIT: usize = 10;
const BUFFER: usize = 128 << 10;

/// An archive in a file without a name, and where its members are in it.
pub(super) struct Members {
    file: Arc<File>,
    places: BTreeMap<Vec<u8>, Place>,
}

enum Place {
    Bytes { offset: u64, size: u64 },
    Link(Vec<u8>),
}

/// Passes bytes on and writes them down.
struct Tee<R> {
    input: R,
    file: File,
    reserve: Reserve,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        let written = self.reserve.take(length as u64);
        let bytes = buffer.get(..length).unwrap_or_default();
        if let Err(error) = written.and_then(|()| self.file.write_all(bytes)) {
            self.failure = Some(error);
            return Err(io::Error::other("the archive can't be stored"));
        }
        Ok(length)
    }
}

impl Members {
    /// Stores the archive (inflated, if it is compressed) in the file system of `tmp`.
    ///
    /// # Errors
    /// `Corrupt`: no archive, cut off, or a member leads out of it.
    pub(super) fn read(bytes: impl Read, tmp: &Path) -> Result<Self> {
        let file = beneath::unnamed_file(tmp)
            .map_err(|error| PortError::io("cannot make a temporary file", error))?;
        let again =
            file.try_clone().map_err(|error| PortError::io("cannot share a file", error))?;
        let input = Inflated::new(BufReader::with_capacity(BUFFER, bytes))
            .map_err(|error| from_io("cannot read the archive", error))?;
        let reserve = Reserve::new(tmp).map_err(|error| {
            PortError::io("cannot open the directory of temporary files", error)
        })?;
        let mut tee = Tee { input, file: again, reserve, failure: None };
        let mut archive = Reader::new(BufReader::with_capacity(BUFFER, &mut tee));
        let scanned = scan(&mut archive);
        if let Some(error) = tee.failure {
            return Err(PortError::io("cannot store the archive", error));
        }
        Ok(Self { file: Arc::new(file), places: scanned? })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name.as_bytes())
    }

    /// A member, by links too.
    ///
    /// # Errors
    /// `Corrupt`: it is not there, or its name leads out of the archive.
    pub(super) fn part(&self, name: &str) -> Result<Part> {
        let missing = || corrupt(format!("the archive lacks {name:?}"));
        let mut place = path::clean(name.as_bytes()).ok_or_else(missing)?;
        for _ in 0..=LINK_LIMIT {
            match self.places.get(&place).ok_or_else(missing)? {
                Place::Link(target) => place.clone_from(target),
                Place::Bytes { offset, size } => {
                    let file = Arc::clone(&self.file);
                    return Ok(Part { file, offset: *offset, left: *size });
                }
            }
        }
        Err(missing())
    }

    /// A small member, whole.
    ///
    /// # Errors
    /// As [`Members::part`]; `Corrupt` when it is larger than `limit`.
    pub(super) fn document(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let mut part = self.part(name)?;
        if part.left > limit as u64 {
            return Err(corrupt(format!("{name:?} in the archive is larger than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes)
            .map_err(|error| PortError::io("cannot read the stored archive", error))?;
        Ok(bytes)
    }
}

fn scan<R: io::BufRead>(archive: &mut Reader<R>) -> Result<BTreeMap<Vec<u8>, Place>> {
    let mut places = BTreeMap::new();
    while let Some(entry) = archive.next_entry()? {
        let shown = || String::from_utf8_lossy(&entry.path).into_owned();
        let outside = || corrupt(format!("entry {:?} leads out of the archive", shown()));
        let name = path::clean(&entry.path).ok_or_else(outside)?;
        let place = match &entry.kind {
            Kind::File { size, sparse: None } => {
                Place::Bytes { offset: archive.position(), size: *size }
            }
            Kind::Directory => continue,
            Kind::Symlink(text) => {
                let (dir, _) = path::split(&name);
                let text = match text.first() {
                    Some(b'/') => text.clone(),
                    _ => [dir, b"/", text.as_slice()].concat(),
                };
                Place::Link(path::clean(&text).ok_or_else(outside)?)
            }
            Kind::Hardlink(target) => Place::Link(path::clean(target).ok_or_else(outside)?),
            _ => return Err(corrupt(format!("entry {:?} is of an unexpected type", shown()))),
        };
        places.insert(name, place);
        if places.len() > MEMBER_LIMIT {
            return Err(corrupt(format!("the archive has more than {MEMBER_LIMIT} members")));
        }
    }
    match archive.has_ended() {
        true => Ok(places),
        false if places.is_empty() => Err(corrupt("the archive is empty")),
        false => Err(corrupt("the archive is cut off: its end mark is missing")),
    }
}

/// The bytes of one member.
pub(super) struct Part {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Part {
    pub(super) fn size(&self) -> u64 {
        self.left
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..limit).unwrap_or_default();
        let length = self.file.read_at(buffer, self.offset)?;
        if length == 0 && limit > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
