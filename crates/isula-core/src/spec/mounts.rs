//! The mounts of a spec: the system's, the engine's files, then the user's, in the order in which
//! they are made.

use std::path::Path;

use oci_spec::runtime::Mount;

use super::{Facts, SpecError, cdi, pod};
use crate::container::{
    Container, HostConfig, Mount as UserMount, NamespaceMode, Propagation, Tmpfs, path,
    security::Security,
};

/// Bytes of `/dev/shm` when nothing is said.
const SHM_SIZE: u64 = 64 << 20;
/// The first kernel that makes a tree read-only as a whole (mount_setattr(2)).
const RECURSIVE_READONLY: (u32, u32) = (5, 12);

pub(super) fn build(container: &Container, facts: &Facts<'_>) -> Result<Vec<Mount>, SpecError> {
    let host = &container.host;
    let devices = cdi::mounts(&facts.cdi);
    let mut mounts = system(host, facts)?;
    let directory = facts.pod.as_ref().map_or(&facts.directory, |pod| &pod.files);
    mounts.extend(files(host, directory, facts));
    let targets = || {
        let of_pod = container.pod.iter().flat_map(|pod| &pod.mounts);
        targets(host).chain(of_pod.map(|mount| mount.target.as_str()))
    };
    // The user's mounts take the place of the engine's, and of what lies below them in /dev.
    let dev = targets().any(|target| target == "/dev");
    mounts.retain(|mount| {
        let destination = mount.destination().to_string_lossy();
        let replaced = targets().any(|target| target == destination)
            || devices.iter().any(|device| device.destination() == mount.destination());
        let covered = dev && destination.starts_with("/dev/");
        !replaced && !covered
    });
    let mut own: Vec<Mount> = host.tmpfs.iter().map(tmpfs).collect();
    let recursive = facts.host.kernel_version() >= RECURSIVE_READONLY;
    own.extend(host.mounts.iter().zip(&facts.sources).map(|(mount, source)| {
        bind(mount, source, if recursive { Readonly::Tree } else { Readonly::Top })
    }));
    own.extend(pod::mounts(container, facts));
    own.retain(|mount| !devices.iter().any(|it| it.destination() == mount.destination()));
    own.extend(devices);
    // What lies deeper is mounted later.
    own.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(own);
    Ok(mounts)
}

fn targets(host: &HostConfig) -> impl Iterator<Item = &str> {
    let tmpfs = host.tmpfs.iter().map(|tmpfs| tmpfs.target.as_str());
    host.mounts.iter().map(|mount| mount.target.as_str()).chain(tmpfs)
}

/// Docker's, with `/dev` first as the seed shows it.
fn system(host: &HostConfig, facts: &Facts<'_>) -> Result<Vec<Mount>, SpecError> {
    let security = Security::parse(&host.security_opt)?;
    let access = if host.privileged { "rw" } else { "ro" };
    let cgroup_access = if security.writable_cgroups { "rw" } else { access };
    let mut mounts = vec![
        mount("tmpfs", "/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("mqueue", "/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("proc", "/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "devpts",
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("sysfs", "/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount(
            "cgroup",
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", cgroup_access],
        ),
    ];
    if host.ipc == NamespaceMode::Host {
        // A new mount of mqueue shows the queues of the namespace, the host's; `/dev/shm` is a
        // file system of its own.
        mounts.push(mount("/dev/shm", "/dev/shm", "bind", &["rbind"]));
    } else if let Some(shm) = &facts.joined.shm {
        let options = ["bind", "rprivate", "nosuid", "noexec", "nodev"];
        mounts.push(mount(&shm.to_string_lossy(), "/dev/shm", "bind", &options));
    } else {
        let size = format!("size={}k", host.shm_size.unwrap_or(SHM_SIZE).div_ceil(1024));
        let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
        mounts.push(mount("shm", "/dev/shm", "tmpfs", &options));
    }
    Ok(mounts)
}

/// The files that the engine writes for the container.
fn files(host: &HostConfig, directory: &Path, facts: &Facts<'_>) -> [Mount; 3] {
    let access = if host.readonly_rootfs { "ro" } else { "rw" };
    // They belong to the host's root: seen through the mapping they belong to the container's.
    let idmap = facts.joined.user.is_some();
    ["resolv.conf", "hostname", "hosts"].map(|name| {
        let source = directory.join(name);
        let destination = format!("/etc/{name}");
        let mut options = vec!["rbind", "rprivate", access];
        options.extend(idmap.then_some("idmap"));
        mount(&source.to_string_lossy(), &destination, "bind", &options)
    })
}

/// Docker's defaults, each of which the user can turn.
fn tmpfs(tmpfs: &Tmpfs) -> Mount {
    let wanted: Vec<&str> = tmpfs.options.split(',').filter(|word| !word.is_empty()).collect();
    let mut options = Vec::new();
    for (safe, unsafe_) in [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")] {
        if !wanted.contains(&safe) && !wanted.contains(&unsafe_) {
            options.push(safe);
        }
    }
    options.extend(wanted.iter().filter(|word| **word != "defaults"));
    mount("tmpfs", &tmpfs.target, "tmpfs", &options)
}

/// How far read-only reaches.
#[derive(Clone, Copy)]
enum Readonly {
    /// The mount and all below it.
    Tree,
    /// The mount alone.
    Top,
}

fn bind(user: &UserMount, source: &str, readonly: Readonly) -> Mount {
    let mut options = vec![if user.recursive { "rbind" } else { "bind" }];
    options.push(match user.propagation {
        Propagation::Rprivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Rshared => "rshared",
        Propagation::Shared => "shared",
        Propagation::Rslave => "rslave",
        Propagation::Slave => "slave",
    });
    match (user.readonly, user.recursive, readonly) {
        (false, ..) => options.push("rw"),
        (true, true, Readonly::Tree) => options.extend(["ro", "rro"]),
        (true, ..) => options.push("ro"),
    }
    mount(source, &user.target, "bind", &options)
}

pub(super) fn mount(source: &str, destination: &str, kind: &str, options: &[&str]) -> Mount {
    debug_assert!(path::clean("mount", destination).is_ok());
    let mut mount = Mount::default();
    mount
        .set_source(Some(source.into()))
        .set_destination(destination.into())
        .set_typ(Some(kind.to_owned()))
        .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}
