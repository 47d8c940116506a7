//! Processes in containers: run to their end, or joined to a client by the streaming server.

use std::time::Duration;

use bytes::Bytes;
use isula_api::runtime::v1;
use isula_engine::member::ExecSyncOptions;
use tonic::{Response, Status};

use super::{Answer, Cri};
use crate::{
    api::status::{self, invalid},
    streaming::{AttachRequest, ExecRequest, PortForwardRequest, StreamingError, Streams},
};

impl Cri {
    pub(super) async fn exec_to_end(
        &self,
        request: v1::ExecSyncRequest,
    ) -> Answer<v1::ExecSyncResponse> {
        let timeout = match u64::try_from(request.timeout) {
            Ok(0) => None,
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => return Err(invalid(format!("timeout: {} is below 0", request.timeout))),
        };
        let options = ExecSyncOptions { args: request.cmd, timeout };
        let id = request.container_id;
        let done =
            self.carry_out(|engine| async move { engine.exec_sync(&id, options).await }).await?;
        Ok(Response::new(v1::ExecSyncResponse {
            // What they keep of the room for outputs is free once the answer has been written.
            stdout: Bytes::from_owner(done.stdout),
            stderr: Bytes::from_owner(done.stderr),
            exit_code: done.code,
        }))
    }

    pub(super) fn exec_url(&self, request: v1::ExecRequest) -> Answer<v1::ExecResponse> {
        let container = self.running(&request.container_id)?;
        let streams = Streams {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            tty: request.tty,
        };
        let request = ExecRequest { container, command: request.cmd, streams };
        let url = self.streaming.exec_url(request).map_err(refused)?;
        Ok(Response::new(v1::ExecResponse { url }))
    }

    pub(super) fn attach_url(&self, request: v1::AttachRequest) -> Answer<v1::AttachResponse> {
        let container = self.running(&request.container_id)?;
        let streams = Streams {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            tty: request.tty,
        };
        let request = AttachRequest { container, streams };
        let url = self.streaming.attach_url(request).map_err(refused)?;
        Ok(Response::new(v1::AttachResponse { url }))
    }

    pub(super) fn port_forward_url(
        &self,
        request: v1::PortForwardRequest,
    ) -> Answer<v1::PortForwardResponse> {
        let sandbox = self.engine.sandbox(&request.pod_sandbox_id);
        let sandbox = sandbox.map_err(|error| status::of(&error))?;
        if !sandbox.is_ready() {
            return Err(Status::failed_precondition(format!(
                "sandbox {} is not ready",
                sandbox.id
            )));
        }
        let port = |port: i32| {
            u16::try_from(port).map_err(|_| invalid(format!("port: {port} is no port")))
        };
        let request = PortForwardRequest {
            sandbox: sandbox.id.to_string(),
            ports: request.port.into_iter().map(port).collect::<Result<_, _>>()?,
        };
        let url = self.streaming.port_forward_url(request).map_err(refused)?;
        Ok(Response::new(v1::PortForwardResponse { url }))
    }

    /// The id of a container of a sandbox that runs.
    fn running(&self, query: &str) -> Result<String, Status> {
        let container = self.engine.member(query).map_err(|error| status::of(&error))?;
        match container.state.run() {
            Some(_) => Ok(container.id.to_string()),
            None => {
                let message = format!("container {} is not running", container.id.short());
                Err(Status::failed_precondition(message))
            }
        }
    }
}

fn refused(error: StreamingError) -> Status {
    match error {
        StreamingError::Invalid(why) => invalid(why),
        StreamingError::Busy => Status::resource_exhausted(error.to_string()),
        other => Status::unavailable(other.to_string()),
    }
}
