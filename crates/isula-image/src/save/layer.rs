//! The tar of one layer.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use isula_core::{
    error::{ErrorKind, PortError},
    image::Digest,
    ports::Result,
};

use super::Counting;
use crate::{
    archive::{Entry, Kind},
    error::corrupt,
    hash::Hasher,
    layer::RECIPE,
    merged::{Marks, Merged},
    pack::{self, header},
    recipe,
    store::{Store, read_layer},
    unpack::{Contents, Root},
};

/// A layer, and the digest and size of the tar that is written of it.
pub(super) struct Written {
    diff_id: Digest,
    digest: Digest,
    size: u64,
    dir: PathBuf,
    source: Source,
}

enum Source {
    Recipe,
    Tree(Contents),
}

impl Written {
    /// Finds out what will be written. Reads the whole layer if it has no recipe.
    ///
    /// # Errors
    /// The layer is missing or damaged.
    pub(super) fn plan(store: &Store, diff_id: &Digest) -> Result<Self> {
        let dir = store.shared.layout.layer(diff_id);
        let record = read_layer(&dir, diff_id.hex())?;
        let (diff_id, digest) = (diff_id.clone(), diff_id.clone());
        if let Some(size) = record.tar
            && dir.join(RECIPE).exists()
        {
            return Ok(Self { diff_id, digest, size, dir, source: Source::Recipe });
        }
        let source = Source::Tree(record.contents);
        let mut planned = Self { diff_id, digest, size: 0, dir, source };
        (planned.digest, planned.size) = planned.hashed(io::sink())?;
        Ok(planned)
    }

    pub(super) fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Writes the tar, and checks it.
    ///
    /// # Errors
    /// As the output's; `Corrupt` when the layer is damaged.
    pub(super) fn write(&self, output: &mut impl Write) -> Result<()> {
        let (digest, size) = self.hashed(output)?;
        match digest == self.digest && size == self.size {
            true => Ok(()),
            false => Err(self.damaged(None)),
        }
    }

    /// Whether the layer is what its diff id says; false where that can't be told.
    ///
    /// # Errors
    /// `Corrupt` when it is not.
    pub(super) fn verify(store: &Store, diff_id: &Digest) -> Result<bool> {
        let dir = store.shared.layout.layer(diff_id);
        let planned = Self::plan(store, diff_id)?;
        match planned.source {
            Source::Recipe => planned.write(&mut io::sink()).map(|()| true),
            // Its tree was read, and its record says that there never was a recipe.
            Source::Tree(_) if read_layer(&dir, diff_id.hex())?.tar.is_none() => Ok(false),
            Source::Tree(_) => Err(planned.damaged(None)),
        }
    }

    fn hashed(&self, output: impl Write) -> Result<(Digest, u64)> {
        let mut output = Counting { output, hash: Hasher::default(), count: 0 };
        let diff = self.dir.join("diff");
        let written = match &self.source {
            Source::Recipe => recipe::replay(&self.dir.join(RECIPE), &diff, &mut output),
            Source::Tree(contents) => tree(diff, contents, &mut output),
        };
        match written {
            Ok(()) => Ok((output.hash.finish(), output.count)),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(PortError::new(ErrorKind::Cancelled, "nobody reads the archive any more"))
            }
            Err(error) => Err(match error.kind() {
                io::ErrorKind::InvalidData
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::NotFound
                // What the decompressor says of a damaged recipe.
                | io::ErrorKind::Other => self.damaged(Some(error)),
                _ => PortError::io(format!("cannot read layer {}", self.diff_id), error),
            }),
        }
    }

    fn damaged(&self, cause: Option<io::Error>) -> PortError {
        let text = format!("layer {} is damaged (see \"isula system check\")", self.diff_id);
        match cause {
            Some(cause) => PortError::with_source(ErrorKind::Corrupt, text, cause),
            None => corrupt(text),
        }
    }
}

/// A tar in a fixed form: by name, whiteouts as the image specification has them.
fn tree(diff: PathBuf, contents: &Contents, output: &mut impl Write) -> io::Result<()> {
    if let Some(Root { uid, gid, mode }) = contents.root {
        let (path, modified, xattrs) = (b"./".to_vec(), (0, 0), Vec::new());
        let kind = Kind::Directory;
        header::write(&Entry { path, kind, mode, uid, gid, modified, xattrs }, output)?;
    }
    if contents.hides_all {
        pack::empty_file(b".wh..wh..opq".to_vec(), output)?;
    }
    let merged = Merged::open(std::iter::once(diff))?;
    pack::pack(&merged, Marks::Show, output)
}
