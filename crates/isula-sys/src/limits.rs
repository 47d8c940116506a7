//! Limits and priorities of a process: rlimits, scheduler, affinity, I/O priority, personality.

use std::io;

use rustix::io::Errno;

/// A soft and a hard limit; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Limit {
    /// What is in force.
    pub soft: u64,
    /// How far the soft limit can be raised.
    pub hard: u64,
}

/// Number of the limit of open files; the type of the C library's constant differs between them.
pub const NOFILE: u32 = 7;

/// Sets a resource limit (`RLIMIT_*` number) of a process, 0 for this one, and returns the old.
///
/// # Errors
/// `EPERM` for raising a hard limit without `CAP_SYS_RESOURCE`; `EINVAL`.
pub fn set_limit(pid: i32, resource: u32, limit: Limit) -> io::Result<Limit> {
    prlimit(pid, resource, Some(limit))
}

/// A resource limit of a process, 0 for this one.
///
/// # Errors
/// `EINVAL` when there is no such resource.
pub fn limit(pid: i32, resource: u32) -> io::Result<Limit> {
    prlimit(pid, resource, None)
}

fn prlimit(pid: i32, resource: u32, new: Option<Limit>) -> io::Result<Limit> {
    let mut old = Limit { soft: 0, hard: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `Limit` has the layout of rlimit64; `new` is null or valid, `old` is valid.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, new, &raw mut old) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(old) }
}

/// `struct sched_attr`, its first version (48 bytes).
#[derive(Clone, Copy)]
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// How a process is scheduled, `sched_setattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Nanoseconds of running, deadline and period of `SCHED_DEADLINE`.
    pub deadline: [u64; 3],
}

/// Sets how this process is scheduled.
///
/// # Errors
/// Those of `sched_setattr(2)`.
pub fn set_scheduling(scheduling: Scheduling) -> io::Result<()> {
    let Scheduling { policy, flags, nice, priority, deadline: [runtime, deadline, period] } =
        scheduling;
    let size = u32::try_from(size_of::<SchedAttr>()).map_err(|_| Errno::INVAL)?;
    let attr = SchedAttr { size, policy, flags, nice, priority, runtime, deadline, period };
    // SAFETY: the structure is a sched_attr of the size that it says.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0u32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the I/O priority of this process: class in bits 13 to 15, level below.
///
/// # Errors
/// `EPERM` for the real-time class without `CAP_SYS_NICE`.
pub fn set_io_priority(priority: u16) -> io::Result<()> {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: no memory is touched.
    let result =
        unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, i32::from(priority)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Restricts this process to processors, given as inclusive ranges.
///
/// # Errors
/// `EINVAL` when none of them exists, or one is beyond 1023.
pub fn set_affinity(ranges: &[(u32, u32)]) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for &(first, last) in ranges {
        for processor in first..=last {
            let processor = usize::try_from(processor).map_err(|_| Errno::INVAL)?;
            if processor >= rustix::thread::CpuSet::MAX_CPU {
                return Err(Errno::INVAL.into());
            }
            set.set(processor);
        }
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Sets the execution domain of this process.
///
/// # Errors
/// `EINVAL` when the kernel does not know it.
pub fn set_personality(personality: u32) -> io::Result<()> {
    // SAFETY: no memory is touched.
    let result = unsafe { libc::personality(personality.into()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_set_is_the_limit() {
        let core = 4; // RLIMIT_CORE
        let before = limit(0, core).unwrap();
        let lowered = Limit { soft: 0, hard: before.hard };
        assert_eq!(set_limit(0, core, lowered).unwrap(), before);
        assert_eq!(limit(0, core).unwrap(), lowered);
        assert!(limit(0, 999).is_err());
    }

    #[test]
    fn a_processor_that_cannot_exist_is_refused() {
        assert!(set_affinity(&[(4096, 4096)]).is_err());
    }
}
