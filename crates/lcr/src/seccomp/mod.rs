//! Seccomp profiles of the runtime-spec, compiled to the kernel's classic BPF.
//!
//! A program finds the architecture of a call, then by binary search the range its number lies in,
//! then checks arguments where the profile asks for it. It touches arguments only for such calls,
//! so the kernel can work out beforehand that the others are allowed (its action cache, Linux
//! 5.11). Docker's profile takes about 115 instructions for x86-64.
//!
//! Calls that are newer than every call the profile names answer `ENOSYS`, unless the default
//! action lets them through: the C library then falls back to an older call, which `EPERM` would
//! not let it do. runc does the same.

mod architecture;
mod assembler;
mod cache;
mod program;
mod rules;

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag};
use serde::{Deserialize, Serialize};

pub use architecture::{Architecture, Numbers};
pub use cache::{FilterCache, Profile};

/// A program as the kernel takes it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// An array of `struct sock_filter`, in the machine's byte order.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*` bits.
    pub flags: u32,
}

/// A profile that cannot be compiled.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum SeccompError {
    /// A field has a value that is not supported or makes no sense.
    #[error("{field}: {why}")]
    Field {
        /// The field, as a path in `config.json`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel takes no program this long.
    #[error("linux.seccomp takes {instructions} instructions, the kernel allows 4096")]
    TooLarge {
        /// How many it would be.
        instructions: usize,
    },
    /// One call has more rules with conditions than a program could hold.
    #[error("linux.seccomp.syscalls: too many conditions for {call}")]
    TooManyConditions {
        /// The name of the call.
        call: String,
    },
}

/// Compiles `profile` for the machine this runs on.
///
/// # Errors
/// Names the field that is not supported (`SCMP_ACT_NOTIFY`, a listener) or has a value without
/// meaning; says when the program gets too long.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    compile_for(profile, Architecture::native())
}

/// Compiles `profile` for a machine whose own architecture is `native`. That one is always part
/// of the filter; listed ones that cannot occur on such a machine need no code.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, native: Architecture) -> Result<Filter, SeccompError> {
    let refuse = |field: &str, why: &str| {
        Err(SeccompError::Field { field: format!("linux.seccomp.{field}"), why: why.to_owned() })
    };
    if profile.listener_path().is_some() {
        return refuse("listenerPath", "a seccomp agent is not supported");
    }
    if profile.listener_metadata().is_some() {
        return refuse("listenerMetadata", "a seccomp agent is not supported");
    }
    let listed = profile.architectures().iter().flatten();
    let listed = listed.filter_map(|arch| Architecture::from_spec(*arch, native));
    let mut architectures: BTreeSet<_> =
        listed.filter(|architecture| architecture.shares_machine(native)).collect();
    architectures.insert(native);
    let rules = rules::Profile::read(profile)?;
    let program = program::assemble(&rules, &architectures)?;
    Ok(Filter { program, flags: flags(profile) })
}

/// The flags that have a meaning here. The process has one thread, so there is nothing to
/// synchronise (`TSYNC`), and no listener waits, so nothing to kill in its wait
/// (`WAIT_KILLABLE_RECV`). No list at all means `SPEC_ALLOW`, as with runc.
fn flags(profile: &LinuxSeccomp) -> u32 {
    let Some(flags) = profile.flags() else { return isula_sys::seccomp::FLAG_SPEC_ALLOW };
    let bit = |flag: &Flag| match flag {
        Flag::SeccompFilterFlagLog => isula_sys::seccomp::FLAG_LOG,
        Flag::SeccompFilterFlagSpecAllow => isula_sys::seccomp::FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagTsync | Flag::SeccompFilterFlagWaitKillableRecv => 0,
    };
    flags.iter().map(bit).fold(0, |all, bit| all | bit)
}
