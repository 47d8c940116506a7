//! From a request to a container: the image's defaults are merged in, names are resolved, and what
//! can't be had is refused. Nothing is made.

use std::sync::Arc;

use isula_core::{
    container::{
        self, Config, Container, HostConfig, Invalid, Joins, Mount, MountKind, NamespaceMode,
        NetworkMode, NewContainer, Propagation, Source, State, path,
    },
    id::{ContainerId, Name},
    image::Image,
};

use crate::{Engine, Error, Result};

impl Engine {
    /// The container that a request asks for, and warnings for the user.
    pub(super) fn accept(
        &self,
        id: ContainerId,
        new: NewContainer,
    ) -> Result<(Container, Vec<String>)> {
        let NewContainer { name, image, external_rootfs, overrides, mut host, joins } = new;
        let name = match name {
            Some(name) => Name::try_from(name)?,
            None => Name::from(&id),
        };
        let (source, image) = self.source(image, external_rootfs)?;
        let mut warnings = Vec::new();
        warnings.extend(image.as_ref().and_then(|image| self.foreign(image)));
        self.join(&mut host, joins)?;
        if let NamespaceMode::Container(_) = &host.ipc {
            let text = "/dev/shm is the container's own: only System V IPC and message queues are \
                        those of the other container";
            warnings.push(text.to_owned());
        }
        if host.runtime.is_empty() {
            host.runtime.clone_from(&self.settings.default_runtime);
        }
        let hostname = self.hostname(&id, &host, overrides.hostname.is_some())?;
        let config = container::merge(&overrides, image.as_ref().map(|i| &i.config), &hostname)?;
        if overrides
            .healthcheck
            .is_some_and(|check| check.test.first().is_some_and(|t| t != "NONE"))
        {
            warnings.push("the health check is recorded, but nothing runs it".to_owned());
        }
        self.name_volumes(&config, &mut host);
        warnings.extend(container::verify(&config, &mut host, self.ports.host.facts())?);
        self.verify_network(&host)?;
        let container = Container {
            id,
            name,
            created: self.ports.clock.now(),
            source,
            config,
            host,
            state: State::Created,
            pod: None,
            network: None,
            restarts: 0,
            started: None,
            stopped_by_user: false,
        };
        Ok((container, warnings))
    }

    fn source(
        &self,
        image: Option<String>,
        directory: Option<String>,
    ) -> Result<(Source, Option<Arc<Image>>)> {
        match (image, directory) {
            (Some(reference), None) => {
                let image = self.ports.images.find(&reference)?;
                Ok((Source::Image { reference, id: image.id.clone() }, Some(image)))
            }
            (None, Some(directory)) => {
                let directory = path::mount_target("external-rootfs", &directory)?;
                Ok((Source::Directory(directory), None))
            }
            (Some(_), Some(_)) => Err(Invalid::Conflict("image", "external-rootfs").into()),
            (None, None) => Err(Invalid::NoSource.into()),
        }
    }

    /// An image of another machine can run only if the kernel has an interpreter for it.
    fn foreign(&self, image: &Image) -> Option<String> {
        let (wanted, own) = (&image.config.architecture, &self.ports.host.facts().architecture);
        let foreign = !wanted.is_empty() && !own.is_empty() && wanted != own;
        foreign.then(|| format!("the image is for {wanted}, and the host is {own}"))
    }

    /// Whose namespaces are joined, by id from now on.
    fn join(&self, host: &mut HostConfig, joins: Joins) -> Result<()> {
        if let Some(query) = joins.network {
            host.network = NetworkMode::Container(self.index.find(&query)?.id.clone());
        }
        if let Some(query) = joins.ipc {
            host.ipc = NamespaceMode::Container(self.index.find(&query)?.id.clone());
        }
        if let Some(query) = joins.pid {
            host.pid = NamespaceMode::Container(self.index.find(&query)?.id.clone());
        }
        Ok(())
    }

    /// The host name where the user gave none, and whether one may be given.
    fn hostname(&self, id: &ContainerId, host: &HostConfig, given: bool) -> Result<String> {
        if host.uts == NamespaceMode::Host {
            return match given {
                true => Err(Invalid::Conflict("hostname", "uts host").into()),
                false => Ok(self.ports.host.facts().hostname.clone()),
            };
        }
        match &host.network {
            NetworkMode::Container(_) if given => {
                Err(Invalid::Conflict("hostname", "network container:…").into())
            }
            NetworkMode::Container(other) => {
                let slot = self.index.get(other);
                let slot = slot.ok_or_else(|| Error::NoSuchContainer(other.to_string()))?;
                Ok(slot.container().config.hostname.clone())
            }
            NetworkMode::Host => Ok(self.ports.host.facts().hostname.clone()),
            NetworkMode::None | NetworkMode::Network(_) => Ok(id.short().to_owned()),
        }
    }

    /// Anonymous volumes get a name: those of the user, and those of the image whose place nothing
    /// else has taken.
    fn name_volumes(&self, config: &Config, host: &mut HostConfig) {
        let anonymous = || self.random_name();
        for mount in &mut host.mounts {
            if let MountKind::Volume { name, anonymous: true } = &mut mount.kind
                && name.is_empty()
            {
                *name = anonymous();
            }
        }
        for target in &config.volumes {
            let same =
                |other: &str| path::clean("volume", other).is_ok_and(|other| other == *target);
            let taken = host.mounts.iter().any(|mount| same(&mount.target))
                || host.tmpfs.iter().any(|tmpfs| same(&tmpfs.target));
            if !taken {
                host.mounts.push(Mount {
                    kind: MountKind::Volume { name: anonymous(), anonymous: true },
                    target: target.clone(),
                    readonly: false,
                    recursive: true,
                    propagation: Propagation::Rprivate,
                    no_copy: false,
                });
            }
        }
    }

    /// 64 hexadecimal digits that nothing else has.
    pub(crate) fn random_name(&self) -> String {
        ContainerId::from_random(self.ports.entropy.random()).into()
    }
}
