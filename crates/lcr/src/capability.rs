//! Capabilities by name and by bit, and what of them the running kernel has.

use std::fmt;

use isula_sys::capability as sys;
use oci_spec::runtime::{Capabilities, Capability};

/// The names of capabilities(7), each at its number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities: bit n is capability n.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Set(pub u64);

impl Set {
    /// The set of these capabilities of the runtime-spec.
    #[must_use]
    pub fn from_spec(capabilities: &Capabilities) -> Self {
        Self(capabilities.iter().filter_map(|one| number(*one)).fold(0, |set, bit| set | 1 << bit))
    }

    /// The bounding set of the calling thread: nothing it starts can have more.
    #[must_use]
    pub fn bounding() -> Self {
        Self(sys::bounding())
    }

    /// All that the running kernel knows.
    #[must_use]
    pub fn supported() -> Self {
        Self(sys::supported())
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one only.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names in it, by number; numbers without a name are left out.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, n)| *n)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.names()).finish()
    }
}

/// The number of a capability of the runtime-spec.
#[must_use]
pub fn number(capability: Capability) -> Option<u32> {
    let name = capability.to_string();
    let at = NAMES.iter().position(|known| known.strip_prefix("CAP_") == Some(name.as_str()))?;
    u32::try_from(at).ok()
}

/// The name of capability `number`, as in capabilities(7).
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    NAMES.get(usize::try_from(number).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn every_name_is_one_of_the_runtime_spec_and_has_its_number() {
        for (at, name) in NAMES.iter().enumerate() {
            let capability = Capability::from_str(name.strip_prefix("CAP_").unwrap()).unwrap();
            assert_eq!(number(capability), Some(u32::try_from(at).unwrap()), "{name}");
        }
        assert_eq!(name(21), Some("CAP_SYS_ADMIN"));
        assert_eq!(name(41), None);
    }

    #[test]
    fn sets_are_bits_with_names() {
        let spec = Capabilities::from([Capability::Chown, Capability::SysAdmin]);
        let set = Set::from_spec(&spec);
        assert_eq!(set, Set(1 | 1 << 21));
        assert_eq!(set.names().collect::<Vec<_>>(), ["CAP_CHOWN", "CAP_SYS_ADMIN"]);
        assert_eq!(set.without(Set(1)).and(Set(1 << 21)), Set(1 << 21));
        assert!(Set::bounding().without(Set::supported()).is_empty());
        assert_eq!(format!("{:?}", Set(1)), "{\"CAP_CHOWN\"}");
    }
}
