//! Errors of system calls as one lower-case line, without Rust's `(os error 2)`.

use std::io;

/// No such file or directory.
pub const ENOENT: i32 = libc::ENOENT;
/// Operation not permitted.
pub const EPERM: i32 = libc::EPERM;
/// Permission denied.
pub const EACCES: i32 = libc::EACCES;
/// Exec format error.
pub const ENOEXEC: i32 = libc::ENOEXEC;
/// Not a directory.
pub const ENOTDIR: i32 = libc::ENOTDIR;
/// Is a directory.
pub const EISDIR: i32 = libc::EISDIR;
/// Invalid argument.
pub const EINVAL: i32 = libc::EINVAL;

/// Inappropriate ioctl for device.
pub const ENOTTY: i32 = libc::ENOTTY;
/// Operation not supported.
pub const EOPNOTSUPP: i32 = libc::EOPNOTSUPP;
/// No such process; of quotas: they are off.
pub const ESRCH: i32 = libc::ESRCH;
/// Function not implemented.
pub const ENOSYS: i32 = libc::ENOSYS;

/// The text of an error number: `no such file or directory`.
#[must_use]
pub fn text(errno: i32) -> String {
    describe(&io::Error::from_raw_os_error(errno))
}

/// The text of an error, lower case and without its number.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    // An abbreviation ("RPC version wrong") keeps its letters.
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_ascii_uppercase() => {
            let rest = text.get(first.len_utf8()..).unwrap_or_default();
            format!("{}{rest}", first.to_lowercase())
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_lower_case_and_has_no_number() {
        assert_eq!(text(ENOENT), "no such file or directory");
        assert_eq!(text(ENOEXEC), "exec format error");
        assert_eq!(describe(&io::Error::other("Broken thing")), "broken thing");
    }
}
