//! The Container Runtime Interface of the real daemon, as far as it needs no sandbox that runs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "each test program needs a part of it")]
mod support;

use isula_api::runtime::v1::{
    self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use support::{Daemon, Site};
use tonic::{Code, Status, transport::Channel};

async fn runtime(daemon: &Daemon) -> RuntimeServiceClient<Channel> {
    RuntimeServiceClient::new(daemon.connect().await)
}

async fn images(daemon: &Daemon) -> ImageServiceClient<Channel> {
    ImageServiceClient::new(daemon.connect().await)
}

fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    answer.unwrap_err().code()
}

fn spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() })
}

#[tokio::test]
async fn the_runtime_tells_its_version_condition_and_configuration() {
    let site = Site::new();
    let config = site.path("daemon.json");
    let conflists = site.path("none");
    let json = serde_json::json!({"cri-runtimes": {"fast": "lcr"}, "cni-conf-dir": conflists});
    std::fs::write(&config, json.to_string()).unwrap();
    let daemon = site.start(&["--config", config.to_str().unwrap()]).await;
    let mut runtime = runtime(&daemon).await;
    let version = runtime.version(v1::VersionRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (version.runtime_name.as_str(), version.runtime_api_version.as_str()),
        ("isulad", "v1")
    );

    let status = runtime.status(v1::StatusRequest { verbose: true }).await.unwrap().into_inner();
    let conditions = status.status.unwrap().conditions;
    let met: Vec<_> = conditions.iter().map(|one| (one.r#type.as_str(), one.status)).collect();
    assert_eq!(met, [("RuntimeReady", true), ("NetworkReady", false)]);
    assert!(!conditions[1].message.is_empty() && !conditions[1].reason.is_empty());
    let handlers: Vec<_> = status.runtime_handlers.iter().map(|one| one.name.as_str()).collect();
    assert!(["", "fast", "lcr", "runc"].iter().all(|name| handlers.contains(name)), "{handlers:?}");
    serde_json::from_str::<serde_json::Value>(&status.info["config"]).unwrap();

    let configured =
        runtime.runtime_config(v1::RuntimeConfigRequest {}).await.unwrap().into_inner();
    let driver = configured.linux.unwrap().cgroup_driver;
    assert_eq!(driver, i32::from(v1::CgroupDriver::Cgroupfs));
    let range = |pod_cidr: &str| v1::UpdateRuntimeConfigRequest {
        runtime_config: Some(v1::RuntimeConfig {
            network_config: Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() }),
        }),
    };
    runtime.update_runtime_config(range("10.1.0.0/16,fd00::/64")).await.unwrap();
    assert_eq!(code(runtime.update_runtime_config(range("10.1")).await), Code::InvalidArgument);

    let described = runtime.list_metric_descriptors(v1::ListMetricDescriptorsRequest {}).await;
    assert!(described.unwrap().into_inner().descriptors.len() > 60);
}

#[tokio::test]
async fn what_is_not_there_is_removed_already_and_not_found_otherwise() {
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let mut runtime = runtime(&daemon).await;
    let id = "0".repeat(64);
    let sandbox = || id.clone();
    runtime
        .stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: sandbox() })
        .await
        .unwrap();
    runtime
        .remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox() })
        .await
        .unwrap();
    let container_id = id.clone();
    runtime.stop_container(v1::StopContainerRequest { container_id, timeout: 1 }).await.unwrap();
    let container_id = id.clone();
    runtime.remove_container(v1::RemoveContainerRequest { container_id }).await.unwrap();

    let status = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox(), verbose: false };
    assert_eq!(code(runtime.pod_sandbox_status(status).await), Code::NotFound);
    let status = v1::ContainerStatusRequest { container_id: id.clone(), verbose: false };
    assert_eq!(code(runtime.container_status(status).await), Code::NotFound);
    let start = v1::StartContainerRequest { container_id: id.clone() };
    assert_eq!(code(runtime.start_container(start).await), Code::NotFound);
    let exec = v1::ExecRequest { container_id: id.clone(), ..Default::default() };
    assert_eq!(code(runtime.exec(exec).await), Code::NotFound);
    let forward = v1::PortForwardRequest { pod_sandbox_id: sandbox(), port: vec![80] };
    assert_eq!(code(runtime.port_forward(forward).await), Code::NotFound);
    let stats = v1::ContainerStatsRequest { container_id: id.clone() };
    assert_eq!(code(runtime.container_stats(stats).await), Code::NotFound);
    // Without CRIU nothing can be written down, with it there is nothing to write down.
    let criu = ["/usr/sbin/criu", "/usr/bin/criu", "/usr/local/sbin/criu", "/usr/local/bin/criu"];
    let installed = criu.iter().any(|path| std::path::Path::new(path).exists());
    let wanted = if installed { Code::NotFound } else { Code::Unimplemented };
    let container_id = id.clone();
    let location = "/nowhere/archive.tar".to_owned();
    let checkpoint = v1::CheckpointContainerRequest { container_id, location, timeout: 0 };
    assert_eq!(code(runtime.checkpoint_container(checkpoint.clone()).await), wanted);
    let relative = v1::CheckpointContainerRequest { location: "x".to_owned(), ..checkpoint };
    assert_eq!(code(runtime.checkpoint_container(relative).await), Code::InvalidArgument);
    let options = [("tcp".to_owned(), "true".to_owned())].into();
    let restore = v1::RestorePodRequest { options, ..Default::default() };
    assert_eq!(code(runtime.restore_pod(restore).await), Code::InvalidArgument);
    let run = v1::RunPodSandboxRequest::default();
    assert_eq!(code(runtime.run_pod_sandbox(run).await), Code::InvalidArgument);
}

#[tokio::test]
async fn lists_are_empty_and_streamed_ones_end() {
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let mut runtime = runtime(&daemon).await;
    let pods = runtime.list_pod_sandbox(v1::ListPodSandboxRequest::default()).await.unwrap();
    assert_eq!(pods.into_inner().items, []);
    let containers = runtime.list_containers(v1::ListContainersRequest::default()).await.unwrap();
    assert_eq!(containers.into_inner().containers, []);
    let mut pods = runtime
        .stream_pod_sandboxes(v1::StreamPodSandboxesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(pods.message().await.unwrap(), None);
    let mut metrics = runtime
        .stream_pod_sandbox_metrics(v1::StreamPodSandboxMetricsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(metrics.message().await.unwrap(), None);
    let state = Some(v1::ContainerStateValue { state: 9 });
    let filter = Some(v1::ContainerFilter { state, ..Default::default() });
    let listed = runtime.list_containers(v1::ListContainersRequest { filter }).await;
    assert_eq!(code(listed), Code::InvalidArgument);
}

#[tokio::test]
async fn an_image_is_known_by_one_id_and_goes_with_all_its_names() {
    let site = Site::new();
    let root = site.path("rootfs");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("file"), "x").unwrap();
    let config = site.path("daemon.json");
    std::fs::write(&config, r#"{"pinned-images": ["docker.io/library/kept*"]}"#).unwrap();
    let daemon = site.start(&["--config", config.to_str().unwrap()]).await;
    import(&daemon, site.tar("rootfs"), "web:1").await;
    let mut native = daemon.images().await;
    let tag = isula_api::v1::TagImageRequest {
        image: "web:1".to_owned(),
        reference: "kept:2".to_owned(),
    };
    native.tag_image(tag).await.unwrap();

    let mut images = images(&daemon).await;
    let status = |image: &str| v1::ImageStatusRequest { image: spec(image), verbose: true };
    let shown = images.image_status(status("web:1")).await.unwrap().into_inner();
    let image = shown.image.unwrap();
    assert!(image.id.starts_with("sha256:") && image.size > 0 && image.pinned, "{image:?}");
    assert_eq!(image.repo_tags, ["docker.io/library/kept:2", "docker.io/library/web:1"]);
    assert!(shown.info["info"].contains("imageSpec"));
    let by_id = images.image_status(status(&image.id)).await.unwrap().into_inner().image;
    assert_eq!(by_id.as_ref(), Some(&image));
    let listed = images.list_images(v1::ListImagesRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.images, std::slice::from_ref(&image));
    let mut streamed =
        images.stream_images(v1::StreamImagesRequest::default()).await.unwrap().into_inner();
    assert_eq!(streamed.message().await.unwrap().unwrap().images, [image]);

    let used = images.image_fs_info(v1::ImageFsInfoRequest {}).await.unwrap().into_inner();
    assert!(used.image_filesystems[0].inodes_used.unwrap().value >= 1);
    assert_eq!(used.container_filesystems[0].used_bytes.unwrap().value, 0);

    for _ in 0..2 {
        images.remove_image(v1::RemoveImageRequest { image: spec("web:1") }).await.unwrap();
    }
    let gone = images.image_status(status("kept:2")).await.unwrap().into_inner();
    assert_eq!((gone.image, gone.info.len()), (None, 0));
    assert_eq!(code(images.image_status(status("")).await), Code::InvalidArgument);
    let pull = v1::PullImageRequest { image: spec("UPPER"), ..Default::default() };
    assert_eq!(code(images.pull_image(pull).await), Code::InvalidArgument);
}

async fn import(daemon: &Daemon, tar: Vec<u8>, name: &str) {
    use isula_api::v1::{ImportInput, OpenImport, import_input::Input};
    let open = OpenImport { reference: name.to_owned(), ..Default::default() };
    let messages = [Input::Open(open), Input::Data(tar.into())];
    let messages = messages.map(|input| ImportInput { input: Some(input) });
    daemon.images().await.import(tokio_stream::iter(messages)).await.unwrap();
}

#[tokio::test]
async fn events_are_told_unless_they_are_off() {
    let site = Site::new();
    let config = site.path("daemon.json");
    std::fs::write(&config, r#"{"enable-pod-events": false}"#).unwrap();
    let daemon = site.start(&["--config", config.to_str().unwrap()]).await;
    let off = runtime(&daemon).await.get_container_events(v1::GetEventsRequest {}).await;
    assert_eq!(code(off), Code::Unimplemented);
    drop(daemon);
    let daemon = site.start(&[]).await;
    runtime(&daemon).await.get_container_events(v1::GetEventsRequest {}).await.unwrap();
}
