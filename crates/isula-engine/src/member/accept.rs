//! From CRI's request to a container: the sandbox's part is added, the image's defaults are merged
//! in, and what can't be had is refused. Nothing is made.

use std::sync::Arc;

use isula_core::{
    container::{
        self, Container, HostConfig, Invalid, LogConfig, LogDriver, NetworkMode, Overrides, Source,
        State,
    },
    id::{ContainerId, Name},
    image::Image,
    sandbox::{
        ContainerSecurity, CriLog, Member, NamespaceModes, NewMember, PodMountSource, Sandbox,
        Scope, SecurityProfile, verify_member,
    },
};

use super::update::without_swap;
use crate::{Engine, Error, Result};

/// The largest seccomp profile that is read.
const PROFILE_LIMIT: u64 = 1 << 20;

impl Engine {
    /// The container that a request asks for, and warnings.
    pub(super) async fn accept_member(
        &self,
        id: ContainerId,
        sandbox: &Sandbox,
        mut new: NewMember,
    ) -> Result<(Container, Vec<String>)> {
        verify_member(sandbox, &mut new, self.ports.host.facts())?;
        let name = member_name(sandbox, &new)?;
        let image = self.ports.images.find(&new.image)?;
        let source = Source::Image { reference: new.image.clone(), id: image.id.clone() };
        let namespaces = self.namespaces(sandbox, &new.security.namespaces)?;
        let hostname = sandbox.hostname(self.ports.host.facts());
        let overrides = overrides(&new)?;
        let config = container::merge(&overrides, Some(&image.config), &hostname)?;
        let mut host = self.member_host(sandbox, &new, &namespaces).await?;
        let warnings = container::verify(&config, &mut host, self.ports.host.facts())?;
        let pod = self.membership(sandbox, new, namespaces)?;
        let container = Container {
            id,
            name,
            created: self.ports.clock.now(),
            source,
            config,
            host,
            pod: Some(Box::new(pod)),
            network: None,
            state: State::Created,
            restarts: 0,
            started: None,
            stopped_by_user: false,
        };
        Ok((container, warnings))
    }

    fn membership(
        &self,
        sandbox: &Sandbox,
        new: NewMember,
        namespaces: NamespaceModes,
    ) -> Result<Member> {
        let log = match (&sandbox.config.log_directory, new.log_path) {
            (Some(directory), Some(path)) => Some(CriLog { directory: directory.clone(), path }),
            _ => None,
        };
        let mut mounts = new.mounts;
        for mount in &mut mounts {
            if let PodMountSource::Image { reference, id, .. } = &mut mount.source {
                let image: Arc<Image> = self.ports.images.find(reference)?;
                *id = Some(image.id.clone());
            }
        }
        let ContainerSecurity { supplemental_groups_policy, masked_paths, .. } = new.security;
        Ok(Member {
            sandbox: sandbox.id.clone(),
            sandbox_metadata: sandbox.config.metadata.clone(),
            metadata: new.metadata,
            user_specified_image: new.user_specified_image,
            annotations: new.annotations,
            log,
            namespaces,
            mounts,
            groups_policy: supplemental_groups_policy,
            masked_paths,
            readonly_paths: new.security.readonly_paths,
            selinux: new.security.selinux.or_else(|| sandbox.config.selinux.clone()),
            user: None,
            restored: false,
        })
    }

    /// Whose namespaces the container is in. On the host's network every container is that its
    /// sandbox is on, whatever it says.
    fn namespaces(&self, sandbox: &Sandbox, wanted: &NamespaceModes) -> Result<NamespaceModes> {
        let of_sandbox = &sandbox.config.namespaces;
        for (field, wanted, given) in [
            ("network", &wanted.network, &of_sandbox.network),
            ("ipc", &wanted.ipc, &of_sandbox.ipc),
        ] {
            if *wanted == Scope::Node && *given != Scope::Node {
                let why = "NODE, and the sandbox has a namespace of its own";
                return Err(Invalid::value(field, "NODE", why).into());
            }
        }
        let pid = match &wanted.pid {
            Scope::Target(query) => {
                let target = self.member(query)?;
                let same = target.pod.as_ref().is_some_and(|pod| pod.sandbox == sandbox.id);
                if !same {
                    let why = "the target is in another sandbox";
                    return Err(Invalid::value("target_id", query, why).into());
                }
                Scope::Target(target.id.to_string())
            }
            other => other.clone(),
        };
        if pid == Scope::Node && of_sandbox.user.is_some() {
            return Err(Invalid::Conflict("userns_options POD", "pid NODE").into());
        }
        Ok(NamespaceModes {
            network: of_sandbox.network.clone(),
            pid,
            ipc: of_sandbox.ipc.clone(),
            user: of_sandbox.user.clone(),
        })
    }

    async fn member_host(
        &self,
        sandbox: &Sandbox,
        new: &NewMember,
        namespaces: &NamespaceModes,
    ) -> Result<HostConfig> {
        let security = &new.security;
        let mut security_opt = Vec::new();
        if security.no_new_privs {
            security_opt.push("no-new-privileges".to_owned());
        }
        security_opt.push(self.seccomp(security).await?);
        security_opt.extend(apparmor(security));
        let mode = |scope: &Scope| match scope {
            Scope::Node => container::NamespaceMode::Host,
            _ => container::NamespaceMode::Private,
        };
        let on_host = namespaces.network == Scope::Node;
        // Kubernetes: no swap unless it says so.
        let resources = without_swap(new.resources.clone());
        Ok(HostConfig {
            runtime: sandbox.runtime.clone(),
            network: if on_host { NetworkMode::Host } else { NetworkMode::None },
            uts: if on_host {
                container::NamespaceMode::Host
            } else {
                container::NamespaceMode::Private
            },
            ipc: mode(&namespaces.ipc),
            pid: mode(&namespaces.pid),
            cgroup_parent: Some(sandbox.cgroup.clone()),
            readonly_rootfs: security.readonly_rootfs,
            privileged: security.privileged,
            cap_add: security.cap_add.clone(),
            cap_drop: security.cap_drop.clone(),
            cap_ambient: security.cap_ambient.clone(),
            security_opt,
            group_add: security.supplemental_groups.iter().map(u32::to_string).collect(),
            resources,
            devices: new.devices.clone(),
            cdi_devices: new.cdi_devices.clone(),
            oom_score_adj: new.oom_score_adj,
            // Its log is that of the sandbox's directory, or none.
            log: LogConfig { driver: LogDriver::None, ..LogConfig::default() },
            ..HostConfig::default()
        })
    }

    async fn seccomp(&self, security: &ContainerSecurity) -> Result<String> {
        match &security.seccomp {
            // Nothing confines who may do everything, whatever profile is named.
            _ if security.privileged => Ok("seccomp=unconfined".to_owned()),
            None | Some(SecurityProfile::Unconfined) => Ok("seccomp=unconfined".to_owned()),
            Some(SecurityProfile::RuntimeDefault) => Ok("seccomp=builtin".to_owned()),
            Some(SecurityProfile::Localhost(path)) => {
                let error = |why: &str| Error::from(Invalid::value("seccomp", path, why));
                let file = path.clone();
                let read = move |host: &dyn isula_core::ports::Host| {
                    host.read_beneath("/", &file, PROFILE_LIMIT)
                };
                let bytes = self.on_host(read).await?;
                let bytes = bytes.ok_or_else(|| error("there is no such profile"))?;
                let text = String::from_utf8(bytes).map_err(|_| error("it is not UTF-8"))?;
                if !text.trim_start().starts_with('{') {
                    return Err(error("it is no JSON object"));
                }
                Ok(format!("seccomp={text}"))
            }
        }
    }
}

fn apparmor(security: &ContainerSecurity) -> Option<String> {
    match &security.apparmor {
        Some(SecurityProfile::Localhost(name)) => Some(format!("apparmor={name}")),
        // The engine has no profile of its own.
        Some(SecurityProfile::RuntimeDefault | SecurityProfile::Unconfined) | None => None,
    }
}

fn overrides(new: &NewMember) -> Result<Overrides> {
    let mut env = Vec::with_capacity(new.envs.len());
    for (name, value) in &new.envs {
        if name.is_empty() || name.contains('=') {
            return Err(Invalid::value("envs", name, "it is no name of a variable").into());
        }
        env.push(format!("{name}={value}"));
    }
    Ok(Overrides {
        hostname: None,
        user: user(&new.security)?,
        tty: new.tty,
        open_stdin: new.stdin,
        stdin_once: new.stdin_once,
        env,
        cmd: new.args.clone(),
        entrypoint: (!new.command.is_empty()).then(|| new.command.clone()),
        working_dir: new.working_dir.clone().filter(|path| !path.is_empty()),
        labels: new.labels.clone(),
        stop_signal: new.stop_signal,
        ..Overrides::default()
    })
}

/// `user[:group]`; the image's where nothing is said.
fn user(security: &ContainerSecurity) -> Result<Option<String>> {
    let name = security.run_as_username.clone().filter(|name| !name.is_empty());
    let user = security.run_as_user.map(|uid| uid.to_string()).or(name);
    match (user, security.run_as_group) {
        (Some(user), Some(group)) => Ok(Some(format!("{user}:{group}"))),
        (None, Some(group)) => {
            let why = "a group is given without a user";
            Err(Invalid::value("run_as_group", group, why).into())
        }
        (user, None) => Ok(user),
    }
}

/// What other doors call it: unique, since nothing in it can be the same twice.
fn member_name(sandbox: &Sandbox, new: &NewMember) -> Result<Name> {
    let of_pod = &sandbox.config.metadata;
    let (name, attempt) = (&new.metadata.name, new.metadata.attempt);
    let pod = format!("{}_{}_{}", of_pod.name, of_pod.namespace, of_pod.uid);
    let long = format!("k8s_{name}_{pod}_{}_{attempt}", of_pod.attempt);
    if let Ok(name) = Name::try_from(long) {
        return Ok(name);
    }
    let fits = |char: &char| char.is_ascii_alphanumeric() || "_.-".contains(*char);
    let short: String = name.chars().filter(fits).take(40).collect();
    Ok(Name::try_from(format!("k8s_{short}_{}_{attempt}", sandbox.id))?)
}
