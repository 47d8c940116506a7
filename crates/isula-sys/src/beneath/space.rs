//! How much room a file system has.

use std::{io, os::fd::AsFd};

use rustix::fs;

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What programs without privileges could still write.
    pub free: u64,
    /// All.
    pub total: u64,
}

/// The room in the file system that holds `file`.
///
/// # Errors
/// As `fstatvfs(3)`.
pub fn space(file: impl AsFd) -> io::Result<Space> {
    let stat = fs::fstatvfs(file)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_room_of_a_file_system_is_told() {
        let file = std::fs::File::open(std::env::temp_dir()).unwrap();
        let space = super::space(&file).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
    }
}
