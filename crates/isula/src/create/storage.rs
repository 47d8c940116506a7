//! Mounts of every flag: `--volume`, `--mount`, `--tmpfs`.

use isula_api::v1::{Mount, Tmpfs};

use super::Surroundings;
use crate::error::Failure;
use crate::flags::Arguments;
use crate::parse::{mount, volume};

/// The mounts and the file systems in memory, in the order of the flags.
///
/// # Errors
/// Malformed values.
pub(super) fn storage(
    arguments: &Arguments,
    around: &Surroundings<'_>,
) -> Result<(Vec<Mount>, Vec<Tmpfs>), Failure> {
    let directory = around.directory;
    let mut mounts =
        arguments.each("volume", |text| volume::volume(text, directory, around.selinux))?;
    let mut tmpfs = arguments.each("tmpfs", volume::tmpfs)?;
    for parsed in arguments.each("mount", |text| mount::mount(text, directory))? {
        match parsed {
            mount::Parsed::Mount(mount) => mounts.push(mount),
            mount::Parsed::Tmpfs(one) => tmpfs.push(one),
        }
    }
    Ok((mounts, tmpfs))
}
