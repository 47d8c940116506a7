//! What happened to sandboxes and their containers, for kubelet's event-driven loop.

use std::{collections::HashMap, sync::Arc};

use futures_util::stream;
use isula_api::runtime::v1::{self, ContainerEventType as Kind};
use isula_core::{
    event::{ContainerAction, Event, SandboxAction, What},
    id::ContainerId,
    sandbox::{MemberFilter, Sandbox, SandboxFilter, SandboxId},
};
use isula_engine::Events;
use tonic::{Response, Status};

use super::{
    Answer, Cri, Pages,
    convert::{self, pod::Shown},
};

/// A client that watches.
struct Watch {
    cri: Cri,
    events: Events,
    /// Sandboxes as they were last seen: of one that is gone kubelet wants to know who it was.
    sandboxes: HashMap<SandboxId, Arc<Sandbox>>,
    /// The sandboxes of containers, for the same reason.
    homes: HashMap<ContainerId, SandboxId>,
}

impl Cri {
    /// Everything from now on. A client that is too slow is told so and must list anew.
    pub(super) fn events(&self) -> Answer<Pages<v1::ContainerEventResponse>> {
        if !self.settings.pod_events {
            let message = "enable-pod-events is off: no events are told";
            return Err(Status::unimplemented(message));
        }
        let watch = Watch::begin(self.clone());
        let next = |mut watch: Watch| async move {
            let told = watch.next().await?;
            Some((told, watch))
        };
        Ok(Response::new(Box::pin(stream::unfold(watch, next))))
    }
}

impl Watch {
    fn begin(cri: Cri) -> Self {
        // First the subscription: what happens meanwhile is told, be it twice.
        let events = cri.engine.subscribe();
        let sandboxes = cri.engine.list_sandboxes(&SandboxFilter::default());
        let containers = cri.engine.list_members(&MemberFilter::default());
        let home = |container: &Arc<isula_core::container::Container>| {
            Some((container.id.clone(), container.pod.as_ref()?.sandbox.clone()))
        };
        Self {
            events,
            sandboxes: sandboxes.into_iter().map(|one| (one.id.clone(), one)).collect(),
            homes: containers.iter().filter_map(home).collect(),
            cri,
        }
    }

    async fn next(&mut self) -> Option<Result<v1::ContainerEventResponse, Status>> {
        loop {
            match self.events.next().await? {
                Ok(event) => {
                    if let Some(told) = self.told(&event) {
                        return Some(Ok(told));
                    }
                }
                Err(missed) => {
                    let message = format!("{} events were missed: list again", missed.0);
                    return Some(Err(Status::data_loss(message)));
                }
            }
        }
    }

    /// An event as kubelet knows it: of a sandbox, or of a container in one.
    fn told(&mut self, event: &Event) -> Option<v1::ContainerEventResponse> {
        let (id, kind) = kind(&event.what)?;
        let home = match &event.what {
            What::Sandbox { .. } => id.clone(),
            _ => self.home(id)?,
        };
        if let Ok(sandbox) = self.cri.engine.sandbox(home.as_str()) {
            self.sandboxes.insert(home.clone(), sandbox);
        }
        let sandbox = self.sandboxes.get(&home).cloned();
        if kind == Kind::ContainerDeletedEvent {
            self.homes.remove(id);
            self.sandboxes.remove(id);
        }
        let mut status =
            sandbox.as_deref().map(|sandbox| v1::PodSandboxStatus::from(Shown(sandbox)));
        if let Some(status) = &mut status
            && kind == Kind::ContainerDeletedEvent
            && *id == home
        {
            status.state = v1::PodSandboxState::SandboxNotready.into();
        }
        Some(v1::ContainerEventResponse {
            container_id: id.to_string(),
            container_event_type: kind.into(),
            created_at: convert::nanoseconds(event.at),
            pod_sandbox_status: status,
            containers_statuses: self.cri.statuses_in(&home),
        })
    }

    /// The sandbox of a container; one that is in none is not kubelet's.
    fn home(&mut self, id: &ContainerId) -> Option<SandboxId> {
        if let Ok(container) = self.cri.engine.member(id.as_str()) {
            let home = container.pod.as_ref()?.sandbox.clone();
            self.homes.insert(id.clone(), home);
        }
        self.homes.get(id).cloned()
    }
}

fn kind(what: &What) -> Option<(&ContainerId, Kind)> {
    match what {
        What::Container { id, action } => match action {
            ContainerAction::Create => Some((id, Kind::ContainerCreatedEvent)),
            ContainerAction::Start => Some((id, Kind::ContainerStartedEvent)),
            ContainerAction::Die(_) => Some((id, Kind::ContainerStoppedEvent)),
            ContainerAction::Destroy => Some((id, Kind::ContainerDeletedEvent)),
            _ => None,
        },
        What::Sandbox { id, action } => match action {
            SandboxAction::Start => Some((id, Kind::ContainerStartedEvent)),
            SandboxAction::Stop => Some((id, Kind::ContainerStoppedEvent)),
            SandboxAction::Remove => Some((id, Kind::ContainerDeletedEvent)),
            _ => None,
        },
        _ => None,
    }
}
