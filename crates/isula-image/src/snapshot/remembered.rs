//! Small files of images, which do not change: nearly all new containers are of a few images, and
//! whom they run as is looked up in the same files.

use std::{
    os::unix::ffi::OsStrExt,
    sync::{Arc, Mutex, PoisonError},
};

use isula_core::{
    error::PortError,
    image::{Image, ImageId},
    ports::Result,
};

use super::no_image;
use crate::{merged::Merged, store::Shared};

/// How many files are remembered, those too that are not there, and bytes of the largest.
const FILES: usize = 8;
const BYTES: usize = 16 << 10;

/// What was read, with what was asked for last at the end.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<Vec<File>>);

#[derive(Debug)]
struct File {
    /// The same image when it is pulled again is another one here.
    image: Arc<Image>,
    path: String,
    limit: u64,
    content: Option<Vec<u8>>,
}

impl Remembered {
    fn get(&self, image: &Arc<Image>, path: &str, limit: u64) -> Option<Option<Vec<u8>>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |file: &File| {
            Arc::ptr_eq(&file.image, image) && file.path == path && file.limit == limit
        };
        let at = files.iter().rposition(same)?;
        let file = files.remove(at);
        let content = file.content.clone();
        files.push(file);
        Some(content)
    }

    fn keep(&self, file: File) {
        if file.content.as_ref().is_some_and(|content| content.len() > BYTES) {
            return;
        }
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= FILES {
            files.remove(0);
        }
        files.push(file);
    }

    /// How many.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Shared {
    /// A file of an image that was read before; the outer `None` where it was not.
    pub(super) fn recall(&self, id: &ImageId, path: &str, limit: u64) -> Option<Option<Vec<u8>>> {
        let image = self.index().get(id).cloned()?;
        self.remembered.get(&image, path, limit)
    }

    /// Reads a file of an image, and remembers it.
    pub(super) fn read_image(
        &self,
        id: &ImageId,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>> {
        let image = self.index().get(id).cloned().ok_or_else(|| no_image(id))?;
        let mut dirs = self.lower(&image)?;
        if dirs.is_empty() {
            dirs.push(self.empty_layer()?);
        }
        let name = std::ffi::OsStr::new(path).as_bytes();
        let read = Merged::open(dirs.into_iter()).and_then(|merged| merged.read(name, limit));
        let content = read
            .map_err(|error| PortError::io(format!("cannot read {path} of image {id}"), error))?;
        // Directories of the host may change, and an image that went meanwhile may have been read
        // while its layers were taken away.
        let index = self.index();
        let still = index.get(id).is_some_and(|now| Arc::ptr_eq(now, &image));
        if still && index.embedded(id).is_none() {
            let (path, content) = (path.to_owned(), content.clone());
            self.remembered.keep(File { image, path, limit, content });
        }
        Ok(content)
    }
}
