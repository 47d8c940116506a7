//! Sandboxes.

use std::collections::HashMap;

use isula_api::runtime::v1;
use isula_core::sandbox::{Sandbox, SandboxId};
use tonic::{Response, Status};

use super::{
    Answer, Cri,
    convert::{self, pod::Shown},
};
use crate::api::status;

impl Cri {
    pub(super) async fn run_pod(
        &self,
        request: v1::RunPodSandboxRequest,
    ) -> Answer<v1::RunPodSandboxResponse> {
        let config = convert::pod::sandbox_config(
            request.config.unwrap_or_default(),
            request.runtime_handler,
        )?;
        let id = self.carry_out(|engine| async move { engine.run_sandbox(config).await }).await?;
        Ok(Response::new(v1::RunPodSandboxResponse { pod_sandbox_id: id.to_string() }))
    }

    pub(super) async fn stop_pod(
        &self,
        request: v1::StopPodSandboxRequest,
    ) -> Answer<v1::StopPodSandboxResponse> {
        let id = request.pod_sandbox_id;
        self.carry_out(|engine| async move { engine.stop_sandbox(&id).await }).await?;
        Ok(Response::new(v1::StopPodSandboxResponse {}))
    }

    pub(super) async fn remove_pod(
        &self,
        request: v1::RemovePodSandboxRequest,
    ) -> Answer<v1::RemovePodSandboxResponse> {
        let id = request.pod_sandbox_id;
        self.carry_out(|engine| async move { engine.remove_sandbox(&id).await }).await?;
        Ok(Response::new(v1::RemovePodSandboxResponse {}))
    }

    pub(super) async fn pod_status(
        &self,
        request: v1::PodSandboxStatusRequest,
    ) -> Answer<v1::PodSandboxStatusResponse> {
        let sandbox = self.engine.sandbox(&request.pod_sandbox_id);
        let sandbox = sandbox.map_err(|error| status::of(&error))?;
        let info = match request.verbose {
            true => self.pod_info(&sandbox).await?,
            false => HashMap::new(),
        };
        Ok(Response::new(v1::PodSandboxStatusResponse {
            status: Some(Shown(&sandbox).into()),
            info,
            containers_statuses: self.statuses_in(&sandbox.id),
            timestamp: self.now(),
        }))
    }

    async fn pod_info(&self, sandbox: &Sandbox) -> Result<HashMap<String, String>, Status> {
        let namespaces = self.engine.sandbox_namespaces(&sandbox.id).await;
        let namespaces = namespaces.map_err(|error| status::of(&error))?.unwrap_or_default();
        let network =
            sandbox.has_network().then(|| self.engine.ports().networks.namespace_path(&sandbox.id));
        Ok(convert::pod::info(sandbox, &namespaces, network))
    }

    /// The status of every container in a sandbox.
    pub(super) fn statuses_in(&self, id: &SandboxId) -> Vec<v1::ContainerStatus> {
        let containers = self.engine.sandbox_containers(id);
        containers.iter().filter_map(|container| self.shown(container, |s| s.into())).collect()
    }

    pub(super) fn pods(
        &self,
        filter: Option<v1::PodSandboxFilter>,
    ) -> Result<Vec<v1::PodSandbox>, Status> {
        let found = self.engine.list_sandboxes(&convert::pod::filter(filter)?);
        Ok(found.iter().map(|sandbox| Shown(sandbox).into()).collect())
    }

    pub(super) async fn update_pod(
        &self,
        request: v1::UpdatePodSandboxResourcesRequest,
    ) -> Answer<v1::UpdatePodSandboxResourcesResponse> {
        let id = request.pod_sandbox_id;
        let overhead = request.overhead.map(convert::limits).transpose()?;
        let resources = request.resources.map(convert::limits).transpose()?;
        self.carry_out(|engine| async move {
            engine.update_sandbox_resources(&id, overhead, resources).await
        })
        .await?;
        Ok(Response::new(v1::UpdatePodSandboxResourcesResponse {}))
    }
}
