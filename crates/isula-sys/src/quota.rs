//! Project quotas: how much all files of one project, a number that directories pass on to what is
//! made in them, may take of a file system (ext4 and XFS; quotactl(2), `FS_IOC_FSSETXATTR`).

use std::{
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd},
};

use crate::beneath;

/// What the C library's macros of the same name say: the number's type differs between libraries.
const GET_ATTRIBUTES: libc::Ioctl = libc::_IOR::<FileAttributes>(b'X' as u32, 31);
const SET_ATTRIBUTES: libc::Ioctl = libc::_IOW::<FileAttributes>(b'X' as u32, 32);
/// What is made in the directory belongs to its project (linux/fs.h).
const PROJECT_INHERIT: u32 = 0x200;
/// `QCMD(Q_SETQUOTA, PRJQUOTA)`, and which field counts (linux/quota.h).
const SET_PROJECT_QUOTA: libc::c_int = 0x8000_0802_u32.cast_signed();
const BLOCK_LIMITS: u32 = 1;
/// The same number on every architecture (since Linux 5.14).
const QUOTACTL_FD: libc::c_long = 443;

/// `struct fsxattr`.
#[repr(C)]
struct FileAttributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_on_write: u32,
    padding: [u8; 8],
}

/// `struct if_dqblk`; limits are in KiB.
#[repr(C)]
#[derive(Default)]
struct Limits {
    hard: u64,
    soft: u64,
    space: u64,
    files_hard: u64,
    files_soft: u64,
    files: u64,
    grace: u64,
    files_grace: u64,
    valid: u32,
}

fn attributes(dir: impl AsFd) -> io::Result<FileAttributes> {
    let mut found = MaybeUninit::<FileAttributes>::zeroed();
    // SAFETY: the ioctl writes at most one `struct fsxattr` to the address, which has room for it.
    let result =
        unsafe { libc::ioctl(dir.as_fd().as_raw_fd(), GET_ATTRIBUTES, found.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, which is a valid value of each field, and then written by the kernel.
    Ok(unsafe { found.assume_init() })
}

/// The project of an open file or directory; 0 is none.
///
/// # Errors
/// The file system has no projects.
pub fn project(file: impl AsFd) -> io::Result<u32> {
    attributes(file).map(|found| found.project)
}

/// Gives an open, empty directory, and all that will be made in it, to a project.
///
/// # Errors
/// The file system has no projects.
pub fn set_project(dir: impl AsFd, project: u32) -> io::Result<()> {
    let mut wanted = attributes(&dir)?;
    wanted.project = project;
    wanted.flags |= PROJECT_INHERIT;
    // SAFETY: the ioctl reads one `struct fsxattr` from the address of one.
    let result = unsafe { libc::ioctl(dir.as_fd().as_raw_fd(), SET_ATTRIBUTES, &raw const wanted) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Limits a project to so many bytes on the file system of the open directory `dir`. Where the
/// kernel wants its device instead, a node of it is made in `dir` for a moment.
///
/// # Errors
/// `ESRCH`: the file system does not enforce project quotas; others as `quotactl(2)`.
pub fn limit(dir: impl AsFd, project: u32, bytes: u64) -> io::Result<()> {
    let kibibytes = bytes.div_ceil(1024).max(1);
    let limits =
        Limits { hard: kibibytes, soft: kibibytes, valid: BLOCK_LIMITS, ..Limits::default() };
    // SAFETY: quotactl_fd(fd, cmd, id, addr) reads one `struct if_dqblk` from the address of one.
    let result = unsafe {
        libc::syscall(
            QUOTACTL_FD,
            dir.as_fd().as_raw_fd(),
            SET_PROJECT_QUOTA,
            project,
            &raw const limits,
        )
    };
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::ENOSYS) => by_device(dir, project, &limits),
        error => Err(error),
    }
}

fn by_device(dir: impl AsFd, project: u32, limits: &Limits) -> io::Result<()> {
    let device = beneath::stat_fd(&dir)?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let name = format!(".device-{project}");
    beneath::make_special(&dir, name.as_bytes(), beneath::Special::Block(major, minor))?;
    let set = || {
        let path = beneath::descriptor_path(&dir).into_bytes();
        let path = CString::new([path.as_slice(), b"/", name.as_bytes()].concat())?;
        let project = project.cast_signed();
        let limits = (&raw const *limits).cast_mut().cast();
        // SAFETY: quotactl(2) reads one `struct if_dqblk` from the address of one, and a C string.
        match unsafe { libc::quotactl(SET_PROJECT_QUOTA, path.as_ptr(), project, limits) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let done = set();
    beneath::tree::remove(dir.as_fd(), name.as_bytes(), &mut || Ok(()))?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_way_by_a_device_says_what_the_direct_one_says_and_leaves_nothing() {
        let path = std::env::temp_dir().join(format!("isula-quota-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let dir = fs::File::open(&path).unwrap();
        let limits = Limits { hard: 1, soft: 1, valid: BLOCK_LIMITS, ..Limits::default() };
        // A project of nobody, on a file system that may or may not have quotas.
        let project = 0x7fff_0000 | std::process::id() & 0xffff;
        let direct = limit(&dir, project, 1024).map_err(|error| error.raw_os_error());
        let by_device = by_device(&dir, project, &limits).map_err(|error| error.raw_os_error());
        let left = fs::read_dir(&path).unwrap().count();
        fs::remove_dir(&path).unwrap();
        // A file system without a device of its own (tmpfs) cannot be named by one.
        if by_device != Err(Some(libc::ENOTBLK)) && by_device != Err(Some(libc::ENODEV)) {
            assert_eq!(by_device, direct);
        }
        assert_eq!(left, 0);
    }
}
