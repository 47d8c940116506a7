//! `create` and `run`: their flags, and the request that is made of them.

pub mod flags;
mod health;
mod request;
mod resources;
mod security;
mod storage;

#[cfg(test)]
mod tests;

pub use request::request;

use std::path::Path;

/// What the flags are read against: this process's surroundings, given so that tests can set them.
pub struct Surroundings<'a> {
    /// Relative paths of the host start here.
    pub directory: &'a Path,
    /// The client's variables.
    pub lookup: crate::parse::environment::Lookup<'a>,
    /// Whether SELinux is on.
    pub selinux: bool,
}

/// Files that a flag names are read whole; none of them has a reason to be larger.
const LARGEST_FILE: u64 = 4 << 20;

/// Reads a file that a flag names.
///
/// # Errors
/// What can't be read, or is larger than 4 MiB.
pub fn read_file(path: &str) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let fault = |error: std::io::Error| format!("cannot read {path}: {error}");
    let file = std::fs::File::open(path).map_err(fault)?;
    let mut content = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut content).map_err(fault)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(format!("{path} is larger than {} MiB", LARGEST_FILE >> 20));
    }
    Ok(content)
}
