//! Profiles that users write, in Docker's JSON: the runtime-spec's `linux.seccomp` with
//! conditions on capabilities, architecture and kernel.
//!
//! A key that is not known is refused, and so is one that is there twice: a misspelt condition
//! would otherwise leave a rule in force that its author has limited.

use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;

use super::{argument, profile_name};
use crate::error::ErrorKind;

/// The longest profile that is read, in bytes; Docker's own has 17,000.
const MOST_BYTES: usize = 1 << 20;
/// System calls have no more arguments.
const ARGUMENTS: usize = 6;

/// A seccomp profile that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is longer than any honest profile.
    #[error("the seccomp profile has {0} bytes, more than 1 MiB")]
    TooLong(usize),
    /// It is not JSON, or has a key or a value that is not known.
    #[error("the seccomp profile is not valid: {0}")]
    Json(serde_json::Error),
    /// A field contradicts another or has no meaning.
    #[error("the seccomp profile is not valid: {field}: {why}")]
    Field {
        /// The field, as a path in the profile.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ProfileError {
    /// What class of error it is: always the user's input.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    arch_map: Option<Vec<Machine>>,
    architectures: Option<Vec<Arch>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Machine {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<Arg>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arg {
    index: usize,
    value: u64,
    value_two: Option<u64>,
    op: LinuxSeccompOperator,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Reads a profile and decides its conditions: for a container whose bounding set is
/// `capabilities`, on a machine of `architecture` with the kernel `(version, patch level)`.
///
/// # Errors
/// Says what is not valid, and where.
pub fn parse_profile(
    json: &[u8],
    capabilities: &Capabilities,
    architecture: Arch,
    kernel: (u32, u32),
) -> Result<LinuxSeccomp, ProfileError> {
    if json.len() > MOST_BYTES {
        return Err(ProfileError::TooLong(json.len()));
    }
    let profile: Profile = serde_json::from_slice(json).map_err(ProfileError::Json)?;
    let container = Container { capabilities, architecture: profile_name(architecture), kernel };
    let mut syscalls = Vec::new();
    for (index, rule) in profile.syscalls.into_iter().flatten().enumerate() {
        let field = format!("syscalls[{index}]");
        // Both are read, so that neither hides what is wrong in the other.
        let included = container.meets(&field, "includes", rule.includes.as_ref(), All)?;
        let excluded = container.meets(&field, "excludes", rule.excludes.as_ref(), Any)?;
        let syscall = convert(&field, rule)?;
        if included && !excluded {
            syscalls.push(syscall);
        }
    }
    let architectures = architectures(profile.architectures, profile.arch_map, architecture)?;
    let mut seccomp = LinuxSeccomp::default();
    seccomp.set_default_action(profile.default_action);
    seccomp.set_default_errno_ret(profile.default_errno_ret);
    seccomp.set_architectures(architectures).set_flags(profile.flags);
    seccomp.set_listener_path(profile.listener_path);
    seccomp.set_listener_metadata(profile.listener_metadata);
    seccomp.set_syscalls(Some(syscalls));
    Ok(seccomp)
}

fn architectures(
    list: Option<Vec<Arch>>,
    map: Option<Vec<Machine>>,
    native: Arch,
) -> Result<Option<Vec<Arch>>, ProfileError> {
    let (list, map) = (list.unwrap_or_default(), map.unwrap_or_default());
    if !list.is_empty() && !map.is_empty() {
        return Err(invalid("archMap", "cannot be used together with architectures"));
    }
    if map.is_empty() {
        return Ok((!list.is_empty()).then_some(list));
    }
    let machine = map.into_iter().find(|machine| machine.architecture == native);
    Ok(machine.map(|machine| {
        let mut architectures = vec![machine.architecture];
        architectures.extend(machine.sub_architectures.into_iter().flatten());
        architectures
    }))
}

fn convert(field: &str, rule: Rule) -> Result<LinuxSyscall, ProfileError> {
    // Profiles of old have one of them empty.
    let name = rule.name.filter(|name| !name.is_empty());
    let names = match (name, rule.names.filter(|names| !names.is_empty())) {
        (Some(_), Some(_)) => {
            return Err(invalid(field, "name cannot be used together with names"));
        }
        (None, None) => return Err(invalid(field, "names no system call")),
        (Some(name), None) => vec![name],
        (None, Some(names)) => names,
    };
    let args = rule.args.unwrap_or_default();
    if args.iter().any(|arg| arg.index >= ARGUMENTS) {
        return Err(invalid(field, "args: a system call has arguments 0 to 5"));
    }
    let mut syscall = LinuxSyscall::default();
    syscall.set_names(names).set_action(rule.action).set_errno_ret(rule.errno_ret);
    let convert = |arg: Arg| argument(arg.index, arg.op, arg.value, arg.value_two);
    let args: Vec<_> = args.into_iter().map(convert).collect();
    syscall.set_args((!args.is_empty()).then_some(args));
    Ok(syscall)
}

fn invalid(field: &str, why: &str) -> ProfileError {
    ProfileError::Field { field: field.to_owned(), why: why.to_owned() }
}

/// How the parts of a condition are joined: a rule is included if all hold, excluded if any does.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Join {
    All,
    Any,
}

use Join::{All, Any};

/// What conditions are about.
struct Container<'a> {
    capabilities: &'a Capabilities,
    architecture: &'static str,
    kernel: (u32, u32),
}

impl Container<'_> {
    fn meets(
        &self,
        rule: &str,
        key: &str,
        condition: Option<&Condition>,
        join: Join,
    ) -> Result<bool, ProfileError> {
        let mut answers = Vec::new();
        let field = |name: &str| format!("{rule}.{key}.{name}");
        let Some(condition) = condition else { return Ok(join == All) };
        for name in condition.caps.iter().flatten() {
            let capability = name.strip_prefix("CAP_").map(Capability::from_str);
            let Some(Ok(capability)) = capability else {
                return Err(invalid(&field("caps"), &format!("no such capability: {name}")));
            };
            answers.push(self.capabilities.contains(&capability));
        }
        if let Some(arches) = condition.arches.as_ref().filter(|arches| !arches.is_empty()) {
            answers.push(arches.iter().any(|arch| arch == self.architecture));
        }
        if let Some(version) = condition.min_kernel.as_deref().filter(|text| !text.is_empty()) {
            let Some(version) = kernel_version(version) else {
                let why = format!("not a kernel version like 4.8: {version}");
                return Err(invalid(&field("minKernel"), &why));
            };
            answers.push(self.kernel >= version);
        }
        Ok(match join {
            All => answers.into_iter().all(|holds| holds),
            Any => answers.into_iter().any(|holds| holds),
        })
    }
}

fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let (version, patch_level) = text.split_once('.')?;
    let number = |text: &str| text.parse::<u8>().ok().map(u32::from);
    let version = (number(version)?, number(patch_level)?);
    (version != (0, 0)).then_some(version)
}

#[cfg(test)]
mod tests;
