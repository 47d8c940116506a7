//! Device nodes and cgroup device rules.

use super::super::{HostConfig, Invalid, path};
use crate::cdi::CdiName;

/// A cgroup device rule: `c 1:3 rwm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// Major number, or all.
    pub major: Option<u32>,
    /// Minor number, or all.
    pub minor: Option<u32>,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// Reads `TYPE MAJOR:MINOR ACCESS`.
pub(crate) fn rule(text: &str) -> Result<Rule, Invalid> {
    let error = || {
        let why = "it must be like 'c 1:3 rwm', with '*' for any number";
        Invalid::value("device-cgroup-rule", text, why)
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse::<u32>().map(Some).map_err(|_| error()),
    };
    let mut words = text.split(' ');
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(error());
    };
    let kind = match kind {
        "a" => 'a',
        "b" => 'b',
        "c" => 'c',
        _ => return Err(error()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(error)?;
    if !is_access(access) {
        return Err(error());
    }
    let (major, minor) = (number(major)?, number(minor)?);
    Ok(Rule { kind, major, minor, access: access.to_owned() })
}

/// Some of `r`, `w`, `m`, none twice.
fn is_access(text: &str) -> bool {
    let once = |letter: char| text.matches(letter).count() <= 1;
    !text.is_empty() && text.chars().all(|char| "rwm".contains(char)) && "rwm".chars().all(once)
}

pub(super) fn verify(host: &mut HostConfig) -> Result<(), Invalid> {
    for device in &mut host.devices {
        device.host = path::mount_target("device", &device.host)?;
        device.container = path::mount_target("device", &device.container)?;
        if !is_access(&device.permissions) {
            let why = "the permissions must be some of r, w and m";
            return Err(Invalid::value("device", &device.permissions, why));
        }
    }
    for name in &host.cdi_devices {
        CdiName::parse(name)?;
    }
    for text in &host.device_cgroup_rules {
        rule(text)?;
    }
    Ok(())
}
