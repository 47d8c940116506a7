//! `linux` of a configuration, but for resources and seccomp.

use std::path::Path;

use isula_sys::mount;
use oci_spec::runtime::{Linux, LinuxDeviceType, LinuxNamespaceType, LinuxPersonalityDomain};
use rustix::fs::FileType;

use super::mounts::mappings;
use super::tidy;
use crate::error::Error;
use crate::plan::{Device, NamespaceKind, Namespaces, Propagation, PropagationKind, TimeOffset};

/// Fields that this runtime does not do at all.
pub(super) fn refuse_unsupported(linux: &Linux) -> Result<(), Error> {
    let fields = [
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.memoryPolicy", linux.memory_policy().is_some()),
        ("linux.netDevices", linux.net_devices().as_ref().is_some_and(|list| !list.is_empty())),
    ];
    match fields.into_iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(Error::unsupported(field, "")),
        None => Ok(()),
    }
}

pub(super) fn namespaces(linux: &Linux) -> Result<Namespaces, Error> {
    let mut namespaces = Namespaces::default();
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let kind = kind(namespace.typ());
        let field = format!("linux.namespaces[{index}]");
        if namespaces.separates(kind) {
            return Err(Error::invalid(
                field,
                format!("there are two of type {}", namespace.typ()),
            ));
        }
        match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            None => namespaces.new |= kind.bit(),
            Some(_) if kind == NamespaceKind::Mount => {
                let why = "the mounts of a container are made in a namespace of its own";
                return Err(Error::unsupported(format!("{field}.path"), why));
            }
            Some(path) if path.is_absolute() && path.to_str().is_some() => {
                namespaces.join.push((kind, path.clone()));
            }
            Some(_) => {
                return Err(Error::invalid(format!("{field}.path"), "it is not an absolute path"));
            }
        }
    }
    if !namespaces.makes(NamespaceKind::Mount) {
        return Err(Error::unsupported("linux.namespaces", "there is no mount namespace in it"));
    }
    ids(linux, &mut namespaces)?;
    clocks(linux, &mut namespaces)?;
    Ok(namespaces)
}

const fn kind(kind: LinuxNamespaceType) -> NamespaceKind {
    match kind {
        LinuxNamespaceType::Mount => NamespaceKind::Mount,
        LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
        LinuxNamespaceType::Uts => NamespaceKind::Uts,
        LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
        LinuxNamespaceType::User => NamespaceKind::User,
        LinuxNamespaceType::Pid => NamespaceKind::Pid,
        LinuxNamespaceType::Network => NamespaceKind::Network,
        LinuxNamespaceType::Time => NamespaceKind::Time,
    }
}

fn ids(linux: &Linux, namespaces: &mut Namespaces) -> Result<(), Error> {
    let lists =
        [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())];
    let makes_user = namespaces.makes(NamespaceKind::User);
    for (field, list) in lists {
        let list = list.as_deref().unwrap_or_default();
        if list.is_empty() == makes_user && namespaces.joined(NamespaceKind::User).is_none() {
            let why = if makes_user {
                "a new user namespace needs it"
            } else {
                "there is no user namespace"
            };
            return Err(Error::invalid(field, why));
        }
        // The kernel takes 340 lines (user_namespaces(7)), and none that is empty or wraps.
        let wrong = |start: u32, size: u32| size == 0 || start.checked_add(size).is_none();
        if list.len() > 340
            || list.iter().any(|one| {
                wrong(one.host_id(), one.size()) || wrong(one.container_id(), one.size())
            })
        {
            return Err(Error::invalid(field, "a range is empty or too large"));
        }
    }
    if makes_user {
        namespaces.uid_mappings = mappings(linux.uid_mappings().as_deref().unwrap_or_default());
        namespaces.gid_mappings = mappings(linux.gid_mappings().as_deref().unwrap_or_default());
    }
    Ok(())
}

fn clocks(linux: &Linux, namespaces: &mut Namespaces) -> Result<(), Error> {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|list| !list.is_empty()) else {
        return Ok(());
    };
    if !namespaces.makes(NamespaceKind::Time) {
        return Err(Error::invalid("linux.timeOffsets", "there is no new time namespace"));
    }
    for (clock, offset) in offsets {
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        if !matches!(clock.as_str(), "monotonic" | "boottime") || nanoseconds > 999_999_999 {
            return Err(Error::invalid(
                format!("linux.timeOffsets.{clock}"),
                "no such clock or time",
            ));
        }
        let seconds = offset.secs().unwrap_or(0);
        namespaces.time_offsets.push(TimeOffset { clock: clock.clone(), seconds, nanoseconds });
    }
    namespaces.time_offsets.sort_by(|one, other| one.clock.cmp(&other.clock));
    Ok(())
}

pub(super) fn devices(linux: &Linux) -> Result<Vec<Device>, Error> {
    let mut devices: Vec<Device> = Vec::new();
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        let field = |name: &str| format!("linux.devices[{index}].{name}");
        let path = tidy(device.path()).filter(|path| path != "/");
        let path =
            path.ok_or_else(|| Error::invalid(field("path"), "it is not an absolute path"))?;
        if devices.iter().any(|other| other.path == path) {
            return Err(Error::invalid(field("path"), format!("{path} is there twice")));
        }
        let kind = match device.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::P => FileType::Fifo,
            LinuxDeviceType::A => {
                return Err(Error::invalid(field("type"), "a is for rules, not for devices"));
            }
        };
        let number = |name: &str, number: i64| {
            u32::try_from(number).map_err(|_| Error::invalid(field(name), "it is out of range"))
        };
        let mode = device.file_mode().unwrap_or(0o666);
        // Some engines put the type of the file into the mode.
        if FileType::from_raw_mode(mode) != kind && mode & !0o7777 != 0 {
            return Err(Error::invalid(field("fileMode"), "it does not match the type"));
        }
        let mode = mode & 0o7777;
        devices.push(Device {
            path,
            mode: kind.as_raw_mode() | mode,
            major: number("major", device.major())?,
            minor: number("minor", device.minor())?,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        });
    }
    Ok(devices)
}

pub(super) fn paths(field: &str, list: Option<&Vec<String>>) -> Result<Vec<String>, Error> {
    let list = list.into_iter().flatten().enumerate();
    list.map(|(index, path)| {
        tidy(Path::new(path)).ok_or_else(|| {
            Error::invalid(format!("{field}[{index}]"), "it is not an absolute path")
        })
    })
    .collect()
}

/// Parameters that exist once for each ipc namespace, sysctl(5).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

pub(super) fn sysctls(
    linux: &Linux,
    namespaces: &Namespaces,
) -> Result<Vec<(String, String)>, Error> {
    let mut sysctls = Vec::new();
    for (key, value) in linux.sysctl().iter().flatten() {
        let refuse = |why: &str| Error::unsupported(format!("linux.sysctl.{key}"), why);
        let file = sysctl_file(key).ok_or_else(|| refuse("it is no name of a parameter"))?;
        let dotted = file.replace('/', ".");
        // A parameter of the host is none of a container's business (CVE-2022-0811).
        let owner = if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
            NamespaceKind::Ipc
        } else if dotted.starts_with("net.") {
            NamespaceKind::Network
        } else if matches!(dotted.as_str(), "kernel.hostname" | "kernel.domainname") {
            NamespaceKind::Uts
        } else {
            return Err(refuse("it is not of a namespace"));
        };
        if !namespaces.separates(owner) {
            return Err(refuse(&format!("the {} namespace is the host's", owner.file())));
        }
        if value.contains('\0') {
            return Err(refuse("its value has a zero byte"));
        }
        sysctls.push((file, value.clone()));
    }
    sysctls.sort();
    Ok(sysctls)
}

/// The file below `/proc/sys`: dots part the names, and where a name has a dot (an interface of the
/// network) slashes do, sysctl(8).
fn sysctl_file(key: &str) -> Option<String> {
    let first = key.find(['.', '/'])?;
    let slashes = key.as_bytes().get(first) == Some(&b'/');
    let file = if slashes {
        key.to_owned()
    } else {
        let swapped = key.chars().map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        });
        swapped.collect()
    };
    let fine = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    file.split('/').all(fine).then_some(file)
}

pub(super) fn rootfs_propagation(linux: &Linux) -> Result<Option<Propagation>, Error> {
    let Some(text) = linux.rootfs_propagation().as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let (recursive, name) = match text.strip_prefix('r') {
        Some(name) => (true, name),
        None => (false, text),
    };
    let kind = match name {
        "shared" => PropagationKind::Shared,
        "slave" => PropagationKind::Slave,
        "private" => PropagationKind::Private,
        "unbindable" => PropagationKind::Unbindable,
        _ => return Err(Error::invalid("linux.rootfsPropagation", format!("there is no {text}"))),
    };
    Ok(Some(Propagation { kind, recursive }))
}

pub(super) fn mount_label(linux: &Linux) -> Result<Option<String>, Error> {
    let Some(label) = linux.mount_label().as_ref().filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    if !super::process::has_selinux() {
        return Err(Error::unsupported("linux.mountLabel", "SELinux is not enabled"));
    }
    Ok(Some(label.clone()))
}

/// `personality(2)`: `PER_LINUX` and `PER_LINUX32` of linux/personality.h.
pub(super) fn personality(linux: &Linux) -> Result<Option<u32>, Error> {
    let Some(personality) = linux.personality() else { return Ok(None) };
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(Error::unsupported("linux.personality.flags", ""));
    }
    Ok(Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }))
}

// The value of `relatime` is the absence of the others; the table of options relies on it.
const _: () = assert!(mount::RELATIME == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_names_one_file_below_proc_sys() {
        for (key, file) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/conf/eth0.100/forwarding", Some("net/ipv4/conf/eth0.100/forwarding")),
            ("net.ipv4.conf.eth0/100.forwarding", Some("net/ipv4/conf/eth0.100/forwarding")),
            ("kernel.shmmax", Some("kernel/shmmax")),
            ("net/../kernel/core_pattern", None),
            ("net..ipv4", None),
            ("kernel", None),
            ("", None),
        ] {
            assert_eq!(sysctl_file(key).as_deref(), file, "{key}");
        }
    }
}
