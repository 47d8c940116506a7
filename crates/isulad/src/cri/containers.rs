//! Containers of sandboxes.

use std::{collections::HashMap, time::Duration};

use isula_api::runtime::v1;
use isula_core::{
    container::{Container, Source},
    image::Image,
};
use isula_engine::{Engine, member::ResourceUpdate};
use std::sync::Arc;
use tonic::{Response, Status};

use super::{
    Answer, Cri,
    convert::{self, container::Shown},
};
use crate::api::status::{self, invalid};

impl Cri {
    pub(super) async fn create_member(
        &self,
        request: v1::CreateContainerRequest,
    ) -> Answer<v1::CreateContainerResponse> {
        let new = convert::container::new_member(request)?;
        let made = self.carry_out(|engine| async move { engine.create_member(new).await }).await?;
        Ok(Response::new(v1::CreateContainerResponse { container_id: made.id.to_string() }))
    }

    pub(super) async fn start_member(
        &self,
        request: v1::StartContainerRequest,
    ) -> Answer<v1::StartContainerResponse> {
        let id = request.container_id;
        self.carry_out(|engine| async move { engine.start_member(&id).await }).await?;
        Ok(Response::new(v1::StartContainerResponse {}))
    }

    pub(super) async fn stop_member(
        &self,
        request: v1::StopContainerRequest,
    ) -> Answer<v1::StopContainerResponse> {
        let v1::StopContainerRequest { container_id: id, timeout } = request;
        // Below 0 means the same as 0.
        let patience = Duration::from_secs(u64::try_from(timeout).unwrap_or(0));
        let stop = |engine: Arc<Engine>| async move { engine.stop_member(&id, patience).await };
        self.carry_out(stop).await?;
        Ok(Response::new(v1::StopContainerResponse {}))
    }

    pub(super) async fn remove_member(
        &self,
        request: v1::RemoveContainerRequest,
    ) -> Answer<v1::RemoveContainerResponse> {
        let id = request.container_id;
        self.carry_out(|engine| async move { engine.remove_member(&id).await }).await?;
        Ok(Response::new(v1::RemoveContainerResponse {}))
    }

    pub(super) fn members(
        &self,
        filter: Option<v1::ContainerFilter>,
    ) -> Result<Vec<v1::Container>, Status> {
        let found = self.engine.list_members(&convert::container::filter(filter)?);
        Ok(found.iter().filter_map(|container| self.shown(container, |s| s.into())).collect())
    }

    pub(super) fn member_status(
        &self,
        request: &v1::ContainerStatusRequest,
    ) -> Answer<v1::ContainerStatusResponse> {
        let container = self.engine.member(&request.container_id);
        let container = container.map_err(|error| status::of(&error))?;
        let info = |shown: &Shown<'_>| match request.verbose {
            true => convert::container::info(shown),
            false => HashMap::new(),
        };
        let (status, info) =
            self.shown(&container, |shown| (Some(shown.into()), info(shown))).unwrap_or_default();
        Ok(Response::new(v1::ContainerStatusResponse { status, info }))
    }

    pub(super) async fn update_member(
        &self,
        request: v1::UpdateContainerResourcesRequest,
    ) -> Answer<v1::UpdateContainerResourcesResponse> {
        if request.windows.is_some() && request.linux.is_none() {
            return Err(invalid("the request has no resources for Linux"));
        }
        let linux = request.linux.unwrap_or_default();
        let update = ResourceUpdate {
            oom_score_adj: Some(convert::oom_score_adj(&linux)?).filter(|score| *score != 0),
            resources: convert::limits(linux)?,
            annotations: request.annotations.into_iter().collect(),
        };
        let id = request.container_id;
        self.carry_out(|engine| async move { engine.update_member(&id, update).await }).await?;
        Ok(Response::new(v1::UpdateContainerResourcesResponse {}))
    }

    pub(super) async fn reopen_log(
        &self,
        request: v1::ReopenContainerLogRequest,
    ) -> Answer<v1::ReopenContainerLogResponse> {
        let id = request.container_id;
        self.carry_out(|engine| async move { engine.reopen_member_log(&id).await }).await?;
        Ok(Response::new(v1::ReopenContainerLogResponse {}))
    }

    /// Shows a container as `render` will have it; nothing where it is in no sandbox.
    pub(super) fn shown<T>(
        &self,
        container: &Container,
        render: impl FnOnce(&Shown<'_>) -> T,
    ) -> Option<T> {
        let member = container.pod.as_deref()?;
        let image: Option<Arc<Image>> = match &container.source {
            Source::Image { id, .. } => self.engine.ports().images.get(id),
            Source::Directory(_) => None,
        };
        Some(render(&Shown { container, member, image: image.as_deref() }))
    }
}
