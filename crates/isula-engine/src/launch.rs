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
    ports::{self, Attach, ContainerFiles, Host, Launch, Rootfs},
    spec::{self, Device, Facts, Joined, files::HostFiles},
    user::{self, ResolvedUser},
};

use crate::{Engine, Error, Result, slot::display_name, undo::Undo};

/// The largest `/etc/passwd` or `/etc/group` that is read: 10 MiB, as moby/sys/user.
const DATABASE_LIMIT: u64 = 10 << 20;
/// The largest `/etc/hosts` of the host.
const HOSTS_LIMIT: u64 = 1 << 20;

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
    /// The container's plain files.
    pub fn files(&self, container: &Container) -> ContainerFiles {
        spec::files::build(container, &self.launch.spec, &self.host_files)
    }
}

/// Where a container's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// In its layers.
    Stopped,
    /// Through the root of its init process.
    Running,
}

impl Engine {
    /// Gathers the facts and builds the spec. Nothing is changed, but a missing source of a bind
    /// mount may be made. `user` spares reading the container's files again.
    pub(crate) async fn prepare(
        &self,
        container: &Container,
        user: Option<ResolvedUser>,
        joined: Joined,
        attach: Option<Attach>,
    ) -> Result<Prepared> {
        let Container { id, config, host, source, .. } = container;
        let user = match user {
            Some(user) => user,
            None => self.resolve_user(container, &config.user, Root::Stopped).await?,
        };
        let directory = self.ports.records.directory(id, &host.runtime);
        let rootfs = self.rootfs(container)?;
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
        };
        let spec = spec::build(container, &facts)?;
        let host_files = self.host_files(container).await?;
        let mut hasher = DefaultHasher::new();
        (facts.fingerprint(), &host_files).hash(&mut hasher);
        let launch = Launch {
            id: id.clone(),
            runtime: host.runtime.clone(),
            bundle: directory,
            rootfs,
            spec: Arc::new(spec),
            log: host.log.clone(),
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            init: host.init,
            attach,
        };
        Ok(Prepared { launch, user, host_files, fingerprint: hasher.finish() })
    }

    /// What its root file system is mounted from.
    pub(crate) fn rootfs(&self, container: &Container) -> Result<Rootfs> {
        match &container.source {
            Source::Directory(path) => Ok(Rootfs::Directory(PathBuf::from(path))),
            Source::Image { id, .. } => {
                let volatile = container.host.auto_remove;
                let rootfs = self.ports.snapshots.rootfs(&container.id, id, volatile);
                rootfs.map_err(|source| cannot(container, "use its root file system", source))
            }
        }
    }

    /// Whom `wanted` (`user[:group]`) means by the container's own passwd and group files.
    pub(crate) async fn resolve_user(
        &self,
        container: &Container,
        wanted: &str,
        root: Root,
    ) -> Result<ResolvedUser> {
        let group_add = &container.host.group_add;
        let passwd = self.read(container, root, "/etc/passwd");
        let group = async {
            match user::needs_groups(wanted, group_add) {
                true => self.read(container, root, "/etc/group").await,
                false => Ok(None),
            }
        };
        let (passwd, group) = tokio::try_join!(passwd, group)?;
        Ok(user::resolve(wanted, passwd.as_deref(), group.as_deref(), group_add)?)
    }

    async fn read(
        &self,
        container: &Container,
        root: Root,
        path: &'static str,
    ) -> Result<Option<Vec<u8>>> {
        let id = &container.id;
        let work = async {
            match (&container.source, root) {
                (_, Root::Running) => self.ports.runtime.read(id, path, DATABASE_LIMIT).await,
                (Source::Image { id: image, .. }, Root::Stopped) => {
                    self.ports.snapshots.read(id, image, path, DATABASE_LIMIT).await
                }
                (Source::Directory(root), Root::Stopped) => {
                    let root = root.clone();
                    self.on_host(move |host| host.read_beneath(&root, path, DATABASE_LIMIT)).await
                }
            }
        };
        self.port(container, "read its user database", work).await
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
    async fn on_host<T: Send + 'static>(
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

    /// The processes whose namespaces the container joins.
    ///
    /// # Errors
    /// One of them does not run.
    pub(crate) fn joined(&self, container: &Container) -> Result<Joined> {
        let host = &container.host;
        let network = match &host.network {
            NetworkMode::Container(id) => Some(self.pid_of(id, "network")?),
            NetworkMode::None | NetworkMode::Host => None,
        };
        let other = |mode: &NamespaceMode, namespace| match mode {
            NamespaceMode::Container(id) => self.pid_of(id, namespace).map(Some),
            NamespaceMode::Private | NamespaceMode::Host => Ok(None),
        };
        Ok(Joined { network, ipc: other(&host.ipc, "ipc")?, pid: other(&host.pid, "pid")? })
    }

    fn pid_of(&self, id: &ContainerId, namespace: &'static str) -> Result<i32> {
        let other = self.index.get(id).map(|slot| slot.container());
        let run = other.as_ref().and_then(|other| other.state.run());
        run.map(|run| run.pid).ok_or_else(|| {
            let container = other.as_ref().map_or(id.short(), |other| other.name.as_str());
            Error::Join { namespace, container: container.to_owned() }
        })
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
