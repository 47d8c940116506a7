//! Derivable files that most containers have alike. A further name of one costs a fraction of a
//! further file, which has an inode and blocks to be found, written and freed.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::locked;

/// Files that are never written in place, and not seen by what runs in a container.
const NAMES: [&str; 2] = ["ocihooks.json", "seccomp"];

/// Where the file of each such name was last written, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Twins(Mutex<HashMap<&'static str, (Vec<u8>, PathBuf)>>);

impl Twins {
    /// Makes `path` a further name of a file with this content; false where there is none.
    pub(super) fn link(&self, name: &'static str, bytes: &[u8], path: &Path) -> bool {
        let known = locked(&self.0);
        let Some((content, twin)) = known.get(name) else { return false };
        // Its container may be gone, or have as many names as a file can have.
        content == bytes && fs::hard_link(twin, path).is_ok()
    }

    /// A file with this content will be found at `path`.
    pub(super) fn remember(&self, name: &'static str, bytes: &[u8], path: PathBuf) {
        if NAMES.contains(&name) {
            locked(&self.0).insert(name, (bytes.to_vec(), path));
        }
    }
}
