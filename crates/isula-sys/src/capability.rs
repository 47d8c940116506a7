//! The capability sets of the calling thread: capget(2), capset(2) and the prctl(2) options for
//! the bounding and ambient sets. A set is a bit mask: bit n is capability n of capabilities(7).

use std::io;
use std::sync::OnceLock;

const VERSION_3: u32 = 0x2008_0522;
/// The highest capability number that a 64-bit mask can hold.
const HIGHEST: u32 = 63;

/// The three per-thread sets that capset(2) changes together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sets {
    /// What permission checks look at.
    pub effective: u64,
    /// What the effective set may be raised to.
    pub permitted: u64,
    /// What an exec may keep together with file capabilities.
    pub inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The sets of the calling thread.
///
/// # Errors
/// Those of capget(2); none is expected on a kernel that has version 3 (Linux 2.6.26).
pub fn get() -> io::Result<Sets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: version 3 writes exactly two halves, and `halves` has two; both outlive the call.
    let answer = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    check(answer)?;
    let [low, high] = halves;
    let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    Ok(Sets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// Replaces the sets of the calling thread.
///
/// # Errors
/// `EPERM` when a set is raised above what the thread may have.
pub fn set(sets: Sets) -> io::Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Half {
        effective: word(sets.effective, shift),
        permitted: word(sets.permitted, shift),
        inheritable: word(sets.inheritable, shift),
    };
    let halves = [half(0), half(32)];
    // SAFETY: version 3 reads exactly two halves, and `halves` has two; both outlive the call.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
    check(answer)
}

fn word(set: u64, shift: u32) -> u32 {
    u32::try_from((set >> shift) & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// Whether the bounding set holds `capability`; `None` when the kernel does not know that number.
pub fn bounding_has(capability: u32) -> Option<bool> {
    match prctl(libc::PR_CAPBSET_READ, capability, 0) {
        Ok(0) => Some(false),
        Ok(_) => Some(true),
        Err(_) => None,
    }
}

/// The bounding set of the calling thread.
pub fn bounding() -> u64 {
    known(|capability| bounding_has(capability).map(|has| u64::from(has) << capability))
}

/// All capabilities that the running kernel knows; it is asked once.
pub fn supported() -> u64 {
    static SUPPORTED: OnceLock<u64> = OnceLock::new();
    *SUPPORTED.get_or_init(|| known(|capability| bounding_has(capability).map(|_| 1 << capability)))
}

/// Numbers are handed out without gaps, so the first one that the kernel refuses ends the list.
fn known(bit: impl Fn(u32) -> Option<u64>) -> u64 {
    (0..=HIGHEST).map_while(bit).fold(0, |set, bit| set | bit)
}

/// Takes `capability` out of the bounding set for good.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`, `EINVAL` for a number that the kernel does not know.
pub fn bounding_drop(capability: u32) -> io::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability, 0).map(drop)
}

/// Empties the ambient set.
///
/// # Errors
/// None is expected since Linux 4.3.
pub fn ambient_clear() -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, cast(libc::PR_CAP_AMBIENT_CLEAR_ALL), 0).map(drop)
}

/// Adds `capability`, which must be permitted and inheritable, to the ambient set.
///
/// # Errors
/// `EPERM` when it is not permitted and inheritable, or a secure bit forbids it.
pub fn ambient_raise(capability: u32) -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, cast(libc::PR_CAP_AMBIENT_RAISE), capability).map(drop)
}

/// Whether the permitted set survives a change from user 0 to others until the next exec.
///
/// # Errors
/// `EPERM` when the secure bits lock it.
pub fn keep_across_setuid(keep: bool) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, u32::from(keep), 0).map(drop)
}

/// The secure bits (`SECBIT_*` of capabilities(7)) of the calling thread.
///
/// # Errors
/// None is expected since Linux 2.6.26.
pub fn securebits() -> io::Result<u32> {
    prctl(libc::PR_GET_SECUREBITS, 0, 0).map(i32::cast_unsigned)
}

/// Replaces the secure bits of the calling thread.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP` or when a bit is locked.
pub fn set_securebits(bits: u32) -> io::Result<()> {
    prctl(libc::PR_SET_SECUREBITS, bits, 0).map(drop)
}

fn cast(value: libc::c_int) -> u32 {
    value.cast_unsigned()
}

/// Only for options whose arguments are plain numbers.
fn prctl(option: libc::c_int, second: u32, third: u32) -> io::Result<i32> {
    let (second, third) = (libc::c_ulong::from(second), libc::c_ulong::from(third));
    let zero: libc::c_ulong = 0;
    // SAFETY: every option used in this file takes integers alone, so no memory is touched.
    let answer = unsafe { libc::prctl(option, second, third, zero, zero) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn check(answer: libc::c_long) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_permitted_is_supported_and_setting_the_same_sets_changes_nothing() {
        let before = get().unwrap();
        assert_eq!(before.permitted & !supported(), 0);
        assert_eq!(bounding() & !supported(), 0);
        set(before).unwrap();
        assert_eq!(get().unwrap(), before);
    }

    #[test]
    fn a_thread_can_drop_and_cannot_regain() {
        // Capabilities belong to a thread, so the test's own one does not matter to others.
        std::thread::spawn(|| {
            let before = get().unwrap();
            let kill = 1 << 5;
            let without = Sets {
                effective: before.effective & !kill,
                permitted: before.permitted & !kill,
                inheritable: 0,
            };
            set(without).unwrap();
            assert_eq!(get().unwrap(), without);
            if before.permitted & kill != 0 {
                let refused = set(before).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
                bounding_drop(5).unwrap();
            }
            assert_eq!(bounding_has(63), None);
            ambient_clear().unwrap();
        })
        .join()
        .unwrap();
    }
}
