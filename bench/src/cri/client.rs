//! The calls.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::message::{
    Container, ContainerMetadata, CreateContainer, Empty, ExecSync, Executed, Id, Image, LinuxPod,
    Pod, PodMetadata, PullImage, RunPod, StopContainer,
};

/// A connection that everyone may use.
#[derive(Clone)]
pub struct Client(Grpc<Channel>);

impl Client {
    /// Connects.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        Ok(Self(Grpc::new(channel)))
    }

    async fn call<A, B>(&self, method: &'static str, request: A) -> Result<B>
    where
        A: prost::Message + Send + Sync + 'static,
        B: prost::Message + Default + Send + Sync + 'static,
    {
        let service = if method == "PullImage" { "ImageService" } else { "RuntimeService" };
        let path = PathAndQuery::try_from(format!("/runtime.v1.{service}/{method}"))?;
        let mut grpc = self.0.clone();
        grpc.ready().await?;
        let codec = ProstCodec::<A, B>::default();
        let response = grpc.unary(Request::new(request), path, codec).await;
        Ok(response.with_context(|| method)?.into_inner())
    }

    /// Pulls an image.
    pub async fn pull(&self, image: &str) -> Result<()> {
        let image = Some(Image { image: image.to_owned() });
        self.call::<_, Empty>("PullImage", PullImage { image }).await.map(drop)
    }

    /// Runs a pod on the network.
    pub async fn run_pod(&self, number: usize) -> Result<String> {
        let config = Some(pod(number));
        Ok(self.call::<_, Id>("RunPodSandbox", RunPod { config }).await?.id)
    }

    /// Creates a container that sleeps.
    pub async fn create(&self, pod_id: &str, image: &str, number: usize) -> Result<String> {
        let config = Container {
            metadata: Some(ContainerMetadata { name: "sleeper".to_owned(), attempt: 0 }),
            image: Some(Image { image: image.to_owned() }),
            // It ends at once when it is asked to.
            command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
                .map(str::to_owned)
                .to_vec(),
            log_path: format!("{number}.log"),
        };
        let request = CreateContainer {
            pod: pod_id.to_owned(),
            config: Some(config),
            pod_config: Some(pod(number)),
        };
        Ok(self.call::<_, Id>("CreateContainer", request).await?.id)
    }

    /// Starts a container.
    pub async fn start(&self, id: &str) -> Result<()> {
        self.call::<_, Empty>("StartContainer", Id { id: id.to_owned() }).await.map(drop)
    }

    /// Runs a command in it.
    pub async fn exec(&self, id: &str) -> Result<()> {
        let command = vec!["true".to_owned()];
        let request = ExecSync { id: id.to_owned(), command, timeout: 60 };
        let done: Executed = self.call("ExecSync", request).await?;
        ensure!(done.exit_code == 0, "exec ended with {}", done.exit_code);
        Ok(())
    }

    /// Stops a container.
    pub async fn stop(&self, id: &str) -> Result<()> {
        let request = StopContainer { id: id.to_owned(), timeout: 10 };
        self.call::<_, Empty>("StopContainer", request).await.map(drop)
    }

    /// Removes a container.
    pub async fn remove(&self, id: &str) -> Result<()> {
        self.call::<_, Empty>("RemoveContainer", Id { id: id.to_owned() }).await.map(drop)
    }

    /// Stops a pod with its containers.
    pub async fn stop_pod(&self, id: &str) -> Result<()> {
        self.call::<_, Empty>("StopPodSandbox", Id { id: id.to_owned() }).await.map(drop)
    }

    /// Removes a pod with its containers.
    pub async fn remove_pod(&self, id: &str) -> Result<()> {
        self.call::<_, Empty>("RemovePodSandbox", Id { id: id.to_owned() }).await.map(drop)
    }
}

fn pod(number: usize) -> Pod {
    let name = format!("bench-{number}");
    let metadata =
        PodMetadata { uid: name.clone(), namespace: "bench".to_owned(), attempt: 0, name };
    Pod {
        metadata: Some(metadata),
        // Where this runs: whoever has made the place takes it away.
        log_directory: std::env::current_dir().unwrap_or_default().display().to_string(),
        linux: Some(LinuxPod::default()),
        ..Pod::default()
    }
}
