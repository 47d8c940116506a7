//! Tar archives as other engines write them: ustar, PAX and GNU, with long names, extended
//! attributes and sparse files. The one reader of the crate, so that no two disagree: a PAX
//! size always wins, and what is ambiguous is refused.

mod header;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;

use std::io;

pub(crate) use reader::Reader;
pub(crate) use sparse::Segment;

/// The longest extended header or long name, in bytes.
pub(crate) const EXTENSION_LIMIT: u64 = 1 << 20;
/// The most headers that say something of the next entry, before it comes.
pub(crate) const EXTENSIONS_LIMIT: usize = 32;
const BLOCK: usize = 512;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It can't be read, or not inflated.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// It ends in the middle.
    #[error("the archive is cut off")]
    Truncated,
    /// A header block is no header.
    #[error("the archive is malformed: {0}")]
    Header(&'static str),
    /// An entry contradicts itself or asks for what is not known.
    #[error("the archive is malformed: entry {name:?}: {why}")]
    Entry {
        /// The entry's name, as far as it is known.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => Self::Truncated,
            _ => Self::Read(error),
        }
    }
}

/// What an entry makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file; with a map, only the segments of it are stored.
    File { size: u64, sparse: Option<Vec<Segment>> },
    /// A directory.
    Directory,
    /// A symbolic link with this text.
    Symlink(Vec<u8>),
    /// A further name of this earlier entry.
    Hardlink(Vec<u8>),
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A FIFO.
    Fifo,
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name, as it stands in the archive.
    pub(crate) path: Vec<u8>,
    /// What it makes.
    pub(crate) kind: Kind,
    /// Permission, set-id and sticky bits.
    pub(crate) mode: u32,
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Time of last modification: seconds since 1970 and nanoseconds.
    pub(crate) modified: (i64, u32),
    /// Extended attributes by name.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A name for a message.
fn shown(name: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(name).into_owned();
    if text.len() > 200 {
        text = text.chars().take(200).chain("…".chars()).collect();
    }
    text
}
