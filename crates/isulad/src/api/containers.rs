//! The service of containers.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt};
use isula_api::v1::{self, containers_server::Containers};
use isula_core::{
    container::{Container, MountKind, Source},
    ports::{LogRecord, Output},
    signal::Signal,
};
use isula_engine::{
    Engine,
    container::{Condition, ListOptions, Listed, RemoveOptions},
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, convert, inspect, ports, session,
    status::{self, invalid},
    top,
};

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Api {
    fn new_container(
        &self,
        request: v1::CreateRequest,
    ) -> Result<isula_core::container::NewContainer, Status> {
        convert::new_container(request, &self.engine.settings().default_log)
    }
}

#[async_trait]
impl Containers for Api {
    type SessionStream = Items<v1::SessionOutput>;
    type LogsStream = Items<v1::LogRecord>;

    async fn create(&self, request: Request<v1::CreateRequest>) -> Answer<v1::CreateResponse> {
        let new = self.new_container(request.into_inner())?;
        let made = self.carry_out(|engine| async move { engine.create(new).await }).await?;
        Ok(Response::new(v1::CreateResponse { id: made.id.into(), warnings: made.warnings }))
    }

    async fn start(&self, request: Request<v1::StartRequest>) -> Answer<v1::StartResponse> {
        let v1::StartRequest { id } = request.into_inner();
        let started = self.carry_out(|engine| async move { engine.start(&id).await }).await?;
        Ok(Response::new(v1::StartResponse { id: started.id.into(), pid: started.run.pid }))
    }

    async fn run(&self, request: Request<v1::CreateRequest>) -> Answer<v1::CreateResponse> {
        let new = self.new_container(request.into_inner())?;
        let made = self.carry_out(|engine| async move { engine.run(new).await }).await?;
        Ok(Response::new(v1::CreateResponse { id: made.id.into(), warnings: made.warnings }))
    }

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionInput>>,
    ) -> Answer<Self::SessionStream> {
        let mut input = request.into_inner();
        let open = input.message().await?.and_then(|message| message.input);
        let joined = match open {
            Some(v1::session_input::Input::Run(run)) => {
                let new = self.new_container(run.create.unwrap_or_default())?;
                let attach = convert::attach(run.streams)?;
                self.carry_out(|engine| async move { engine.run_attached(new, attach).await })
                    .await?
                    .into()
            }
            Some(v1::session_input::Input::Attach(open)) => {
                let attach = convert::attach(open.streams)?;
                self.carry_out(|engine| async move {
                    match open.start {
                        true => engine.start_attached(&open.id, attach).await,
                        false => engine.attach(&open.id, attach).await,
                    }
                })
                .await?
                .into()
            }
            Some(v1::session_input::Input::Exec(exec)) => {
                let (id, config, attach) = convert::exec(exec)?;
                self.carry_out(
                    |engine| async move { engine.exec_attached(&id, config, attach).await },
                )
                .await?
                .into()
            }
            _ => return Err(invalid("the first message of a session must open it")),
        };
        Ok(Response::new(Box::pin(session::join(joined, input))))
    }

    async fn exec(&self, request: Request<v1::ExecRequest>) -> Answer<v1::ExecResponse> {
        let (id, config, _) = convert::exec(request.into_inner())?;
        let begun = self.carry_out(|engine| async move { engine.exec(&id, config).await }).await?;
        Ok(Response::new(v1::ExecResponse { exec_id: begun.id.0, pid: begun.pid }))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Answer<v1::StopResponse> {
        let request = request.into_inner();
        let options = convert::stop(&request)?;
        let stop = |engine: Arc<Engine>| async move { engine.stop(&request.id, options).await };
        let id = self.carry_out(stop).await?.into();
        Ok(Response::new(v1::StopResponse { id }))
    }

    async fn restart(&self, request: Request<v1::StopRequest>) -> Answer<v1::StopResponse> {
        let request = request.into_inner();
        let options = convert::stop(&request)?;
        let restart =
            |engine: Arc<Engine>| async move { engine.restart(&request.id, options).await };
        let id = self.carry_out(restart).await?.id.into();
        Ok(Response::new(v1::StopResponse { id }))
    }

    async fn kill(&self, request: Request<v1::KillRequest>) -> Answer<v1::KillResponse> {
        let v1::KillRequest { id, signal } = request.into_inner();
        let signal = convert::signal(&signal)?.unwrap_or(Signal::KILL);
        let killed = self.carry_out(|engine| async move { engine.kill(&id, signal).await }).await?;
        Ok(Response::new(v1::KillResponse { id: killed.into() }))
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Answer<v1::PauseResponse> {
        let v1::PauseRequest { id } = request.into_inner();
        let paused = self.carry_out(|engine| async move { engine.pause(&id).await }).await?;
        Ok(Response::new(v1::PauseResponse { id: paused.into() }))
    }

    async fn unpause(&self, request: Request<v1::PauseRequest>) -> Answer<v1::PauseResponse> {
        let v1::PauseRequest { id } = request.into_inner();
        let resumed = self.carry_out(|engine| async move { engine.resume(&id).await }).await?;
        Ok(Response::new(v1::PauseResponse { id: resumed.into() }))
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Answer<v1::RemoveResponse> {
        let v1::RemoveRequest { id, force, volumes } = request.into_inner();
        let options = RemoveOptions { force, volumes };
        let gone =
            self.carry_out(|engine| async move { engine.remove(&id, options).await }).await?;
        Ok(Response::new(v1::RemoveResponse { id: gone.into() }))
    }

    async fn rename(&self, request: Request<v1::RenameRequest>) -> Answer<v1::RenameResponse> {
        let v1::RenameRequest { id, name } = request.into_inner();
        let named = self.carry_out(|engine| async move { engine.rename(&id, &name).await }).await?;
        Ok(Response::new(v1::RenameResponse { id: named.into() }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        let v1::ListRequest { all, filters, last } = request.into_inner();
        let last = (last > 0).then(|| usize::try_from(last).unwrap_or(usize::MAX));
        let options = ListOptions { all, filters, last };
        let listed = self.engine.list(&options).map_err(|error| status::of(&error))?;
        let containers = listed.iter().map(summary).collect();
        Ok(Response::new(v1::ListResponse { containers }))
    }

    async fn inspect(&self, request: Request<v1::InspectRequest>) -> Answer<v1::InspectResponse> {
        let v1::InspectRequest { id } = request.into_inner();
        let found = self.engine.inspect(&id).await.map_err(|error| status::of(&error))?;
        let json = inspect::render(&found).to_string().into();
        Ok(Response::new(v1::InspectResponse { json }))
    }

    async fn wait(&self, request: Request<v1::WaitRequest>) -> Answer<v1::WaitResponse> {
        let request = request.into_inner();
        let condition = match request.condition() {
            v1::wait_request::Condition::NotRunning => Condition::NotRunning,
            v1::wait_request::Condition::NextExit => Condition::NextExit,
            v1::wait_request::Condition::Removed => Condition::Removed,
        };
        // Nothing changes by waiting: it ends with the client.
        let waited = self.engine.wait(&request.id, condition).await;
        let exit_code = waited.map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::WaitResponse { exit_code }))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        let request = request.into_inner();
        let options = convert::logs(&request)?;
        let records = self.engine.logs(&request.id, options).await;
        let records = records.map_err(|error| status::of(&error))?.map(|record| match record {
            Ok(record) => Ok(log_record(record)),
            Err(error) => Err(status::of(&error.into())),
        });
        Ok(Response::new(Box::pin(records)))
    }

    async fn top(&self, request: Request<v1::TopRequest>) -> Answer<v1::TopResponse> {
        let v1::TopRequest { id } = request.into_inner();
        let pids = self.engine.top(&id).await.map_err(|error| status::of(&error))?;
        // A process that holds its memory's lock keeps whoever reads its command line waiting.
        let answer = tokio::task::spawn_blocking(move || top::render(&pids)).await;
        answer.map(Response::new).map_err(|_| Status::cancelled("the daemon is shutting down"))
    }
}

fn log_record(record: LogRecord) -> v1::LogRecord {
    let stream = match record.stream {
        Output::Stdout => v1::log_record::Stream::Stdout,
        Output::Stderr => v1::log_record::Stream::Stderr,
    };
    v1::LogRecord {
        time_ns: convert::nanoseconds(record.at),
        stream: stream.into(),
        bytes: record.bytes,
    }
}

fn summary(listed: &Listed) -> v1::ContainerSummary {
    let Container { id, name, config, host, state, .. } = &*listed.container;
    let (image, image_id) = match &listed.container.source {
        Source::Image { reference, id } => (reference.clone(), id.hex().to_owned()),
        Source::Directory(path) => (path.clone(), String::new()),
    };
    let exit = state.exit();
    v1::ContainerSummary {
        id: id.to_string(),
        name: name.to_string(),
        image,
        image_id,
        command: config.args().join(" "),
        created_ns: convert::nanoseconds(listed.container.created),
        state: listed.state.to_owned(),
        exit_code: exit.map_or(0, |exit| exit.code),
        started_ns: listed.container.started.map_or(0, convert::nanoseconds),
        finished_ns: exit.map_or(0, |exit| convert::nanoseconds(exit.at)),
        runtime: host.runtime.clone(),
        pid: state.run().map_or(0, |run| run.pid),
        restarts: listed.container.restarts,
        labels: config.labels.clone().into_iter().collect(),
        mounts: host.mounts.iter().map(|mount| mount_name(&mount.kind)).collect(),
        network: host.network.to_string(),
        ports: ports::listed(&listed.container),
    }
}

fn mount_name(kind: &MountKind) -> String {
    match kind {
        MountKind::Bind { source, .. } => source.clone(),
        MountKind::Volume { name, .. } => name.clone(),
    }
}
