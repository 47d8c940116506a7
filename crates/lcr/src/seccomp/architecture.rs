//! The architectures a filter can be for, and the numbers of their system calls.

use oci_spec::runtime::Arch;

/// An ABI by which a process may enter the kernel.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Architecture {
    /// x86-64.
    X86_64,
    /// i386, natively or on x86-64.
    X86,
    /// x86-64 with 32-bit pointers: its calls have bit 30 set.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM with the EABI.
    Arm,
}

/// Set in the number of every x32 call (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Calls of i386 that socketcall(2) carries, with the number it has there (linux/net.h).
const SOCKET_CALLS: [(&str, u32); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// Calls of i386 that ipc(2) carries, with the number it has there (linux/ipc.h).
const IPC_CALLS: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// A call that takes the number of the real one as its first argument.
pub(super) struct Multiplexed {
    /// The name of the call that carries it.
    pub(super) carrier: &'static str,
    /// Bits of the first argument that hold the number: ipc(2) keeps a version in the others.
    pub(super) mask: u64,
    /// The number there.
    pub(super) number: u64,
}

impl Architecture {
    /// That of this program.
    ///
    /// Other machines than x86 and ARM are not built for; they would be treated as x86-64, on
    /// which a filter kills at the first call, rather than allow one.
    #[must_use]
    pub const fn native() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else if cfg!(target_arch = "arm") {
            Self::Arm
        } else if cfg!(target_arch = "x86") {
            Self::X86
        } else {
            Self::X86_64
        }
    }

    /// The one the runtime-spec means; `None` for those of other machines.
    #[must_use]
    pub const fn from_spec(arch: Arch, native: Self) -> Option<Self> {
        match arch {
            Arch::ScmpArchNative => Some(native),
            Arch::ScmpArchX86_64 => Some(Self::X86_64),
            Arch::ScmpArchX86 => Some(Self::X86),
            Arch::ScmpArchX32 => Some(Self::X32),
            Arch::ScmpArchAarch64 => Some(Self::Aarch64),
            Arch::ScmpArchArm => Some(Self::Arm),
            _ => None,
        }
    }

    /// Whether both can occur on one machine.
    #[must_use]
    pub const fn shares_machine(self, other: Self) -> bool {
        matches!(self, Self::Aarch64 | Self::Arm) == matches!(other, Self::Aarch64 | Self::Arm)
    }

    /// The `AUDIT_ARCH_*` value in `seccomp_data.arch` (linux/audit.h).
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits. Where they have 32 the kernel looks at no more, and what
    /// the upper half of a register holds must not matter to a filter either: a 64-bit process
    /// that uses `int 0x80` leaves there what it likes.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }

    /// How else a call may be made than by its own number.
    pub(super) fn multiplexed(self, name: &str) -> Option<Multiplexed> {
        if self != Self::X86 {
            return None;
        }
        let find = |list: &[(&str, u32)]| {
            list.iter().find(|(call, _)| *call == name).map(|(_, number)| u64::from(*number))
        };
        let socket = find(&SOCKET_CALLS);
        let socket = socket.map(|number| ("socketcall", u64::from(u32::MAX), number));
        let ipc = || find(&IPC_CALLS).map(|number| ("ipc", 0xffff, number));
        let (carrier, mask, number) = socket.or_else(ipc)?;
        Some(Multiplexed { carrier, mask, number })
    }

    const fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }
}

/// The numbers of all system calls of one architecture, ordered by name.
pub struct Numbers(Vec<(&'static str, u32)>);

impl Numbers {
    /// Reads the table of `architecture`.
    #[must_use]
    pub fn of(architecture: Architecture) -> Self {
        let bit = if architecture == Architecture::X32 { X32_BIT } else { 0 };
        let row = |line: &'static str| {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().filter(|name| !name.starts_with('#'))?;
            let number: u32 = words.nth(architecture.column())?.parse().ok()?;
            Some((name, number | bit))
        };
        let mut numbers: Vec<_> = include_str!("syscalls.tbl").lines().filter_map(row).collect();
        // The file is in order, which this costs nothing to make sure of.
        numbers.sort_unstable();
        Self(numbers)
    }

    /// The number of the call `name`, for x32 with its bit.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u32> {
        let at = self.0.binary_search_by_key(&name, |(name, _)| name).ok()?;
        self.0.get(at).map(|(_, number)| *number)
    }

    /// Every name with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let number = |architecture, name| Numbers::of(architecture).get(name);
        assert_eq!(number(Architecture::X86_64, "read"), Some(0));
        assert_eq!(number(Architecture::X86_64, "execveat"), Some(322));
        assert_eq!(number(Architecture::X32, "execveat"), Some(X32_BIT | 545));
        assert_eq!(number(Architecture::X86, "read"), Some(3));
        assert_eq!(number(Architecture::Aarch64, "read"), Some(63));
        assert_eq!(number(Architecture::Arm, "set_tls"), Some(0xf0005));
        assert_eq!(number(Architecture::Aarch64, "open"), None);
        assert_eq!(number(Architecture::X86_64, "no_such_call"), None);
        assert_eq!(number(Architecture::X86_64, "#"), None);
    }

    #[test]
    fn no_two_names_of_an_architecture_share_a_number_but_known_aliases() {
        use Architecture::{Aarch64, Arm, X32, X86, X86_64};
        for architecture in [X86_64, X86, X32, Aarch64, Arm] {
            let mut seen = std::collections::BTreeMap::new();
            for (name, number) in Numbers::of(architecture).iter() {
                if let Some(other) = seen.insert(number, name) {
                    assert_eq!((other, name), ("arm_sync_file_range", "sync_file_range2"));
                }
            }
            assert!(seen.len() > 300, "{architecture:?}");
        }
    }
}
