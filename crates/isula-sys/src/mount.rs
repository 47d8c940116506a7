//! Mounts by descriptor, with the mount API of Linux 5.2 and `mount_setattr(2)` of 5.12.
//!
//! A path that a container controls is resolved once, to a descriptor; everything after that acts
//! on descriptors. Calls that need a string get `/proc/self/fd/N`, which is one.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

/// Read-only.
pub const RDONLY: u32 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits();
/// Set-user-id bits mean nothing.
pub const NOSUID: u32 = MountAttrFlags::MOUNT_ATTR_NOSUID.bits();
/// Device nodes cannot be opened.
pub const NODEV: u32 = MountAttrFlags::MOUNT_ATTR_NODEV.bits();
/// Programs cannot be run.
pub const NOEXEC: u32 = MountAttrFlags::MOUNT_ATTR_NOEXEC.bits();
/// The field of the three ways to keep access times.
pub const ATIME: u32 = MountAttrFlags::MOUNT_ATTR__ATIME.bits();
/// Access times are kept when older than the modification; this is the zero of [`ATIME`].
pub const RELATIME: u32 = MountAttrFlags::MOUNT_ATTR_RELATIME.bits();
/// Access times are not kept.
pub const NOATIME: u32 = MountAttrFlags::MOUNT_ATTR_NOATIME.bits();
/// Access times are always kept.
pub const STRICTATIME: u32 = MountAttrFlags::MOUNT_ATTR_STRICTATIME.bits();
/// Access times of directories are not kept.
pub const NODIRATIME: u32 = MountAttrFlags::MOUNT_ATTR_NODIRATIME.bits();
/// Symbolic links are not followed (Linux 5.14).
pub const NOSYMFOLLOW: u32 = 0x0020_0000;

/// Events of mounts pass both ways.
pub const SHARED: u32 = 1 << 20;
/// Events of mounts come in only.
pub const SLAVE: u32 = 1 << 19;
/// No events of mounts.
pub const PRIVATE: u32 = 1 << 18;
/// No events of mounts, and no bind mount.
pub const UNBINDABLE: u32 = 1 << 17;

const MS_RDONLY: u32 = 1;
const MS_NOSUID: u32 = 2;
const MS_NODEV: u32 = 4;
const MS_NOEXEC: u32 = 8;
const MS_REMOUNT: u32 = 32;
const MS_NOSYMFOLLOW: u32 = 256;
const MS_NOATIME: u32 = 1024;
const MS_NODIRATIME: u32 = 2048;
const MS_BIND: u32 = 4096;
const MS_REC: u32 = 16384;
const MS_RELATIME: u32 = 1 << 21;
const MS_STRICTATIME: u32 = 1 << 24;

/// Whether a call acts on one mount or on all mounts below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// This mount.
    One,
    /// This mount and all below it.
    Tree,
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct RawAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

fn mount_setattr(mount: BorrowedFd<'_>, depth: Depth, attr: RawAttr) -> io::Result<()> {
    let recursive = if depth == Depth::Tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty string, `attr` a mount_attr of the size given, and neither is
    // kept by the kernel.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<RawAttr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets and clears attributes of a mount that a descriptor of its root names.
///
/// # Errors
/// `ENOSYS` before Linux 5.12; `EPERM` when an attribute is locked by another user namespace.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    depth: Depth,
    (set, clear): (u32, u32),
) -> io::Result<()> {
    // The three ways to keep access times are one field: to set one, all its bits are cleared.
    let clear = if (set | clear) & ATIME != 0 { clear | ATIME } else { clear };
    mount_setattr(
        mount,
        depth,
        RawAttr { set: set.into(), clear: clear.into(), ..RawAttr::default() },
    )
}

/// Sets the propagation of a mount: [`SHARED`], [`SLAVE`], [`PRIVATE`] or [`UNBINDABLE`].
///
/// # Errors
/// `ENOSYS` before Linux 5.12.
pub fn set_propagation(mount: BorrowedFd<'_>, depth: Depth, propagation: u32) -> io::Result<()> {
    let propagation = propagation.into();
    mount_setattr(mount, depth, RawAttr { propagation, ..RawAttr::default() })
}

/// Maps the owners of a detached mount's files by the mappings of a user namespace.
///
/// # Errors
/// `EINVAL` where the file system does not support it; `ENOSYS` before Linux 5.12.
pub fn set_idmap(mount: BorrowedFd<'_>, depth: Depth, userns: BorrowedFd<'_>) -> io::Result<()> {
    let userns = u64::try_from(userns.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let set = u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits());
    mount_setattr(mount, depth, RawAttr { set, userns, ..RawAttr::default() })
}

/// As [`set_attributes`], with `mount(2)`: for kernels before 5.12. The mount must be attached,
/// and only itself is changed.
///
/// # Errors
/// Those of `mount(2)`.
pub fn remount_bind(root: BorrowedFd<'_>, (set, clear): (u32, u32)) -> io::Result<()> {
    let now = rustix::fs::fstatvfs(root)?;
    let mut flags = MS_REMOUNT | MS_BIND;
    let pairs = [
        (RDONLY, MS_RDONLY, rustix::fs::StatVfsMountFlags::RDONLY),
        (NOSUID, MS_NOSUID, rustix::fs::StatVfsMountFlags::NOSUID),
        (NODEV, MS_NODEV, rustix::fs::StatVfsMountFlags::NODEV),
        (NOEXEC, MS_NOEXEC, rustix::fs::StatVfsMountFlags::NOEXEC),
        (NODIRATIME, MS_NODIRATIME, rustix::fs::StatVfsMountFlags::NODIRATIME),
    ];
    for (attribute, flag, present) in pairs {
        let kept = now.f_flag.contains(present) && clear & attribute == 0;
        if set & attribute != 0 || kept {
            flags |= flag;
        }
    }
    if set & NOSYMFOLLOW != 0 {
        flags |= MS_NOSYMFOLLOW;
    }
    flags |= match (set & ATIME, clear & ATIME) {
        (NOATIME, _) => MS_NOATIME,
        (STRICTATIME, _) => MS_STRICTATIME,
        (_, 0) if now.f_flag.contains(rustix::fs::StatVfsMountFlags::NOATIME) => MS_NOATIME,
        _ => MS_RELATIME,
    };
    mount(None, &descriptor_path(root), None, (flags, None))
}

/// Changes the propagation of an attached mount with `mount(2)`.
///
/// # Errors
/// Those of `mount(2)`.
pub fn change_propagation(target: &CStr, depth: Depth, propagation: u32) -> io::Result<()> {
    let recursive = if depth == Depth::Tree { MS_REC } else { 0 };
    mount(None, target, None, (propagation | recursive, None))
}

/// `mount(2)`.
///
/// # Errors
/// Those of `mount(2)`.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    (flags, data): (u32, Option<&CStr>),
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or to a null-terminated string that outlives the call.
    let result = unsafe {
        libc::mount(
            pointer(source),
            target.as_ptr(),
            pointer(kind),
            flags.into(),
            pointer(data).cast(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A path that means the file of this descriptor to this process, `/proc/self/fd/N`.
#[must_use]
pub fn descriptor_path(descriptor: BorrowedFd<'_>) -> CString {
    // A formatted number has no zero byte.
    CString::new(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).unwrap_or_default()
}

/// A file system that is being configured.
#[derive(Debug)]
pub struct Filesystem(OwnedFd);

impl Filesystem {
    /// Starts with a type, as in `/proc/filesystems`.
    ///
    /// # Errors
    /// `ENODEV` when the kernel does not know it.
    pub fn open(kind: &str) -> io::Result<Self> {
        Ok(Self(rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?))
    }

    /// Sets a parameter to a string of at most 255 bytes.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not know it or the value.
    pub fn set(&self, key: &str, value: &str) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_set_string(self.0.as_fd(), key, value)?)
    }

    /// Sets a parameter that has no value.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not know it.
    pub fn set_flag(&self, key: &str) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_set_flag(self.0.as_fd(), key)?)
    }

    /// Sets a parameter to a file. Overlayfs takes its layers so since Linux 6.13.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not know it or takes no file.
    pub fn set_file(&self, key: &str, file: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_set_fd(self.0.as_fd(), key, file)?)
    }

    /// Makes the file system and a detached mount of it with these attributes.
    ///
    /// # Errors
    /// Those of the file system; [`Filesystem::message`] may tell more.
    pub fn mount(&self, attributes: u32) -> io::Result<OwnedFd> {
        rustix::mount::fsconfig_create(self.0.as_fd())?;
        let attributes = MountAttrFlags::from_bits_retain(attributes);
        Ok(rustix::mount::fsmount(self.0.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    }

    /// The last message of the file system about its configuration, such as what was wrong.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let mut text = [0u8; 512];
        let length = rustix::io::read(&self.0, &mut text).ok()?;
        // "e message", "w message" or "i message" (fs/fsopen.c).
        let text = text.get(2..length)?;
        Some(String::from_utf8_lossy(text).trim_end().to_owned())
    }
}

/// A detached copy of the mount at a path, resolved from a directory.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn clone_at(directory: BorrowedFd<'_>, path: &CStr, depth: Depth) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if depth == Depth::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(directory, path, flags)?)
}

/// A detached copy of the mount at an absolute path.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn clone(path: &CStr, depth: Depth) -> io::Result<OwnedFd> {
    clone_at(rustix::fs::CWD, path, depth)
}

/// A detached copy of the mount of an open file, rooted at that file.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn clone_of(file: BorrowedFd<'_>, depth: Depth) -> io::Result<OwnedFd> {
    clone_at(file, c"", depth)
}

/// Attaches a mount on the file that a descriptor names.
///
/// # Errors
/// Those of `move_mount(2)`.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, c"", target, c"", flags)?)
}

/// Takes a mount out of the tree; it lives on until its last user has gone.
///
/// # Errors
/// Those of `umount2(2)`.
pub fn detach(path: &CStr) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_tmpfs_takes_attributes_and_tells_what_is_wrong() {
        let tmpfs = Filesystem::open("tmpfs").unwrap();
        tmpfs.set("mode", "750").unwrap();
        let mount = tmpfs.mount(NOSUID).unwrap();
        set_attributes(mount.as_fd(), Depth::One, (RDONLY | NOATIME, 0)).unwrap();
        let flags = rustix::fs::fstatvfs(&mount).unwrap().f_flag;
        assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        assert!(flags.contains(rustix::fs::StatVfsMountFlags::NOSUID));
        assert!(flags.contains(rustix::fs::StatVfsMountFlags::NOATIME));

        let wrong = Filesystem::open("tmpfs").unwrap();
        wrong.set("size", "a lot").unwrap_err();
        assert!(wrong.message().unwrap().contains("size"));
    }
}
