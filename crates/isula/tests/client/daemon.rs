//! A daemon that is played: it answers as the tests need it and remembers what it was asked.

use std::ffi::OsStr;
use std::pin::Pin;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use isula_api::v1::containers_server::{Containers, ContainersServer};
use isula_api::v1::images_server::{Images, ImagesServer};
use isula_api::v1::session_input::Input;
use isula_api::v1::system_server::{System, SystemServer};
use isula_api::v1::*;
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};

use super::script::{ID, Script};

/// What the daemon has and what it was asked.
pub struct State {
    /// What it was asked, in words.
    pub asked: Mutex<Vec<String>>,
    /// Images that are there.
    pub images: Mutex<Vec<String>>,
    /// The last request to create a container.
    pub created: Mutex<Option<CreateRequest>>,
    /// Signals that were sent to the container.
    signals: broadcast::Sender<String>,
}

/// The daemon; it ends with the value.
pub struct Daemon {
    directory: tempfile::TempDir,
    pub state: Arc<State>,
    runtime: Option<tokio::runtime::Runtime>,
}

type Reply<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// An error with its kind, as the real daemon sends it.
fn error<T>(code: Code, kind: &str, message: &str) -> Result<T, Status> {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert("isula-error-kind", kind.parse().unwrap());
    Err(status)
}

fn known(id: &str) -> Result<(), Status> {
    match id {
        "nosuch" => error(Code::NotFound, "not-found", "no such container: nosuch"),
        _ => Ok(()),
    }
}

impl Daemon {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(State {
            asked: Mutex::default(),
            images: Mutex::new(vec!["busybox".to_owned()]),
            created: Mutex::default(),
            signals: broadcast::channel(16).0,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = directory.path().join("isulad.sock");
        let served = Served(Arc::clone(&state));
        let listener = {
            let _guard = runtime.enter();
            UnixListener::bind(socket).unwrap()
        };
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(ContainersServer::new(served.clone()))
                .add_service(ImagesServer::new(served.clone()))
                .add_service(SystemServer::new(served))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Self { directory, state, runtime: Some(runtime) }
    }

    /// The client, ready to be given more.
    pub fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isula"));
        let socket = self.directory.path().join("isulad.sock");
        command.env("ISULAD_HOST", format!("unix://{}", socket.display())).args(arguments);
        command.env("TZ", "UTC");
        command
    }

    /// Runs the client without stdin.
    pub fn run(&self, line: &str) -> Ran {
        let output = self.command(line.split_whitespace()).output().unwrap();
        Ran::from(output)
    }

    /// Ends as by SIGKILL: connections break, nothing is said.
    pub fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// What was asked, and forgets it.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.asked.lock().unwrap())
    }

    /// A directory of the test's own.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

/// How the client ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[derive(Clone)]
struct Served(Arc<State>);

impl Served {
    fn note(&self, what: String) {
        self.0.asked.lock().unwrap().push(what);
    }

    fn create(&self, request: CreateRequest) -> Result<(), Status> {
        let image = request.image.clone();
        self.note(format!("create {image}"));
        *self.0.created.lock().unwrap() = Some(request);
        if self.0.images.lock().unwrap().contains(&image) {
            return Ok(());
        }
        error(Code::NotFound, "image-not-found", &format!("no such image: {image}"))
    }
}

#[tonic::async_trait]
impl Containers for Served {
    async fn create(&self, request: Request<CreateRequest>) -> Reply<CreateResponse> {
        self.create(request.into_inner())?;
        let warnings = vec!["no swap".to_owned()];
        Ok(Response::new(CreateResponse { id: ID.to_owned(), warnings }))
    }

    async fn start(&self, request: Request<StartRequest>) -> Reply<StartResponse> {
        let id = request.into_inner().id;
        known(&id)?;
        Ok(Response::new(StartResponse { id, pid: 42 }))
    }

    async fn run(&self, request: Request<CreateRequest>) -> Reply<CreateResponse> {
        self.create(request.into_inner())?;
        Ok(Response::new(CreateResponse { id: ID.to_owned(), warnings: Vec::new() }))
    }

    type SessionStream = Messages<SessionOutput>;

    async fn session(
        &self,
        request: Request<Streaming<SessionInput>>,
    ) -> Reply<Self::SessionStream> {
        let mut input = request.into_inner();
        let first = input.message().await?.and_then(|message| message.input);
        let (args, tty, streams) = match first.unwrap() {
            Input::Run(open) => {
                let create = open.create.unwrap();
                self.create(create.clone())?;
                let config = create.config.unwrap();
                (config.cmd, config.tty, open.streams.unwrap())
            }
            // The name of the container says what runs in it.
            Input::Attach(open) => {
                known(&open.id)?;
                self.note(format!("attach {} start={}", open.id, open.start));
                let (program, tty) = match open.id.strip_prefix("tty-") {
                    Some(program) => (program, true),
                    None => (open.id.as_str(), false),
                };
                (vec![program.to_owned()], tty, open.streams.unwrap())
            }
            Input::Exec(request) => {
                known(&request.id)?;
                self.note(format!("exec env={:?} user={}", request.env, request.user));
                (request.args, request.tty, request.streams.unwrap())
            }
            _ => return Err(Status::invalid_argument("not an opening message")),
        };
        match args.first().map(String::as_str) {
            Some("notfound") => return error(Code::NotFound, "command-not-found", "no such file"),
            Some("noexec") => {
                return error(Code::FailedPrecondition, "not-executable", "permission denied");
            }
            _ => {}
        }
        let (output, receiver) = mpsc::channel(4);
        let signals = self.0.signals.subscribe();
        tokio::spawn(Script { args, tty, streams, input, output, signals }.run());
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Reply<ExecResponse> {
        let request = request.into_inner();
        known(&request.id)?;
        self.note(format!("exec -d {:?}", request.args));
        Ok(Response::new(ExecResponse::default()))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Reply<StopResponse> {
        let StopRequest { id, timeout_seconds, signal } = request.into_inner();
        known(&id)?;
        self.note(format!("stop {id} {timeout_seconds:?} {signal:?}"));
        Ok(Response::new(StopResponse { id }))
    }

    async fn restart(&self, request: Request<StopRequest>) -> Reply<StopResponse> {
        let id = request.into_inner().id;
        known(&id)?;
        Ok(Response::new(StopResponse { id }))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Reply<KillResponse> {
        let KillRequest { id, signal } = request.into_inner();
        known(&id)?;
        self.note(format!("kill {id} {signal:?}"));
        let _ = self.0.signals.send(signal);
        Ok(Response::new(KillResponse { id }))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Reply<PauseResponse> {
        let id = request.into_inner().id;
        known(&id)?;
        Ok(Response::new(PauseResponse { id }))
    }

    async fn unpause(&self, request: Request<PauseRequest>) -> Reply<PauseResponse> {
        self.pause(request).await
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Reply<RemoveResponse> {
        let RemoveRequest { id, force, volumes } = request.into_inner();
        known(&id)?;
        self.note(format!("rm {id} {force} {volumes}"));
        Ok(Response::new(RemoveResponse { id: ID.to_owned() }))
    }

    async fn rename(&self, request: Request<RenameRequest>) -> Reply<RenameResponse> {
        let RenameRequest { id, name } = request.into_inner();
        known(&id)?;
        self.note(format!("rename {id} {name}"));
        Ok(Response::new(RenameResponse { id }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Reply<ListResponse> {
        let ListRequest { all, filters, last } = request.into_inner();
        self.note(format!("list {all} {filters:?} {last}"));
        let container = ContainerSummary {
            id: ID.to_owned(),
            name: "web".to_owned(),
            image: "busybox".to_owned(),
            command: "sh".to_owned(),
            state: "created".to_owned(),
            created_ns: 1_600_000_000_000_000_000,
            ..ContainerSummary::default()
        };
        Ok(Response::new(ListResponse { containers: vec![container] }))
    }

    async fn inspect(&self, request: Request<InspectRequest>) -> Reply<InspectResponse> {
        let id = request.into_inner().id;
        if id == "busybox" {
            return error(Code::NotFound, "not-found", "no such container: busybox");
        }
        known(&id)?;
        let json =
            format!("{{\"Id\":\"{ID}\",\"Name\":\"{id}\",\"State\":{{\"Pid\":1,\"Error\":\"\"}}}}");
        Ok(Response::new(InspectResponse { json: json.into() }))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Reply<WaitResponse> {
        let id = request.into_inner().id;
        known(&id)?;
        Ok(Response::new(WaitResponse { exit_code: id.len() as i32 }))
    }

    type LogsStream = Messages<LogRecord>;

    async fn logs(&self, request: Request<LogsRequest>) -> Reply<Self::LogsStream> {
        let request = request.into_inner();
        known(&request.id)?;
        self.note(format!("logs {:?} {} {:?}", request.tail, request.follow, request.since_ns));
        let record = |time_ns, stream: log_record::Stream, text: &'static str| {
            Ok(LogRecord { time_ns, stream: stream.into(), bytes: text.into() })
        };
        let records = vec![
            record(1, log_record::Stream::Stdout, "one\n"),
            record(2, log_record::Stream::Stderr, "two\n"),
        ];
        Ok(Response::new(Box::pin(futures_util::stream::iter(records))))
    }

    async fn top(&self, request: Request<TopRequest>) -> Reply<TopResponse> {
        known(&request.into_inner().id)?;
        let cells = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        let rows = vec![TopRow { cells: cells(["1", "sh"]) }];
        Ok(Response::new(TopResponse { titles: cells(["PID", "CMD"]), rows }))
    }
}

/// Notes that a request was dropped by its client.
struct OnDrop(Served, &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.note(self.1.to_owned());
    }
}

const IMAGE: &str = "8c788f4bfb7290e434b2384340a5f9811db6ed302f9247c5fc095d6ec4fc8f32";

#[tonic::async_trait]
impl Images for Served {
    type PullStream = Messages<PullProgress>;

    async fn pull(&self, request: Request<PullRequest>) -> Reply<Self::PullStream> {
        let PullRequest { reference, platform, .. } = request.into_inner();
        self.note(format!("pull {reference} {platform}"));
        let message = |progress| Ok(PullProgress { progress: Some(progress) });
        let layer = LayerProgress {
            id: "sha256:aa".to_owned(),
            current: 1,
            total: 2,
            ..Default::default()
        };
        let layer = pull_progress::Progress::Layer(layer);
        if reference == "endless" {
            let guard = OnDrop(self.clone(), "pull was dropped");
            let stream = futures_util::stream::unfold((guard, true), move |(guard, first)| {
                let layer = layer.clone();
                async move {
                    if !first {
                        std::future::pending::<()>().await;
                    }
                    Some((message(layer), (guard, false)))
                }
            });
            return Ok(Response::new(Box::pin(stream)));
        }
        if reference == "forbidden" {
            return error(Code::PermissionDenied, "permission-denied", "pull access denied");
        }
        self.0.images.lock().unwrap().push(reference.clone());
        let pulled = PulledImage { id: IMAGE.to_owned(), reference: format!("full/{reference}") };
        let messages = vec![message(layer), message(pull_progress::Progress::Pulled(pulled))];
        Ok(Response::new(Box::pin(futures_util::stream::iter(messages))))
    }

    type LoadStream = Messages<LoadProgress>;

    async fn load(&self, request: Request<Streaming<LoadInput>>) -> Reply<Self::LoadStream> {
        let mut input = request.into_inner();
        let (mut tag, mut length) = (String::new(), 0);
        while let Some(message) = input.message().await? {
            match message.input.unwrap() {
                load_input::Input::Open(open) => tag = open.tag,
                load_input::Input::Data(data) => length += data.len(),
            }
        }
        self.note(format!("load {tag:?} {length}"));
        if length == 0 {
            return error(Code::InvalidArgument, "corrupt", "the archive is empty");
        }
        let loaded = load_progress::Progress::Loaded(LoadedImages::default());
        let message = Ok(LoadProgress { progress: Some(loaded) });
        Ok(Response::new(Box::pin(futures_util::stream::iter([message]))))
    }

    async fn import(&self, request: Request<Streaming<ImportInput>>) -> Reply<ImportResponse> {
        let mut input = request.into_inner();
        let (mut opened, mut length) = (OpenImport::default(), 0);
        while let Some(message) = input.message().await? {
            match message.input.unwrap() {
                import_input::Input::Open(open) => opened = open,
                import_input::Input::Data(data) => length += data.len(),
            }
        }
        let OpenImport { reference, changes, message } = opened;
        self.note(format!("import {reference} {changes:?} {message:?} {length}"));
        Ok(Response::new(ImportResponse { id: IMAGE.to_owned() }))
    }

    async fn list_images(&self, request: Request<ListImagesRequest>) -> Reply<ListImagesResponse> {
        self.note(format!("images {:?}", request.into_inner().filters));
        let image = ImageSummary {
            id: IMAGE.to_owned(),
            tags: vec!["busybox:latest".to_owned()],
            size: 4_270_000,
            ..ImageSummary::default()
        };
        Ok(Response::new(ListImagesResponse { images: vec![image] }))
    }

    async fn inspect_image(
        &self,
        request: Request<InspectImageRequest>,
    ) -> Reply<InspectImageResponse> {
        match request.into_inner().image.as_str() {
            "busybox" => Ok(Response::new(InspectImageResponse {
                json: format!("{{\"Id\":\"sha256:{IMAGE}\"}}").into(),
            })),
            other => error(Code::NotFound, "image-not-found", &format!("no such image: {other}")),
        }
    }

    async fn remove_image(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Reply<RemoveImageResponse> {
        let RemoveImageRequest { image, force } = request.into_inner();
        self.note(format!("rmi {image} {force}"));
        Ok(Response::new(RemoveImageResponse::default()))
    }

    async fn tag_image(&self, request: Request<TagImageRequest>) -> Reply<TagImageResponse> {
        let TagImageRequest { image, reference } = request.into_inner();
        self.note(format!("tag {image} {reference}"));
        Ok(Response::new(TagImageResponse {}))
    }
}

#[tonic::async_trait]
impl System for Served {
    async fn version(&self, _: Request<VersionRequest>) -> Reply<VersionResponse> {
        let version = VersionResponse {
            version: "1.2.3".to_owned(),
            oci_runtime_spec: "1.2.1".to_owned(),
            ..VersionResponse::default()
        };
        Ok(Response::new(version))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Reply<InfoResponse> {
        Ok(Response::new(InfoResponse { containers: 3, ..InfoResponse::default() }))
    }
}
