//! Device rules of the runtime-spec, for `devices.allow` of version 1 and as a BPF program.
//!
//! Each rule overrides those before it for the access it names. Version 1 knows a default and
//! exceptions to it, so a rule that takes away part of an exception cannot be expressed there;
//! the program looks at each kind of access by itself and can do everything.

mod program;

use std::collections::BTreeMap;
use std::fmt;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use serde::{Deserialize, Serialize};

use super::{CgroupError, Controller, Hierarchies, Version};

pub(super) const FIELD: &str = "linux.resources.devices";

/// Device rules in the form that a version of control groups takes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Devices {
    /// As they are.
    Unchanged,
    /// For version 1: whether to allow, and which devices.
    Files(Vec<(bool, String)>),
    /// For version 2: instructions, or nothing where all is allowed.
    Program(Option<Vec<u8>>),
}

// linux/bpf.h, BPF_DEVCG_*
const BLOCK: u8 = 1;
const CHARACTER: u8 = 2;
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL_ACCESS: u8 = MKNOD | READ | WRITE;
/// Numbers are 12 and 20 bits in the kernel; a BPF constant has 31.
const HIGHEST: i64 = i32::MAX as i64;

/// Devices by kind and number; `None` is every number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Which {
    kind: u8,
    major: Option<u32>,
    minor: Option<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Rule {
    allow: bool,
    which: Which,
    access: u8,
}

/// A default, and the rules that come after the one that set it.
#[derive(Debug, Eq, PartialEq)]
struct Rules {
    allow: bool,
    list: Vec<Rule>,
}

/// What every container may use, whatever its rules: every device may have a node, and the ones
/// of the runtime-spec's default devices and of terminals may be opened.
const ALWAYS: [(Which, u8); 10] = [
    (Which { kind: CHARACTER, major: None, minor: None }, MKNOD),
    (Which { kind: BLOCK, major: None, minor: None }, MKNOD),
    (character(1, 3), ALL_ACCESS),
    (character(1, 5), ALL_ACCESS),
    (character(1, 7), ALL_ACCESS),
    (character(1, 8), ALL_ACCESS),
    (character(1, 9), ALL_ACCESS),
    (character(5, 0), ALL_ACCESS),
    (character(5, 2), ALL_ACCESS),
    (Which { kind: CHARACTER, major: Some(136), minor: None }, ALL_ACCESS),
];

const fn character(major: u32, minor: u32) -> Which {
    Which { kind: CHARACTER, major: Some(major), minor: Some(minor) }
}

/// The rules in `list`, and then [`ALWAYS`].
pub(super) fn compile(
    list: &[LinuxDeviceCgroup],
    hierarchies: &Hierarchies,
) -> Result<Devices, CgroupError> {
    let mut rules = Rules::read(list)?;
    let always = ALWAYS.map(|(which, access)| Rule { allow: true, which, access });
    rules.list.extend(always);
    match hierarchies.version() {
        Version::V2 => Ok(Devices::Program(program::compile(&rules))),
        Version::V1 if hierarchies.controllers().has(Controller::Devices) => {
            rules.to_files().map(Devices::Files)
        }
        Version::V1 => Err(CgroupError::NoController {
            field: FIELD.to_owned(),
            controller: Controller::Devices.name(),
        }),
    }
}

impl Rules {
    fn read(list: &[LinuxDeviceCgroup]) -> Result<Self, CgroupError> {
        let mut rules = Self { allow: false, list: Vec::new() };
        for (index, rule) in list.iter().enumerate() {
            let refuse = |name: &str, why: &str| {
                Err(CgroupError::field(format!("{FIELD}[{index}].{name}"), why))
            };
            let Some(access) = access(rule.access().as_deref()) else {
                return refuse("access", "must consist of r, w and m");
            };
            let Ok(major) = number(rule.major()) else {
                return refuse("major", "is out of range");
            };
            let Ok(minor) = number(rule.minor()) else {
                return refuse("minor", "is out of range");
            };
            let kinds: &[u8] = match rule.typ().unwrap_or_default() {
                LinuxDeviceType::A => &[BLOCK, CHARACTER],
                LinuxDeviceType::B => &[BLOCK],
                LinuxDeviceType::C | LinuxDeviceType::U => &[CHARACTER],
                LinuxDeviceType::P => return refuse("type", "a FIFO is no device"),
            };
            let allow = rule.allow();
            if kinds.len() == 2 && (major, minor, access) == (None, None, ALL_ACCESS) {
                rules = Self { allow, list: Vec::new() };
                continue;
            }
            let which = |kind: &u8| Which { kind: *kind, major, minor };
            rules.list.extend(kinds.iter().map(which).map(|which| Rule { allow, which, access }));
        }
        Ok(rules)
    }

    /// The default and the exceptions to it, as version 1 keeps them.
    fn to_files(&self) -> Result<Vec<(bool, String)>, CgroupError> {
        let mut exceptions = BTreeMap::<Which, u8>::new();
        for rule in &self.list {
            if rule.allow != self.allow {
                *exceptions.entry(rule.which).or_default() |= rule.access;
                continue;
            }
            for (which, access) in &mut exceptions {
                if rule.which.covers(*which) {
                    *access &= !rule.access;
                } else if rule.which.overlaps(*which) && *access & rule.access != 0 {
                    let why = format!("cgroup version 1 cannot except {} from {which}", rule.which);
                    return Err(CgroupError::field(FIELD, why));
                }
            }
        }
        exceptions.retain(|_, access| *access != 0);
        let mut lines = vec![(self.allow, "a".to_owned())];
        for (which, access) in exceptions {
            let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
            let letters = letters.iter().filter(|(bit, _)| access & bit != 0);
            let letters: String = letters.map(|(_, letter)| letter).collect();
            lines.push((!self.allow, format!("{which} {letters}")));
        }
        Ok(lines)
    }
}

impl Which {
    fn covers(self, other: Self) -> bool {
        self.kind == other.kind
            && self.major.is_none_or(|major| other.major == Some(major))
            && self.minor.is_none_or(|minor| other.minor == Some(minor))
    }

    fn overlaps(self, other: Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

/// As in the files of version 1: `c 1:*`.
impl fmt::Display for Which {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |it| it.to_string());
        let kind = if self.kind == BLOCK { 'b' } else { 'c' };
        write!(out, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

fn access(letters: Option<&str>) -> Option<u8> {
    let Some(letters) = letters.filter(|letters| !letters.is_empty()) else {
        return Some(ALL_ACCESS);
    };
    letters.chars().try_fold(0, |access, letter| match letter {
        'r' => Some(access | READ),
        'w' => Some(access | WRITE),
        'm' => Some(access | MKNOD),
        _ => None,
    })
}

/// `None` and -1 are every number.
fn number(number: Option<i64>) -> Result<Option<u32>, ()> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) if (0..=HIGHEST).contains(&number) => {
            u32::try_from(number).map(Some).map_err(drop)
        }
        Some(_) => Err(()),
    }
}

#[cfg(test)]
mod tests;
