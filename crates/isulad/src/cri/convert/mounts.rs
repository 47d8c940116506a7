//! Mounts of containers.

use isula_api::runtime::v1;
use isula_core::{
    container::Propagation,
    sandbox::{IdMapping, MountFlags, PodMount, PodMountSource, ReadOnly},
};
use tonic::Status;

use super::known;
use crate::api::status::invalid;

impl TryFrom<Wire<v1::Mount>> for PodMount {
    type Error = Status;

    fn try_from(Wire(mount): Wire<v1::Mount>) -> Result<Self, Status> {
        let target = mount.container_path.clone();
        let wrong = |why: &str| invalid(format!("mount at {target:?}: {why}"));
        let propagation = match known("propagation", mount.propagation)? {
            v1::MountPropagation::PropagationPrivate => Propagation::Rprivate,
            v1::MountPropagation::PropagationHostToContainer => Propagation::Rslave,
            v1::MountPropagation::PropagationBidirectional => Propagation::Rshared,
        };
        let readonly = match (mount.readonly, mount.recursive_read_only) {
            (false, true) => return Err(wrong("recursive_read_only needs readonly")),
            (true, true) if propagation != Propagation::Rprivate => {
                return Err(wrong("recursive_read_only needs private propagation"));
            }
            (true, true) => ReadOnly::Recursive,
            (true, false) => ReadOnly::Top,
            (false, false) => ReadOnly::No,
        };
        let image = mount.image.filter(|image| !image.image.is_empty());
        let source = match image {
            Some(_) if !mount.host_path.is_empty() => {
                return Err(wrong("it can be of an image or of a path of the host, not both"));
            }
            Some(image) => {
                let sub_path = mount.image_sub_path;
                PodMountSource::Image { reference: image.image, id: None, sub_path }
            }
            None if mount.host_path.is_empty() => return Err(wrong("it has no source")),
            None if !mount.image_sub_path.is_empty() => {
                return Err(wrong("image_sub_path needs an image"));
            }
            None => PodMountSource::Host(mount.host_path),
        };
        Ok(Self {
            source,
            readonly,
            propagation,
            selinux_relabel: mount.selinux_relabel,
            uids: mount.uid_mappings.into_iter().map(mapping).collect(),
            gids: mount.gid_mappings.into_iter().map(mapping).collect(),
            flags: flags(&mount.mount_options).map_err(|option| {
                wrong(&format!("mount_options: {option:?} is not noexec, nodev or nosuid"))
            })?,
            target: mount.container_path,
        })
    }
}

/// A message, where the type of the domain is not of this crate either.
pub(super) struct Wire<T>(pub T);

/// Flags by name; the option that is none.
fn flags(options: &[String]) -> Result<MountFlags, String> {
    let mut flags = MountFlags::default();
    for option in options {
        match option.as_str() {
            "noexec" => flags.noexec = true,
            "nodev" => flags.nodev = true,
            "nosuid" => flags.nosuid = true,
            other => return Err(other.to_owned()),
        }
    }
    Ok(flags)
}

/// A range of ids.
pub(super) fn mapping(mapping: v1::IdMapping) -> IdMapping {
    IdMapping { host: mapping.host_id, container: mapping.container_id, length: mapping.length }
}

/// A range of ids, outwards.
pub(super) fn mapping_message(mapping: &IdMapping) -> v1::IdMapping {
    v1::IdMapping { host_id: mapping.host, container_id: mapping.container, length: mapping.length }
}

/// A mount as a status shows it.
pub(super) fn message(mount: &PodMount) -> v1::Mount {
    let (host_path, image, image_sub_path) = match &mount.source {
        PodMountSource::Host(path) => (path.clone(), None, String::new()),
        PodMountSource::Image { reference, id, sub_path } => {
            let image_ref = id.as_ref().map(ToString::to_string).unwrap_or_default();
            let image = reference.clone();
            let spec = v1::ImageSpec { image, image_ref, ..v1::ImageSpec::default() };
            (String::new(), Some(spec), sub_path.clone())
        }
    };
    let propagation = match mount.propagation {
        Propagation::Rshared | Propagation::Shared => {
            v1::MountPropagation::PropagationBidirectional
        }
        Propagation::Rslave | Propagation::Slave => {
            v1::MountPropagation::PropagationHostToContainer
        }
        Propagation::Rprivate | Propagation::Private => v1::MountPropagation::PropagationPrivate,
    };
    let MountFlags { noexec, nodev, nosuid } = mount.flags;
    let named = [("noexec", noexec), ("nodev", nodev), ("nosuid", nosuid)];
    v1::Mount {
        container_path: mount.target.clone(),
        host_path,
        readonly: mount.readonly != ReadOnly::No,
        selinux_relabel: mount.selinux_relabel,
        propagation: propagation.into(),
        uid_mappings: mount.uids.iter().map(mapping_message).collect(),
        gid_mappings: mount.gids.iter().map(mapping_message).collect(),
        recursive_read_only: mount.readonly == ReadOnly::Recursive,
        image,
        image_sub_path,
        mount_options: named
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| name.to_owned())
            .collect(),
    }
}
