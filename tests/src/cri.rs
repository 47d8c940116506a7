//! A kubelet's view of a daemon: pods and containers over the Container Runtime Interface.

use std::{fs, future::Future, ops::Deref, path::Path};

use anyhow::Result;
use hyper_util::rt::TokioIo;
use isula_api::runtime::v1::{self, runtime_service_client::RuntimeServiceClient};
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::World;

/// The largest answer that is accepted, above what any should be.
const ANSWER: usize = 256 << 20;

/// What a request gave, or the status it was refused with.
pub type Answer<T> = std::result::Result<T, Status>;

/// A connection to the runtime service. It may be used by several threads.
pub struct Client {
    runtime: Runtime,
    service: RuntimeServiceClient<Channel>,
}

impl Client {
    /// Connects to the daemon's socket.
    pub fn connect(socket: &Path) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = runtime.block_on(async {
            Endpoint::from_static("http://isulad").connect_with_connector(connector).await
        })?;
        let service = RuntimeServiceClient::new(channel)
            .max_decoding_message_size(ANSWER)
            .max_encoding_message_size(ANSWER);
        Ok(Self { runtime, service })
    }

    /// Makes any request.
    pub fn ask<T, F>(&self, request: impl FnOnce(RuntimeServiceClient<Channel>) -> F) -> Answer<T>
    where
        F: Future<Output = Answer<tonic::Response<T>>>,
    {
        self.runtime.block_on(request(self.service.clone())).map(tonic::Response::into_inner)
    }

    /// Runs a sandbox; gives back its id.
    pub fn run_pod(&self, config: v1::PodSandboxConfig) -> Answer<String> {
        let request = v1::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let made = self.ask(|mut cri| async move { cri.run_pod_sandbox(request).await })?;
        Ok(made.pod_sandbox_id)
    }

    /// Stops and removes a sandbox.
    pub fn remove_pod(&self, id: &str) -> Answer<()> {
        let pod_sandbox_id = id.to_owned();
        let stop = v1::StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() };
        self.ask(|mut cri| async move { cri.stop_pod_sandbox(stop).await })?;
        let remove = v1::RemovePodSandboxRequest { pod_sandbox_id };
        self.ask(|mut cri| async move { cri.remove_pod_sandbox(remove).await })?;
        Ok(())
    }

    /// All sandboxes.
    pub fn pods(&self) -> Answer<Vec<v1::PodSandbox>> {
        let request = v1::ListPodSandboxRequest::default();
        let list = self.ask(|mut cri| async move { cri.list_pod_sandbox(request).await })?;
        Ok(list.items)
    }

    /// Makes a container in a sandbox; gives back its id.
    pub fn create(&self, pod: &str, config: v1::ContainerConfig) -> Answer<String> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config),
            sandbox_config: None,
        };
        let made = self.ask(|mut cri| async move { cri.create_container(request).await })?;
        Ok(made.container_id)
    }

    /// Starts a container.
    pub fn start(&self, id: &str) -> Answer<()> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        self.ask(|mut cri| async move { cri.start_container(request).await })?;
        Ok(())
    }

    /// Makes a container and starts it.
    pub fn run(&self, pod: &str, config: v1::ContainerConfig) -> Answer<String> {
        let id = self.create(pod, config)?;
        self.start(&id)?;
        Ok(id)
    }

    /// Kills and removes a container.
    pub fn remove(&self, id: &str) -> Answer<()> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        self.ask(|mut cri| async move { cri.remove_container(request).await })?;
        Ok(())
    }

    /// Has the log of a container opened again.
    pub fn reopen_log(&self, id: &str) -> Answer<()> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        self.ask(|mut cri| async move { cri.reopen_container_log(request).await })?;
        Ok(())
    }

    /// Runs a process in a container to its end, for at most so many seconds; 0 is for ever.
    pub fn exec_sync(
        &self,
        id: &str,
        command: &[&str],
        timeout: i64,
    ) -> Answer<v1::ExecSyncResponse> {
        let cmd = command.iter().map(ToString::to_string).collect();
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
        self.ask(|mut cri| async move { cri.exec_sync(request).await })
    }

    /// What a shell prints in a container.
    pub fn shell(&self, id: &str, script: &str) -> Result<String> {
        let done = self.exec_sync(id, &["sh", "-c", script], 60)?;
        let told = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.exit_code == 0, "{script}: {}: {told}", done.exit_code);
        Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
    }

    /// A URL to run a command at, whose output a client reads.
    pub fn exec_url(&self, id: &str, command: &[&str]) -> Answer<String> {
        let cmd = command.iter().map(ToString::to_string).collect();
        let container_id = id.to_owned();
        let request = v1::ExecRequest { container_id, cmd, stdout: true, ..Default::default() };
        Ok(self.ask(|mut cri| async move { cri.exec(request).await })?.url)
    }

    /// A URL to attach at, where a client reads standard output.
    pub fn attach_url(&self, id: &str) -> Answer<String> {
        let container_id = id.to_owned();
        let request = v1::AttachRequest { container_id, stdout: true, ..Default::default() };
        Ok(self.ask(|mut cri| async move { cri.attach(request).await })?.url)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The test failed, or there is none: take its pods along as well as we can.
        for pod in self.pods().unwrap_or_default() {
            drop(self.remove_pod(&pod.id));
        }
    }
}

/// A daemon with a kubelet; what is left of its pods goes with it.
pub struct Node {
    // The order of the fields is the order of their ends.
    /// The connection.
    pub cri: Client,
    /// The daemon.
    pub world: World,
}

impl Deref for Node {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.cri
    }
}

impl Node {
    /// A running daemon with the image `busybox:latest`.
    pub fn new() -> Result<Self> {
        Self::of(World::new("lcr")?)
    }

    /// As [`Node::new`], with this `daemon.json`.
    pub fn with(configuration: &str) -> Result<Self> {
        let mut world = World::bare(&[])?;
        fs::write(world.path("daemon.json"), configuration)?;
        world.start()?;
        let archive = crate::images::busybox_docker_archive()?;
        world.ok(&["load", "-i", &archive.display().to_string()])?;
        Self::of(world)
    }

    fn of(world: World) -> Result<Self> {
        Ok(Self { cri: Client::connect(&world.path("sock"))?, world })
    }

    /// The request for a pod on the host's network, with its logs in `logs/NAME`.
    #[must_use]
    pub fn pod(&self, name: &str) -> v1::PodSandboxConfig {
        let node = v1::NamespaceMode::Node.into();
        let options = v1::NamespaceOption { network: node, ..Default::default() };
        let security = v1::LinuxSandboxSecurityContext {
            namespace_options: Some(options),
            ..Default::default()
        };
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: "tests".to_owned(),
                attempt: 0,
            }),
            log_directory: self.world.path("logs").join(name).display().to_string(),
            linux: Some(v1::LinuxPodSandboxConfig {
                security_context: Some(security),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Removes every pod, then as [`World::finish`].
    pub fn finish(self) -> Result<()> {
        let Self { cri, world } = self;
        for pod in cri.pods()? {
            cri.remove_pod(&pod.id)?;
        }
        drop(cri);
        world.finish()
    }
}

/// The request for a container of busybox that runs a script.
#[must_use]
pub fn script(name: &str, script: &str) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: "busybox:latest".to_owned(), ..Default::default() }),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: format!("{name}/0.log"),
        ..Default::default()
    }
}

/// Mounts a directory of the host at the same path in a container.
#[must_use]
pub fn volume(path: &Path) -> v1::Mount {
    let path = path.display().to_string();
    v1::Mount { container_path: path.clone(), host_path: path, ..Default::default() }
}
