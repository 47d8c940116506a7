//! Namespaces, users, profiles: the security contexts.

use isula_api::runtime::v1::{self, security_profile::ProfileType};
use isula_core::sandbox::{
    ContainerSecurity, GroupsPolicy, NamespaceModes, Scope, SecurityProfile, Selinux, UserNamespace,
};
use tonic::Status;

use super::{id, known, mounts, some};
use crate::api::status::invalid;

/// Whose namespaces are wanted.
pub(super) fn namespaces(options: Option<v1::NamespaceOption>) -> Result<NamespaceModes, Status> {
    let options = options.unwrap_or_default();
    let scope = |field: &str, value: i32| {
        Ok::<_, Status>(match known(field, value)? {
            v1::NamespaceMode::Pod => Scope::Pod,
            v1::NamespaceMode::Container => Scope::Container,
            v1::NamespaceMode::Node => Scope::Node,
            v1::NamespaceMode::Target if options.target_id.is_empty() => {
                return Err(invalid(format!("{field}: TARGET needs target_id")));
            }
            v1::NamespaceMode::Target => Scope::Target(options.target_id.clone()),
        })
    };
    Ok(NamespaceModes {
        network: scope("namespace_options: network", options.network)?,
        pid: scope("namespace_options: pid", options.pid)?,
        ipc: scope("namespace_options: ipc", options.ipc)?,
        user: options.userns_options.clone().map(user_namespace).transpose()?.flatten(),
    })
}

fn user_namespace(options: v1::UserNamespace) -> Result<Option<UserNamespace>, Status> {
    const FIELD: &str = "userns_options: mode";
    match known(FIELD, options.mode)? {
        v1::NamespaceMode::Node if options.uids.is_empty() && options.gids.is_empty() => Ok(None),
        v1::NamespaceMode::Node => Err(invalid("userns_options: NODE has no mappings")),
        v1::NamespaceMode::Pod if options.uids.is_empty() && options.gids.is_empty() => Ok(None),
        v1::NamespaceMode::Pod => Ok(Some(UserNamespace {
            uids: options.uids.into_iter().map(mounts::mapping).collect(),
            gids: options.gids.into_iter().map(mounts::mapping).collect(),
        })),
        v1::NamespaceMode::Container | v1::NamespaceMode::Target => {
            Err(invalid(format!("{FIELD}: it must be POD or NODE")))
        }
    }
}

/// Whose namespaces a sandbox has, outwards.
pub(super) fn namespace_options(modes: &NamespaceModes) -> v1::NamespaceOption {
    let mode = |scope: &Scope| -> i32 {
        match scope {
            Scope::Pod => v1::NamespaceMode::Pod.into(),
            Scope::Container => v1::NamespaceMode::Container.into(),
            Scope::Node => v1::NamespaceMode::Node.into(),
            Scope::Target(_) => v1::NamespaceMode::Target.into(),
        }
    };
    let target_id = match &modes.pid {
        Scope::Target(id) => id.clone(),
        _ => String::new(),
    };
    v1::NamespaceOption {
        network: mode(&modes.network),
        pid: mode(&modes.pid),
        ipc: mode(&modes.ipc),
        target_id,
        userns_options: modes.user.as_ref().map(|user| v1::UserNamespace {
            mode: v1::NamespaceMode::Pod.into(),
            uids: user.uids.iter().map(mounts::mapping_message).collect(),
            gids: user.gids.iter().map(mounts::mapping_message).collect(),
        }),
    }
}

/// An SELinux label.
pub(super) fn selinux(option: v1::SeLinuxOption) -> Selinux {
    Selinux { user: option.user, role: option.role, kind: option.r#type, level: option.level }
}

/// The security context of a container. One that says nothing gets the defaults; one that is there
/// decides which paths are hidden, be they none.
#[expect(deprecated, reason = "former kubelets send nothing else")]
pub(super) fn container(
    context: Option<v1::LinuxContainerSecurityContext>,
) -> Result<ContainerSecurity, Status> {
    let Some(context) = context else { return Ok(ContainerSecurity::default()) };
    let seccomp = profile("seccomp", context.seccomp, &context.seccomp_profile_path)?;
    let apparmor = profile("apparmor", context.apparmor, &context.apparmor_profile)?;
    let capabilities = context.capabilities.unwrap_or_default();
    let user = context.run_as_user.map(|user| id("run_as_user", user.value)).transpose()?;
    let group = context.run_as_group.map(|group| id("run_as_group", group.value)).transpose()?;
    let username = some(context.run_as_username);
    if group.is_some() && user.is_none() && username.is_none() {
        return Err(invalid("run_as_group needs run_as_user or run_as_username"));
    }
    let groups = context.supplemental_groups.into_iter();
    Ok(ContainerSecurity {
        privileged: context.privileged,
        cap_add: capabilities.add_capabilities,
        cap_drop: capabilities.drop_capabilities,
        cap_ambient: capabilities.add_ambient_capabilities,
        namespaces: namespaces(context.namespace_options)?,
        selinux: context.selinux_options.map(selinux),
        run_as_user: user,
        run_as_group: group,
        run_as_username: username,
        supplemental_groups: groups
            .map(|group| id("supplemental_groups", group))
            .collect::<Result<_, _>>()?,
        supplemental_groups_policy: match known(
            "supplemental_groups_policy",
            context.supplemental_groups_policy,
        )? {
            v1::SupplementalGroupsPolicy::Merge => GroupsPolicy::Merge,
            v1::SupplementalGroupsPolicy::Strict => GroupsPolicy::Strict,
        },
        readonly_rootfs: context.readonly_rootfs,
        no_new_privs: context.no_new_privs,
        masked_paths: Some(context.masked_paths),
        readonly_paths: Some(context.readonly_paths),
        seccomp,
        apparmor,
    })
}

/// A profile, or the text that stood for one in former versions.
fn profile(
    field: &str,
    profile: Option<v1::SecurityProfile>,
    text: &str,
) -> Result<Option<SecurityProfile>, Status> {
    if let Some(profile) = profile {
        return Ok(Some(match known(field, profile.profile_type)? {
            ProfileType::RuntimeDefault => SecurityProfile::RuntimeDefault,
            ProfileType::Unconfined => SecurityProfile::Unconfined,
            ProfileType::Localhost if profile.localhost_ref.is_empty() => {
                return Err(invalid(format!("{field}: Localhost needs localhost_ref")));
            }
            // The prefix is of former versions.
            ProfileType::Localhost => {
                let name = profile.localhost_ref;
                let bare = name.strip_prefix("localhost/").unwrap_or(&name);
                SecurityProfile::Localhost(bare.to_owned())
            }
        }));
    }
    match text {
        "" => Ok(None),
        "runtime/default" | "docker/default" => Ok(Some(SecurityProfile::RuntimeDefault)),
        "unconfined" => Ok(Some(SecurityProfile::Unconfined)),
        text => match text.strip_prefix("localhost/") {
            Some(name) if !name.is_empty() => Ok(Some(SecurityProfile::Localhost(name.to_owned()))),
            _ => Err(invalid(format!("{field}: there is no profile {text:?}"))),
        },
    }
}
