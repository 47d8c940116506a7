//! What the runtime needs for a start: the facts are gathered, the spec is built from them, and the
//! container's plain files are brought up to date.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use isula_core::{
    container::{Container, DeviceMapping, MountKind, NamespaceMode, NetworkMode, Source},
    error::{ErrorKind, PortError, chain},
    id::{ContainerId, Name},
    ports::{self, Attach, Host, LaterFiles, Launch, PodPaths, Rootfs},
    sandbox::{Member, PodMountSource, Scope},
    spec::{self, Built, Device, Facts, Joined, PodFacts, PodSource, files::HostFiles},
    user::ResolvedUser,
};

use crate::{Engine, Error, Result, slot::display_name, undo::Undo, users::Root};

/// The largest `/etc/hosts` of the host.
const HOSTS_LIMIT: u64 = 1 << 20;

/// Whether its processes come from a checkpoint.
pub(crate) fn restored(container: &Container) -> bool {
    container.pod.as_ref().is_some_and(|pod| pod.restored)
}

/// How far a container is.
pub(crate) enum Stage {
    /// It is being made: nothing in it can differ from its image.
    New,
    /// It does not run. What is known of the user spares reading the container's files again.
    Stopped(Option<ResolvedUser>),
}

/// A container ready to be started.
pub(crate) struct Prepared {
    pub launch: Launch,
    /// Whom it runs as.
    pub user: ResolvedUser,
    host_files: HostFiles,
    /// Stands for everything that `files` depends on and that may change between two starts.
    pub fingerprint: u64,
}

impl Prepared {
    /// The container's plain files, made when they are written.
    pub fn files(&self, container: &Container) -> LaterFiles {
        let (spec, seccomp) = (Arc::clone(&self.launch.spec), self.launch.seccomp.clone());
        let (container, from) = (container.clone(), self.host_files.clone());
        Arc::new(move || spec::files::build(&container, (&spec, seccomp.as_ref()), &from))
    }
}

impl Engine {
    /// Gathers the facts and builds the spec. Nothing is changed, but a missing source of a bind
    /// mount may be made.
    pub(crate) async fn prepare(
        &self,
        container: &Container,
        stage: Stage,
        joined: Joined,
        attach: Option<Attach>,
    ) -> Result<Prepared> {
        let Container { id, config, host, source, .. } = container;
        let new = matches!(stage, Stage::New);
        let user = match stage {
            Stage::New => self.resolve_user(container, &config.user, Root::New).await?,
            Stage::Stopped(None) => {
                self.resolve_user(container, &config.user, Root::Stopped).await?
            }
            Stage::Stopped(Some(user)) => user,
        };
        let directory = self.ports.records.directory(id, &host.runtime);
        let rootfs = self.rootfs_at(container, new)?;
        let facts = Facts {
            host: self.ports.host.facts(),
            defaults: &self.defaults,
            directory: directory.clone(),
            rootfs: match source {
                Source::Image { .. } => PathBuf::from("rootfs"),
                Source::Directory(path) => PathBuf::from(path),
            },
            user: user.clone(),
            joined,
            sources: self.sources(container).await?,
            devices: self.devices(container).await?,
            pod: self.pod_facts(container).await?,
            cdi: self.cdi_edits(container).await?,
        };
        let Built { spec, seccomp } = spec::build(container, &facts)?;
        let host_files = self.host_files(container).await?;
        let mut hasher = DefaultHasher::new();
        (facts.fingerprint(), &host_files, &container.network).hash(&mut hasher);
        let launch = Launch {
            id: id.clone(),
            runtime: host.runtime.clone(),
            bundle: directory,
            rootfs,
            spec: Arc::new(spec),
            seccomp,
            log: host.log.clone(),
            cri_log: container.pod.as_ref().and_then(|pod| pod.log.clone()),
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            init: host.init,
            attach,
            restore: restored(container).then(|| self.checkpoint_of(container)),
        };
        Ok(Prepared { launch, user, host_files, fingerprint: hasher.finish() })
    }

    /// The spec of a launch with the profile of its filter.
    pub(crate) fn whole_spec(launch: &Launch) -> oci_spec::runtime::Spec {
        spec::whole((*launch.spec).clone(), launch.seccomp.as_deref())
    }

    /// What its root file system is mounted from.
    pub(crate) fn rootfs(&self, container: &Container) -> Result<Rootfs> {
        self.rootfs_at(container, false)
    }

    fn rootfs_at(&self, container: &Container, new: bool) -> Result<Rootfs> {
        match &container.source {
            Source::Directory(path) => Ok(Rootfs::Directory(PathBuf::from(path))),
            Source::Image { id, .. } => {
                let volatile = container.host.auto_remove;
                let (snapshots, own) = (&self.ports.snapshots, &container.id);
                let rootfs = match new {
                    true => snapshots.rootfs_of_new(own, id, volatile),
                    false => snapshots.rootfs(own, id, volatile),
                };
                rootfs.map_err(|source| cannot(container, "use its root file system", source))
            }
        }
    }

    /// The source of each mount, without symbolic links.
    async fn sources(&self, container: &Container) -> Result<Vec<String>> {
        let mounts = &container.host.mounts;
        let binds: Vec<(String, bool)> = mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Bind { source, create } => Some((source.clone(), *create)),
                MountKind::Volume { .. } => None,
            })
            .collect();
        let mut resolved = Vec::new();
        if !binds.is_empty() {
            let work = self.on_host(move |host| {
                binds.iter().map(|(path, create)| host.bind_source(path, *create)).collect()
            });
            resolved = self.port(container, "mount a path of the host", work).await?;
        }
        let mut resolved = resolved.into_iter();
        mounts
            .iter()
            .map(|mount| match &mount.kind {
                MountKind::Bind { source, .. } => {
                    Ok(resolved.next().unwrap_or_else(|| source.clone()))
                }
                MountKind::Volume { name, .. } => {
                    let path = self.ports.volumes.path(&Name::try_from(name.clone())?);
                    Ok(path.to_string_lossy().into_owned())
                }
            })
            .collect()
    }

    async fn devices(&self, container: &Container) -> Result<Vec<Device>> {
        let privileged = container.host.privileged;
        let mappings = container.host.devices.clone();
        if mappings.is_empty() && !privileged {
            return Ok(Vec::new());
        }
        let work = self.on_host(move |host| {
            let mut devices = Vec::new();
            if privileged {
                devices.extend(host.all_devices().into_iter().map(|node| Device {
                    path: node.path.clone(),
                    node,
                    access: "rwm".to_owned(),
                }));
            }
            for mapping in &mappings {
                devices.extend(mapped(host, mapping)?);
            }
            Ok(devices)
        });
        self.port(container, "give it a device of the host", work).await
    }

    async fn host_files(&self, container: &Container) -> Result<HostFiles> {
        let resolv_conf = self.ports.host.resolv_conf();
        let mut hosts = None;
        if container.host.network == NetworkMode::Host {
            let work = self.on_host(|host| host.read_beneath("/", "/etc/hosts", HOSTS_LIMIT));
            let bytes = self.port(container, "read the host's /etc/hosts", work).await?;
            hosts = Some(bytes.unwrap_or_default());
        }
        Ok(HostFiles { resolv_conf, hosts })
    }

    /// Runs what may block on the pool for that.
    pub(crate) async fn on_host<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Host) -> ports::Result<T> + Send + 'static,
    ) -> ports::Result<T> {
        let host = Arc::clone(&self.ports.host);
        match tokio::task::spawn_blocking(move || work(host.as_ref())).await {
            Ok(result) => result,
            Err(error) => {
                Err(PortError::with_source(ErrorKind::Internal, "the host port failed", error))
            }
        }
    }

    /// The namespaces of other containers, or of its sandbox, that the container joins.
    ///
    /// # Errors
    /// One of them does not run, or the sandbox has no namespaces (any more).
    pub(crate) async fn joined(&self, container: &Container) -> Result<Joined> {
        if let Some(pod) = &container.pod {
            return self.joined_in_sandbox(container, pod).await;
        }
        let host = &container.host;
        let network = match &host.network {
            NetworkMode::Container(id) => Some(self.namespace_of(id, "network", "net")?),
            NetworkMode::Network(_) => Some(self.ports.networks.namespace_path(&container.id)),
            NetworkMode::None | NetworkMode::Host => None,
        };
        let other = |mode: &NamespaceMode, name| match mode {
            NamespaceMode::Container(id) => self.namespace_of(id, name, name).map(Some),
            NamespaceMode::Private | NamespaceMode::Host => Ok(None),
        };
        let (ipc, pid) = (other(&host.ipc, "ipc")?, other(&host.pid, "pid")?);
        Ok(Joined { network, ipc, pid, ..Joined::default() })
    }

    async fn joined_in_sandbox(&self, container: &Container, pod: &Member) -> Result<Joined> {
        let id = &pod.sandbox;
        let found = self.port_of(id, "find its namespaces", self.ports.pods.find(id)).await?;
        let Some(paths) = found else {
            return Err(Error::SandboxNotReady(id.to_string(), "without namespaces"));
        };
        let pid = match &pod.namespaces.pid {
            Scope::Pod => {
                let parent = container.host.cgroup_parent.as_deref().unwrap_or("/");
                let work = self.ports.pods.pid_namespace(id, parent);
                Some(self.port_of(id, "make its pid namespace", work).await?)
            }
            Scope::Target(target) => {
                Some(self.namespace_of(&ContainerId::try_from(target.clone())?, "pid", "pid")?)
            }
            Scope::Container | Scope::Node => None,
        };
        let network =
            (pod.namespaces.network != Scope::Node).then(|| self.ports.networks.namespace_path(id));
        let PodPaths { uts, ipc, user, shm, .. } = paths;
        Ok(Joined { network, ipc, pid, uts, user, shm })
    }

    fn namespace_of(
        &self,
        id: &ContainerId,
        namespace: &'static str,
        file: &str,
    ) -> Result<PathBuf> {
        let other = self.index.get(id).map(|slot| slot.container());
        let run = other.as_ref().and_then(|other| other.state.run());
        let path = run.map(|run| PathBuf::from(format!("/proc/{}/ns/{file}", run.pid)));
        path.ok_or_else(|| {
            let container = other.as_ref().map_or(id.short(), |other| other.name.as_str());
            Error::Join { namespace, container: container.to_owned() }
        })
    }

    /// What the container gets of its sandbox.
    async fn pod_facts(&self, container: &Container) -> Result<Option<PodFacts>> {
        let Some(pod) = &container.pod else { return Ok(None) };
        let mut sources = Vec::with_capacity(pod.mounts.len());
        for mount in &pod.mounts {
            sources.push(match &mount.source {
                PodMountSource::Host(path) => {
                    let path = path.clone();
                    let work = self.on_host(move |host| host.bind_source(&path, true));
                    PodSource::Host(self.port(container, "mount a path of the host", work).await?)
                }
                PodMountSource::Image { id: Some(id), .. } => {
                    let layers = self.ports.snapshots.layers(id);
                    let layers =
                        layers.map_err(|source| cannot(container, "mount an image", source))?;
                    PodSource::Layers(layers)
                }
                PodMountSource::Image { reference, .. } => {
                    let error = format!("image volume {reference}: it was not resolved");
                    let source = PortError::new(ErrorKind::Internal, error);
                    return Err(cannot(container, "mount an image", source));
                }
            });
        }
        let files = self.ports.sandboxes.sandbox_directory(&pod.sandbox);
        Ok(Some(PodFacts { files, sources }))
    }

    /// Makes the container's volumes where they are missing; a new one gets the image's content.
    /// Gives warnings for the user.
    pub(crate) async fn provide_volumes<'a>(
        &'a self,
        container: &Container,
        undo: &mut Undo<'a>,
    ) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for mount in &container.host.mounts {
            let MountKind::Volume { name, .. } = &mount.kind else { continue };
            let name = Name::try_from(name.clone())?;
            let work = self.ports.volumes.ensure(&name);
            let (volume, new) = self.port(container, "make a volume", work).await?;
            if !new {
                continue;
            }
            undo.push("making a volume", async move { self.ports.volumes.remove(&name).await });
            let Source::Image { id: image, .. } = &container.source else { continue };
            if mount.no_copy {
                continue;
            }
            let target = &mount.target;
            let work = self.ports.snapshots.copy_up(&container.id, image, target, &volume.path);
            // As long as the image's content takes.
            let limit = self.settings.port_timeout.saturating_mul(10);
            let action = "fill a volume from the image";
            let done = self.port_within(limit, container, action, work).await;
            match done {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    let text = format!("the volume at {target} starts empty: {}", chain(&error));
                    warnings.push(text);
                }
                done => done?,
            }
        }
        Ok(warnings)
    }
}

fn mapped(host: &dyn Host, mapping: &DeviceMapping) -> ports::Result<Vec<Device>> {
    let nodes = host.devices(&mapping.host)?;
    let path = |node: &str| match node.strip_prefix(&mapping.host) {
        Some(below) => format!("{}{below}", mapping.container),
        None => mapping.container.clone(),
    };
    Ok(nodes
        .into_iter()
        .map(|node| Device { path: path(&node.path), node, access: mapping.permissions.clone() })
        .collect())
}

pub(crate) fn cannot(container: &Container, action: &'static str, source: PortError) -> Error {
    Error::Port { object: display_name(container), action, source }
}
