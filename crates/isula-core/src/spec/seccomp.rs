//! Which system calls a container may make: the default profile, and profiles that users write.
//!
//! Both become the `linux.seccomp` of the OCI spec: what depends on capabilities, architecture and
//! kernel has been decided then, so that any OCI runtime understands the result.

mod default;
mod profile;

use oci_spec::runtime::{Arch, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator};

pub use default::default_profile;
pub use profile::{ProfileError, parse_profile};

/// The architecture of a machine, by the name that uname(2), Go or Docker has for it; `None` for
/// one that is not supported.
#[must_use]
pub fn architecture(machine: &str) -> Option<Arch> {
    match machine {
        "x86_64" | "amd64" => Some(Arch::ScmpArchX86_64),
        "aarch64" | "arm64" => Some(Arch::ScmpArchAarch64),
        _ => None,
    }
}

/// The name of an architecture in the `arches` of a profile.
const fn profile_name(architecture: Arch) -> &'static str {
    match architecture {
        Arch::ScmpArchX86_64 => "amd64",
        Arch::ScmpArchX86 => "x86",
        Arch::ScmpArchX32 => "x32",
        Arch::ScmpArchAarch64 => "arm64",
        Arch::ScmpArchArm => "arm",
        _ => "",
    }
}

/// A condition on one argument of a call. The type has no other way to be made.
#[expect(clippy::expect_used, reason = "every field of the builder has a default")]
fn argument(
    index: usize,
    op: LinuxSeccompOperator,
    value: u64,
    second: Option<u64>,
) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    let arg = if let Some(second) = second { arg.value_two(second) } else { arg };
    arg.build().expect("a builder without required fields")
}
