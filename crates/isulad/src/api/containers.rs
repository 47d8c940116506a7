//! The service `Containers`: parse, act, render.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use isula_api::v1::{self, containers_server::Containers};
use isula_core::{
    container::{NetworkMode, Source, State},
    error::chain,
    ports::{LogOptions, LogRecord, Output},
};
use isula_engine::{
    Engine, Patience, StopOptions,
    container::{Condition, ListOptions, Listed, RemoveOptions},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert,
    session::{self, Outputs},
    status::{Answer, invalid, refuse, status},
};
use crate::{inspect, top};

/// The service on an engine.
#[derive(Clone)]
pub struct ContainerService {
    engine: Arc<Engine>,
}

impl ContainerService {
    /// The service.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Runs a use case as a task of its own: a client that hangs up leaves nothing half done.
    async fn carry_out<T, F, Work>(&self, work: Work) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = isula_engine::Result<T>> + Send,
        Work: FnOnce(Arc<Engine>) -> F + Send + 'static,
    {
        let engine = Arc::clone(&self.engine);
        let task = tokio::spawn(async move { work(engine).await });
        match task.await {
            Ok(result) => result.map_err(|error| refuse(&error)),
            Err(_) => Err(Status::internal("the operation was broken off")),
        }
    }
}

fn stop_options(request: &v1::StopRequest) -> Result<StopOptions, Status> {
    let patience = match request.timeout_seconds {
        None => None,
        Some(-1) => Some(Patience::Forever),
        Some(seconds) => {
            let seconds = u64::try_from(seconds)
                .map_err(|_| invalid(format!("invalid timeout {seconds}: use -1 for no limit")))?;
            Some(Patience::For(std::time::Duration::from_secs(seconds)))
        }
    };
    Ok(StopOptions { patience, signal: convert::signal(&request.signal)? })
}

#[tonic::async_trait]
impl Containers for ContainerService {
    async fn create(&self, request: Request<v1::CreateRequest>) -> Answer<v1::CreateResponse> {
        let log = &self.engine.settings().default_log;
        let new = convert::new_container(request.into_inner(), log)?;
        let created = self.carry_out(|engine| async move { engine.create(new).await }).await?;
        let (id, warnings) = (created.id.to_string(), created.warnings);
        Ok(Response::new(v1::CreateResponse { id, warnings }))
    }

    async fn start(&self, request: Request<v1::StartRequest>) -> Answer<v1::StartResponse> {
        let v1::StartRequest { id } = request.into_inner();
        let started = self.carry_out(|engine| async move { engine.start(&id).await }).await?;
        let (id, pid) = (started.id.to_string(), started.run.pid);
        Ok(Response::new(v1::StartResponse { id, pid }))
    }

    async fn run(&self, request: Request<v1::CreateRequest>) -> Answer<v1::CreateResponse> {
        let log = &self.engine.settings().default_log;
        let new = convert::new_container(request.into_inner(), log)?;
        let created = self.carry_out(|engine| async move { engine.run(new).await }).await?;
        let (id, warnings) = (created.id.to_string(), created.warnings);
        Ok(Response::new(v1::CreateResponse { id, warnings }))
    }

    type SessionStream = Outputs;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionInput>>,
    ) -> Answer<Self::SessionStream> {
        let mut inputs = request.into_inner();
        let first = inputs.message().await?;
        let opening = first.and_then(|message| message.input);
        let opening = opening.ok_or_else(|| invalid("a session begins with what it opens"))?;
        let log = &self.engine.settings().default_log;
        let opening = session::Opening::parse(opening, log)?;
        let opened = self.carry_out(|engine| opening.open(engine)).await?;
        Ok(Response::new(session::join(opened, inputs)))
    }

    async fn exec(&self, request: Request<v1::ExecRequest>) -> Answer<v1::ExecResponse> {
        let (id, config, _) = convert::exec_config(request.into_inner());
        let done = self.carry_out(|engine| async move { engine.exec(&id, config).await }).await?;
        Ok(Response::new(v1::ExecResponse { exec_id: done.id.0, pid: done.pid }))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Answer<v1::StopResponse> {
        let request = request.into_inner();
        let options = stop_options(&request)?;
        let work =
            move |engine: Arc<Engine>| async move { engine.stop(&request.id, options).await };
        let id = self.carry_out(work).await?.to_string();
        Ok(Response::new(v1::StopResponse { id }))
    }

    async fn restart(&self, request: Request<v1::StopRequest>) -> Answer<v1::StopResponse> {
        let request = request.into_inner();
        let options = stop_options(&request)?;
        let work =
            move |engine: Arc<Engine>| async move { engine.restart(&request.id, options).await };
        let id = self.carry_out(work).await?.id.to_string();
        Ok(Response::new(v1::StopResponse { id }))
    }

    async fn kill(&self, request: Request<v1::KillRequest>) -> Answer<v1::KillResponse> {
        let request = request.into_inner();
        let signal = convert::signal(&request.signal)?.unwrap_or(isula_core::signal::Signal::KILL);
        let work = move |engine: Arc<Engine>| async move { engine.kill(&request.id, signal).await };
        let id = self.carry_out(work).await?.to_string();
        Ok(Response::new(v1::KillResponse { id }))
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Answer<v1::PauseResponse> {
        let v1::PauseRequest { id } = request.into_inner();
        let id = self.carry_out(|engine| async move { engine.pause(&id).await }).await?;
        Ok(Response::new(v1::PauseResponse { id: id.to_string() }))
    }

    async fn unpause(&self, request: Request<v1::PauseRequest>) -> Answer<v1::PauseResponse> {
        let v1::PauseRequest { id } = request.into_inner();
        let id = self.carry_out(|engine| async move { engine.resume(&id).await }).await?;
        Ok(Response::new(v1::PauseResponse { id: id.to_string() }))
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Answer<v1::RemoveResponse> {
        let v1::RemoveRequest { id, force, volumes } = request.into_inner();
        let options = RemoveOptions { force, volumes };
        let work = move |engine: Arc<Engine>| async move { engine.remove(&id, options).await };
        let id = self.carry_out(work).await?.to_string();
        Ok(Response::new(v1::RemoveResponse { id }))
    }

    async fn rename(&self, request: Request<v1::RenameRequest>) -> Answer<v1::RenameResponse> {
        let v1::RenameRequest { id, name } = request.into_inner();
        let work = move |engine: Arc<Engine>| async move { engine.rename(&id, &name).await };
        let id = self.carry_out(work).await?.to_string();
        Ok(Response::new(v1::RenameResponse { id }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        let v1::ListRequest { all, filters, last } = request.into_inner();
        let last = (last > 0).then(|| usize::try_from(last).unwrap_or(usize::MAX));
        let listed = self.engine.list(&ListOptions { all, filters, last });
        let listed = listed.map_err(|error| refuse(&error))?;
        let containers = listed.iter().map(summary).collect();
        Ok(Response::new(v1::ListResponse { containers }))
    }

    async fn inspect(&self, request: Request<v1::InspectRequest>) -> Answer<v1::InspectResponse> {
        let v1::InspectRequest { id } = request.into_inner();
        let facts = self.engine.inspect(&id).await.map_err(|error| refuse(&error))?;
        let json = inspect::render(&facts).to_string().into_bytes().into();
        Ok(Response::new(v1::InspectResponse { json }))
    }

    async fn wait(&self, request: Request<v1::WaitRequest>) -> Answer<v1::WaitResponse> {
        let request = request.into_inner();
        let condition = match request.condition() {
            v1::wait_request::Condition::NotRunning => Condition::NotRunning,
            v1::wait_request::Condition::NextExit => Condition::NextExit,
            v1::wait_request::Condition::Removed => Condition::Removed,
        };
        let waited = self.engine.wait(&request.id, condition).await;
        let exit_code = waited.map_err(|error| refuse(&error))?;
        Ok(Response::new(v1::WaitResponse { exit_code }))
    }

    type LogsStream = Pin<Box<dyn Stream<Item = Result<v1::LogRecord, Status>> + Send>>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        let v1::LogsRequest { id, follow, tail, since_ns, until_ns } = request.into_inner();
        let since = since_ns.map(convert::timestamp).transpose()?;
        let until = until_ns.map(convert::timestamp).transpose()?;
        let options = LogOptions { follow, tail, since, until };
        let records = self.engine.logs(&id, options).await.map_err(|error| refuse(&error))?;
        let rendered = records.map(|record| match record {
            Ok(record) => Ok(log_record(record)),
            Err(error) => Err(status(error.kind(), &chain(&error))),
        });
        Ok(Response::new(Box::pin(rendered)))
    }

    async fn top(&self, request: Request<v1::TopRequest>) -> Answer<v1::TopResponse> {
        let v1::TopRequest { id } = request.into_inner();
        let pids = self.engine.top(&id).await.map_err(|error| refuse(&error))?;
        Ok(Response::new(top::render(&pids)))
    }
}

fn log_record(record: LogRecord) -> v1::LogRecord {
    let stream = match record.stream {
        Output::Stdout => v1::log_record::Stream::Stdout,
        Output::Stderr => v1::log_record::Stream::Stderr,
    };
    v1::LogRecord {
        time_ns: nanoseconds(Some(record.at)),
        stream: stream.into(),
        bytes: record.bytes,
    }
}

/// Nanoseconds since the epoch; 0 for never.
pub fn nanoseconds(time: Option<jiff::Timestamp>) -> i64 {
    time.and_then(|time| i64::try_from(time.as_nanosecond()).ok()).unwrap_or_default()
}

fn summary(listed: &Listed) -> v1::ContainerSummary {
    let container = &*listed.container;
    let (image, image_id) = match &container.source {
        Source::Image { reference, id } => (reference.clone(), id.to_string()),
        Source::Directory(path) => (path.clone(), String::new()),
    };
    let exit = container.state.exit();
    let network = match &container.host.network {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
    };
    let started = match &container.state {
        State::Running(run) | State::Paused(run) => Some(run.started),
        _ => container.started,
    };
    v1::ContainerSummary {
        id: container.id.to_string(),
        name: container.name.to_string(),
        image,
        image_id,
        command: container.config.args().join(" "),
        created_ns: nanoseconds(Some(container.created)),
        state: listed.state.to_owned(),
        exit_code: exit.map_or(0, |exit| exit.code),
        started_ns: nanoseconds(started),
        finished_ns: nanoseconds(exit.map(|exit| exit.at)),
        runtime: container.host.runtime.clone(),
        pid: container.state.run().map_or(0, |run| run.pid),
        restarts: container.restarts,
        labels: container.config.labels.clone().into_iter().collect(),
        mounts: container.host.mounts.iter().map(inspect::mount_source).collect(),
        network,
        ports: container.config.exposed_ports.clone(),
    }
}
