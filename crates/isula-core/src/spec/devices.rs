//! Device nodes and the rules of the device cgroup.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::{Device, SpecError};
use crate::container::{self, HostConfig, Rule};

/// Nodes that the runtime makes by itself in every container (runtime-spec, config-linux.md,
/// "Default Devices"), and what lies in file systems of the container's own.
const OWN: [&str; 12] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/console",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/fd",
];

/// Character devices that every container may use: null, zero, full, random, urandom, tty,
/// console, ptmx (devices.txt of the kernel).
const ALLOWED: [(i64, i64); 8] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
/// The first major number of pseudo terminals.
const PTS: i64 = 136;

/// The nodes to make beside the runtime's own.
pub(super) fn nodes(devices: &[Device]) -> Vec<LinuxDevice> {
    let is_own = |path: &str| OWN.iter().any(|own| container::path::is_beneath(path, own));
    devices.iter().filter(|device| !is_own(&device.path)).map(node).collect()
}

fn node(device: &Device) -> LinuxDevice {
    let mut node = LinuxDevice::default();
    node.set_path(device.path.clone().into())
        .set_typ(kind(device.node.kind))
        .set_major(i64::from(device.node.major))
        .set_minor(i64::from(device.node.minor))
        .set_file_mode(Some(device.node.mode))
        .set_uid(Some(device.node.uid))
        .set_gid(Some(device.node.gid));
    node
}

fn kind(letter: char) -> LinuxDeviceType {
    match letter {
        'b' => LinuxDeviceType::B,
        'c' => LinuxDeviceType::C,
        'p' => LinuxDeviceType::P,
        _ => LinuxDeviceType::A,
    }
}

/// The rules in their order: deny all, then Docker's defaults, the devices, the user's rules.
pub(super) fn rules(
    host: &HostConfig,
    devices: &[Device],
) -> Result<Vec<LinuxDeviceCgroup>, SpecError> {
    if host.privileged {
        return Ok(vec![rule('a', None, None, "rwm")]);
    }
    let mut deny = rule('a', None, None, "rwm");
    deny.set_allow(false);
    let mut rules = vec![deny, rule('c', None, None, "m"), rule('b', None, None, "m")];
    rules.extend(ALLOWED.map(|(major, minor)| rule('c', Some(major), Some(minor), "rwm")));
    rules.push(rule('c', Some(PTS), None, "rwm"));
    for device in devices.iter().filter(|device| device.node.kind != 'p') {
        let (major, minor) = (i64::from(device.node.major), i64::from(device.node.minor));
        rules.push(rule(device.node.kind, Some(major), Some(minor), &device.access));
    }
    for text in &host.device_cgroup_rules {
        let Rule { kind, major, minor, access } = container::rule(text)?;
        rules.push(rule(kind, major.map(i64::from), minor.map(i64::from), &access));
    }
    Ok(rules)
}

fn rule(letter: char, major: Option<i64>, minor: Option<i64>, access: &str) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true)
        .set_typ(Some(kind(letter)))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.to_owned()));
    rule
}
