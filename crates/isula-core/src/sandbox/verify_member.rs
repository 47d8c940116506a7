//! What may be asked of a container in a sandbox, beyond what holds for every container.

use super::{
    NewMember, PodMount, PodMountSource, ReadOnly, Sandbox, Scope, SecurityProfile,
    texts::{verify_name, verify_texts},
};
use crate::{
    container::{Invalid, Propagation, path},
    ports::HostFacts,
};

/// Checks a request and cleans the paths in it.
///
/// # Errors
/// The first thing that is wrong, named by its field.
pub fn verify_member(
    sandbox: &Sandbox,
    new: &mut NewMember,
    facts: &HostFacts,
) -> Result<(), Invalid> {
    if new.metadata.name.is_empty() {
        return Err(Invalid::value("metadata.name", "", "a container needs a name"));
    }
    verify_name("metadata.name", &new.metadata.name)?;
    verify_texts("label", &new.labels)?;
    verify_texts("annotation", &new.annotations)?;
    if new.image.is_empty() {
        return Err(Invalid::NoSource);
    }
    let security = &new.security;
    if security.privileged && !sandbox.config.privileged {
        let why = "the sandbox is not privileged";
        return Err(Invalid::value("privileged", "true", why));
    }
    if security.run_as_user.is_some_and(|uid| uid > i32::MAX.unsigned_abs()) {
        let why = "ids must be in the range 0-2147483647";
        return Err(Invalid::value("run_as_user", security.run_as_user.unwrap_or(0), why));
    }
    if let Some(user) = security.user_namespace()
        && sandbox.config.namespaces.user.as_ref() != Some(user)
    {
        let why = "it must be that of the sandbox";
        return Err(Invalid::value("userns_options", "POD", why));
    }
    if security.privileged && sandbox.config.namespaces.user.is_some() {
        return Err(Invalid::Conflict("privileged", "userns_options POD"));
    }
    if security.namespaces.network == Scope::Container {
        return Err(Invalid::value("network", "CONTAINER", "only POD and NODE"));
    }
    apparmor(new, facts)?;
    seccomp(new)?;
    for paths in [&mut new.security.masked_paths, &mut new.security.readonly_paths] {
        for entry in paths.iter_mut().flatten() {
            *entry = path::clean("masked or read-only path", entry)?;
        }
    }
    log_path(new)?;
    new.mounts.iter_mut().try_for_each(|one| mount(one, facts))
}

fn apparmor(new: &NewMember, facts: &HostFacts) -> Result<(), Invalid> {
    match &new.security.apparmor {
        Some(SecurityProfile::Localhost(name)) if !facts.apparmor => {
            let (field, value) = ("apparmor", name.clone());
            Err(Invalid::Unsupported { field, value, why: "the kernel has no AppArmor" })
        }
        _ => Ok(()),
    }
}

fn seccomp(new: &NewMember) -> Result<(), Invalid> {
    match &new.security.seccomp {
        Some(SecurityProfile::Localhost(file)) => path::clean("seccomp", file).map(drop),
        _ => Ok(()),
    }
}

/// Beneath the log directory: it is opened there without following a link.
fn log_path(new: &NewMember) -> Result<(), Invalid> {
    let Some(path) = &new.log_path else { return Ok(()) };
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.split('/').any(odd) || path.contains('\0') {
        return Err(Invalid::value("log_path", path, "it must be a path beneath log_directory"));
    }
    Ok(())
}

fn mount(mount: &mut PodMount, facts: &HostFacts) -> Result<(), Invalid> {
    mount.target = path::mount_target("container_path", &mount.target)?;
    let target = mount.target.clone();
    match &mut mount.source {
        PodMountSource::Host(source) => *source = path::clean("host_path", source)?,
        PodMountSource::Image { reference, sub_path, .. } => {
            if reference.is_empty() {
                return Err(Invalid::value("image", &target, "it names no image"));
            }
            if sub_path.starts_with('/') || sub_path.split('/').any(|part| part == "..") {
                return Err(Invalid::value("image_sub_path", sub_path, "it must be beneath"));
            }
            if mount.readonly == ReadOnly::No {
                mount.readonly = ReadOnly::Top;
            }
        }
    }
    if mount.readonly == ReadOnly::Recursive {
        if !matches!(mount.propagation, Propagation::Rprivate | Propagation::Private) {
            return Err(Invalid::Conflict("recursive_read_only", "propagation"));
        }
        if facts.kernel_version() < (5, 12) {
            let (field, value) = ("recursive_read_only", target);
            return Err(Invalid::Unsupported {
                field,
                value,
                why: "the kernel is older than 5.12",
            });
        }
    }
    if mount.uids.len() != mount.gids.len() {
        return Err(Invalid::value("uidMappings", &mount.target, "and gidMappings must match"));
    }
    Ok(())
}
