//! Checkpoints of containers and pods.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::Duration,
};

use isula_api::runtime::v1;
use isula_engine::checkpoint::RestoreRequest;
use tonic::{Request, Response, Status};

use super::{Answer, Cri, convert};
use crate::{api::status::invalid, deadline};

impl Cri {
    pub(super) async fn checkpoint(
        &self,
        request: v1::CheckpointContainerRequest,
    ) -> Answer<v1::CheckpointContainerResponse> {
        let v1::CheckpointContainerRequest { container_id: id, location, timeout } = request;
        let location = absolute("location", location)?;
        let limit = match u64::try_from(timeout) {
            Ok(0) => None,
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => return Err(invalid(format!("timeout {timeout}: it is less than nothing"))),
        };
        self.carry_out(
            |engine| async move { engine.checkpoint_member(&id, location, limit).await },
        )
        .await?;
        Ok(Response::new(v1::CheckpointContainerResponse {}))
    }

    pub(super) async fn checkpoint_all(
        &self,
        request: Request<v1::CheckpointPodRequest>,
    ) -> Answer<v1::CheckpointPodResponse> {
        let limit = deadline::limit(request.metadata().as_ref());
        let v1::CheckpointPodRequest { pod_sandbox_id: id, output_path, container_ids, options } =
            request.into_inner();
        no_options(&options)?;
        let output = absolute("output_path", output_path)?;
        self.carry_out(|engine| async move {
            engine.checkpoint_sandbox(&id, output, &container_ids, limit).await
        })
        .await?;
        Ok(Response::new(v1::CheckpointPodResponse {}))
    }

    pub(super) async fn restore(
        &self,
        request: v1::RestorePodRequest,
    ) -> Answer<v1::RestorePodResponse> {
        no_options(&request.options)?;
        let checkpoint = absolute("checkpoint_path", request.checkpoint_path)?;
        let pod = request.config.unwrap_or_default();
        let config = convert::pod::sandbox_config(pod, request.runtime_handler)?;
        let member = |config: v1::ContainerConfig| {
            convert::container::new_member(v1::CreateContainerRequest {
                config: Some(config),
                ..v1::CreateContainerRequest::default()
            })
        };
        let members =
            request.container_configs.into_iter().map(member).collect::<Result<Vec<_>, _>>()?;
        let request = RestoreRequest { checkpoint, config, members };
        let restored =
            self.carry_out(|engine| async move { engine.restore_sandbox(request).await }).await?;
        let restored_containers = restored
            .containers
            .into_iter()
            .map(|(name, id)| v1::RestoredContainer { name, container_id: id.to_string() })
            .collect();
        let pod_sandbox_id = restored.sandbox.to_string();
        Ok(Response::new(v1::RestorePodResponse { pod_sandbox_id, restored_containers }))
    }
}

fn absolute(field: &str, text: String) -> Result<PathBuf, Status> {
    let path = PathBuf::from(text);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(invalid(format!("{field} {:?}: it is not an absolute path", path.display()))),
    }
}

/// There are none; one that is not obeyed must not be taken.
fn no_options(options: &HashMap<String, String>) -> Result<(), Status> {
    let sorted: BTreeMap<_, _> = options.iter().collect();
    match sorted.keys().next() {
        None => Ok(()),
        Some(key) => Err(invalid(format!("options: there is no option {key:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{absolute, no_options};
    use std::collections::HashMap;

    #[test]
    fn an_option_that_nobody_knows_is_refused_by_name() {
        assert!(no_options(&HashMap::new()).is_ok());
        let options = HashMap::from([("tcp".to_owned(), "true".to_owned())]);
        let error = no_options(&options).unwrap_err();
        assert!(error.message().contains("\"tcp\""), "{error}");
        assert!(absolute("location", "x".to_owned()).is_err());
        assert!(absolute("location", "/x".to_owned()).is_ok());
    }
}
