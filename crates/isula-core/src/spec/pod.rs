//! What a spec has of a sandbox: mounts as CRI asks for them, and labels.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder, Mount, Process};

use super::{Facts, PodSource, mounts::mount};
use crate::{
    container::{Container, Propagation},
    ports::HostFacts,
    sandbox::{IdMapping, MountFlags, PodMount, PodMountSource, ReadOnly, Selinux},
};

/// The mounts of a container of a sandbox, in the order of the request.
pub(super) fn mounts(container: &Container, facts: &Facts<'_>) -> Vec<Mount> {
    let (Some(pod), Some(of)) = (&container.pod, &facts.pod) else { return Vec::new() };
    pod.mounts.iter().zip(&of.sources).map(|(one, source)| build(one, source, facts)).collect()
}

fn build(wanted: &PodMount, source: &PodSource, facts: &Facts<'_>) -> Mount {
    let mut options = Vec::new();
    let (kind, source) = match source {
        PodSource::Host(path) => {
            options.push("rbind".to_owned());
            options.push(propagation(wanted.propagation).to_owned());
            ("bind", path.as_str())
        }
        PodSource::Layers(layers) => {
            options.extend(layers.iter().map(|layer| format!("lowerdir+={}", layer.display())));
            if let PodMountSource::Image { sub_path, .. } = &wanted.source
                && !sub_path.is_empty()
            {
                options.push(format!("x-lcr.subpath={sub_path}"));
            }
            // Its files belong to the ids of the container.
            options.extend(facts.joined.user.as_ref().map(|_| "idmap".to_owned()));
            ("overlay", "overlay")
        }
    };
    match wanted.readonly {
        ReadOnly::No => options.push("rw".to_owned()),
        ReadOnly::Top => options.push("ro".to_owned()),
        ReadOnly::Recursive => options.extend(["ro", "rro"].map(str::to_owned)),
    }
    let MountFlags { noexec, nodev, nosuid } = wanted.flags;
    for (set, flag) in [(noexec, "noexec"), (nodev, "nodev"), (nosuid, "nosuid")] {
        options.extend(set.then(|| flag.to_owned()));
    }
    let texts: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut mount = mount(source, &wanted.target, kind, &texts);
    if !wanted.uids.is_empty() {
        mount.set_uid_mappings(Some(mappings(&wanted.uids)));
        mount.set_gid_mappings(Some(mappings(&wanted.gids)));
    }
    mount
}

/// CRI's PRIVATE, HOST_TO_CONTAINER and BIDIRECTIONAL are for the whole tree.
fn propagation(wanted: Propagation) -> &'static str {
    match wanted {
        Propagation::Rprivate | Propagation::Private => "rprivate",
        Propagation::Rslave | Propagation::Slave => "rslave",
        Propagation::Rshared | Propagation::Shared => "rshared",
    }
}

/// Mappings as the runtime-spec has them.
#[expect(clippy::expect_used, reason = "every field that the builder needs is given")]
fn mappings(wanted: &[IdMapping]) -> Vec<LinuxIdMapping> {
    let one = |mapping: &IdMapping| {
        LinuxIdMappingBuilder::default()
            .host_id(mapping.host)
            .container_id(mapping.container)
            .size(mapping.length)
            .build()
            .expect("a mapping with all its fields")
    };
    wanted.iter().map(one).collect()
}

/// The SELinux label of the process, where the kernel knows labels.
pub(super) fn label_process(process: &mut Process, container: &Container, host: &HostFacts) {
    if let Some(label) = selinux(container, host) {
        process.set_selinux_label(Some(process_label(label)));
    }
}

/// The SELinux label of what it mounts.
pub(super) fn label_mounts(linux: &mut Linux, container: &Container, facts: &Facts<'_>) {
    if let Some(label) = selinux(container, facts.host) {
        linux.set_mount_label(Some(mount_label(label)));
    }
}

fn selinux<'a>(container: &'a Container, host: &HostFacts) -> Option<&'a Selinux> {
    let pod = container.pod.as_ref().filter(|_| host.selinux && !container.host.privileged)?;
    pod.selinux.as_ref()
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// The parts that are not given are those of container-selinux.
fn process_label(label: &Selinux) -> String {
    let Selinux { user, role, kind, level } = label;
    let (user, role) = (or(user, "system_u"), or(role, "system_r"));
    format!("{user}:{role}:{}:{}", or(kind, "container_t"), or(level, "s0"))
}

fn mount_label(label: &Selinux) -> String {
    let level = or(&label.level, "s0");
    format!("{}:object_r:container_file_t:{level}", or(&label.user, "system_u"))
}
