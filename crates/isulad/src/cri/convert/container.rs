//! Containers of sandboxes: the request for one, filters, status.

use std::collections::HashMap;

use isula_api::runtime::v1;
use isula_core::{
    container::{Container, DeviceMapping, Source},
    image::{Image, Reference},
    sandbox::{ContainerMetadata, Member, MemberFilter, MemberState, NewMember, PodMount},
    signal::Signal,
};
use serde_json::json;
use tonic::Status;

use super::{
    known, limits, mounts, nanoseconds, oom_score_adj, resources, security, some, sorted, unsorted,
};
use crate::api::status::invalid;

/// A request for a container.
pub(in crate::cri) fn new_member(request: v1::CreateContainerRequest) -> Result<NewMember, Status> {
    let config = request.config.ok_or_else(|| invalid("the request has no config"))?;
    let metadata = config.metadata.ok_or_else(|| invalid("the container has no metadata"))?;
    let image = config.image.unwrap_or_default();
    if image.image.is_empty() {
        return Err(invalid("the container has no image"));
    }
    let linux = config.linux.unwrap_or_default();
    let score = linux.resources.as_ref().map(oom_score_adj).transpose()?;
    Ok(NewMember {
        sandbox: request.pod_sandbox_id,
        metadata: ContainerMetadata { name: metadata.name, attempt: metadata.attempt },
        image: image.image,
        user_specified_image: image.user_specified_image,
        command: config.command,
        args: config.args,
        working_dir: some(config.working_dir),
        envs: config.envs.into_iter().map(variable).collect::<Result<_, _>>()?,
        mounts: config
            .mounts
            .into_iter()
            .map(|mount| PodMount::try_from(mounts::Wire(mount)))
            .collect::<Result<_, _>>()?,
        devices: config.devices.into_iter().map(device).collect(),
        cdi_devices: config.cdi_devices.into_iter().map(|device| device.name).collect(),
        labels: sorted(config.labels),
        annotations: sorted(config.annotations),
        log_path: some(config.log_path),
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        stop_signal: stop_signal(config.stop_signal)?,
        resources: limits(linux.resources.unwrap_or_default())?,
        oom_score_adj: score,
        security: security::container(linux.security_context)?,
    })
}

fn variable(env: v1::KeyValue) -> Result<(String, String), Status> {
    match String::from_utf8(env.value.into()) {
        Ok(value) => Ok((env.key, value)),
        Err(_) => Err(invalid(format!("envs: the value of {} is not UTF-8", env.key))),
    }
}

fn device(device: v1::Device) -> DeviceMapping {
    DeviceMapping {
        host: device.host_path,
        container: device.container_path,
        permissions: device.permissions,
    }
}

/// A signal by the name of its value: `SIGNAL_SIGTERM`, `SIGNAL_SIGRTMINPLUS3`.
fn stop_signal(value: i32) -> Result<Option<Signal>, Status> {
    let wire: v1::Signal = known("stop_signal", value)?;
    if wire == v1::Signal::RuntimeDefault {
        return Ok(None);
    }
    let name = wire.as_str_name().trim_start_matches("SIGNAL_");
    let name = name.replace("PLUS", "+").replace("MINUS", "-");
    name.parse().map(Some).map_err(|_| invalid(format!("stop_signal: there is no {name}")))
}

/// The value of a signal; of two with one number, the first.
fn signal_message(signal: Option<Signal>) -> i32 {
    let same = |value: &i32| matches!(stop_signal(*value), Ok(found) if found == signal);
    let last = v1::Signal::Sigrtmax.into();
    (0..=last).find(same).unwrap_or_default()
}

/// Which containers.
pub(in crate::cri) fn filter(filter: Option<v1::ContainerFilter>) -> Result<MemberFilter, Status> {
    let filter = filter.unwrap_or_default();
    let state = match filter.state {
        None => None,
        Some(value) => Some(match known("state", value.state)? {
            v1::ContainerState::ContainerCreated => MemberState::Created,
            v1::ContainerState::ContainerRunning => MemberState::Running,
            v1::ContainerState::ContainerExited => MemberState::Exited,
            v1::ContainerState::ContainerUnknown => MemberState::Unknown,
        }),
    };
    Ok(MemberFilter {
        id: some(filter.id),
        sandbox: some(filter.pod_sandbox_id),
        state,
        labels: sorted(filter.label_selector),
    })
}

/// Which containers, for their use of resources.
pub(in crate::cri) fn stats_filter(filter: Option<v1::ContainerStatsFilter>) -> MemberFilter {
    let filter = filter.unwrap_or_default();
    MemberFilter {
        id: some(filter.id),
        sandbox: some(filter.pod_sandbox_id),
        state: None,
        labels: sorted(filter.label_selector),
    }
}

/// A container of a sandbox with its image, if that still is in the store.
pub(in crate::cri) struct Shown<'a> {
    pub container: &'a Container,
    pub member: &'a Member,
    pub image: Option<&'a Image>,
}

impl Shown<'_> {
    fn metadata(&self) -> v1::ContainerMetadata {
        let ContainerMetadata { name, attempt } = &self.member.metadata;
        v1::ContainerMetadata { name: name.clone(), attempt: *attempt }
    }

    fn state(&self) -> i32 {
        let state = match MemberState::from(&self.container.state) {
            MemberState::Created => v1::ContainerState::ContainerCreated,
            MemberState::Running => v1::ContainerState::ContainerRunning,
            MemberState::Exited => v1::ContainerState::ContainerExited,
            MemberState::Unknown => v1::ContainerState::ContainerUnknown,
        };
        state.into()
    }

    fn image_id(&self) -> String {
        match &self.container.source {
            Source::Image { id, .. } => id.to_string(),
            Source::Directory(_) => String::new(),
        }
    }

    /// A name of the image with a digest, or its id.
    fn image_ref(&self) -> String {
        let digest = self.image.and_then(|image| image.digests.first());
        digest.map_or_else(|| self.image_id(), Reference::to_string)
    }

    /// The name that people know the image by: what was asked for, unless that was an id.
    pub(in crate::cri) fn image_name(&self) -> String {
        let asked = match &self.container.source {
            Source::Image { reference, .. } | Source::Directory(reference) => reference,
        };
        let given = &self.member.user_specified_image;
        if asked.parse::<Reference>().is_ok() {
            return asked.clone();
        }
        if !given.is_empty() {
            return given.clone();
        }
        let tag = self.image.and_then(|image| image.tags.first());
        tag.map_or_else(|| asked.clone(), Reference::to_string)
    }

    fn image_spec(&self) -> v1::ImageSpec {
        v1::ImageSpec {
            image: self.image_name(),
            user_specified_image: self.member.user_specified_image.clone(),
            ..v1::ImageSpec::default()
        }
    }
}

impl From<&Shown<'_>> for v1::Container {
    fn from(shown: &Shown<'_>) -> Self {
        Self {
            id: shown.container.id.to_string(),
            pod_sandbox_id: shown.member.sandbox.to_string(),
            metadata: Some(shown.metadata()),
            image: Some(shown.image_spec()),
            image_ref: shown.image_ref(),
            state: shown.state(),
            created_at: nanoseconds(shown.container.created),
            labels: unsorted(&shown.container.config.labels),
            annotations: unsorted(&shown.member.annotations),
            image_id: shown.image_id(),
        }
    }
}

impl From<&Shown<'_>> for v1::ContainerStatus {
    fn from(shown: &Shown<'_>) -> Self {
        let Shown { container, member, .. } = shown;
        let exit = container.state.exit();
        let limits = resources::message(&container.host.resources, container.host.oom_score_adj);
        let user = member.user.as_ref().map(|user| v1::LinuxContainerUser {
            uid: user.uid.into(),
            gid: user.gid.into(),
            supplemental_groups: user.supplemental_groups.iter().map(|&id| id.into()).collect(),
        });
        Self {
            id: container.id.to_string(),
            metadata: Some(shown.metadata()),
            state: shown.state(),
            created_at: nanoseconds(container.created),
            started_at: container.started.map_or(0, nanoseconds),
            finished_at: exit.map_or(0, |exit| nanoseconds(exit.at)),
            exit_code: exit.map_or(0, |exit| exit.code),
            image: Some(shown.image_spec()),
            image_ref: shown.image_ref(),
            reason: exit.map_or_else(String::new, |exit| exit.reason().to_owned()),
            message: exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
            labels: unsorted(&container.config.labels),
            annotations: unsorted(&member.annotations),
            mounts: member.mounts.iter().map(mounts::message).collect(),
            log_path: member.log.as_ref().map_or_else(String::new, |log| log.full()),
            resources: Some(v1::ContainerResources { linux: Some(limits), windows: None }),
            image_id: shown.image_id(),
            user: user.map(|linux| v1::ContainerUser { linux: Some(linux) }),
            stop_signal: signal_message(container.config.stop_signal),
        }
    }
}

impl From<&Shown<'_>> for v1::ContainerAttributes {
    fn from(shown: &Shown<'_>) -> Self {
        Self {
            id: shown.container.id.to_string(),
            metadata: Some(shown.metadata()),
            labels: unsorted(&shown.container.config.labels),
            annotations: unsorted(&shown.member.annotations),
        }
    }
}

/// What a verbose status says.
pub(in crate::cri) fn info(shown: &Shown<'_>) -> HashMap<String, String> {
    let Shown { container, member, .. } = shown;
    let run = container.state.run();
    let info = json!({
        "sandboxID": member.sandbox,
        "pid": run.map_or(0, |run| run.pid),
        "shimPid": run.map_or(0, |run| run.shim_pid),
        "state": container.state.name(),
        "runtime": container.host.runtime,
        "config": container.config,
        "hostConfig": container.host,
    });
    HashMap::from([("info".to_owned(), info.to_string())])
}
