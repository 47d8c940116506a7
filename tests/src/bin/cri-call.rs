//! Requests of the Container Runtime Interface that crictl cannot make, for tests in a virtual
//! machine.
//!
//! ```text
//! cri-call checkpoint-pod SOCKET POD DIRECTORY CONTAINER...
//! cri-call restore-pod SOCKET DIRECTORY POD.json CONTAINER.json...
//! ```
//!
//! The files are crictl's; of what can be in them, the fields used here are known. A restore prints
//! the id of the pod and those of the containers, one a line.

use std::{fs, mem::ManuallyDrop, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use isula_api::runtime::v1;
use isula_tests::cri::Client;
use serde_json::Value;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["checkpoint-pod", socket, pod, directory, containers @ ..] => {
            checkpoint(socket, pod, directory, containers)
        }
        ["restore-pod", socket, directory, pod, containers @ ..] => {
            restore(socket, directory, pod, containers)
        }
        _ => Err(anyhow::anyhow!("usage: cri-call checkpoint-pod|restore-pod SOCKET ...")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cri-call: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A connection that takes no pod along when it goes, as that of a test does.
fn connect(socket: &str) -> Result<ManuallyDrop<Client>> {
    Ok(ManuallyDrop::new(Client::connect(Path::new(socket))?))
}

fn checkpoint(socket: &str, pod: &str, directory: &str, containers: &[&str]) -> Result<()> {
    let request = v1::CheckpointPodRequest {
        pod_sandbox_id: pod.to_owned(),
        output_path: directory.to_owned(),
        container_ids: containers.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let client = connect(socket)?;
    client.ask(|mut cri| async move { cri.checkpoint_pod(request).await })?;
    Ok(())
}

fn restore(socket: &str, directory: &str, pod: &str, containers: &[&str]) -> Result<()> {
    let read = |path: &str| -> Result<Value> {
        let text = fs::read(path).with_context(|| path.to_owned())?;
        Ok(serde_json::from_slice(&text)?)
    };
    let request = v1::RestorePodRequest {
        checkpoint_path: directory.to_owned(),
        config: Some(sandbox(&read(pod)?)?),
        container_configs: containers
            .iter()
            .map(|path| container(&read(path)?))
            .collect::<Result<_>>()?,
        ..Default::default()
    };
    let client = connect(socket)?;
    let made = client.ask(|mut cri| async move { cri.restore_pod(request).await })?;
    println!("{}", made.pod_sandbox_id);
    for container in made.restored_containers {
        println!("{}", container.container_id);
    }
    Ok(())
}

/// Refuses what would be passed over.
fn known(value: &Value, names: &[&str]) -> Result<()> {
    let fields = value.as_object().context("it is no object")?;
    for name in fields.keys() {
        ensure!(names.contains(&name.as_str()), "{name}: this program does not know it");
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn sandbox(value: &Value) -> Result<v1::PodSandboxConfig> {
    known(value, &["metadata", "log_directory", "linux", "hostname"])?;
    let metadata = &value["metadata"];
    let linux = &value["linux"];
    let security = v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(linux)),
        ..Default::default()
    };
    Ok(v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: text(&metadata["name"]),
            namespace: text(&metadata["namespace"]),
            uid: text(&metadata["uid"]),
            ..Default::default()
        }),
        hostname: text(&value["hostname"]),
        log_directory: text(&value["log_directory"]),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: text(&linux["cgroup_parent"]),
            security_context: Some(security),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn namespaces(linux: &Value) -> v1::NamespaceOption {
    let options = &linux["security_context"]["namespace_options"];
    let number = |name: &str| {
        let value = options[name].as_i64().and_then(|value| i32::try_from(value).ok());
        value.unwrap_or_default()
    };
    v1::NamespaceOption { network: number("network"), pid: number("pid"), ..Default::default() }
}

fn container(value: &Value) -> Result<v1::ContainerConfig> {
    known(value, &["metadata", "image", "command", "log_path", "mounts", "linux"])?;
    let Some(command) = value["command"].as_array() else { bail!("the container has no command") };
    let mounts = value["mounts"].as_array().into_iter().flatten();
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: text(&value["metadata"]["name"]),
            ..Default::default()
        }),
        image: Some(v1::ImageSpec { image: text(&value["image"]["image"]), ..Default::default() }),
        command: command.iter().map(text).collect(),
        log_path: text(&value["log_path"]),
        mounts: mounts
            .map(|mount| v1::Mount {
                host_path: text(&mount["host_path"]),
                container_path: text(&mount["container_path"]),
                ..Default::default()
            })
            .collect(),
        linux: Some(v1::LinuxContainerConfig {
            security_context: Some(v1::LinuxContainerSecurityContext {
                namespace_options: Some(namespaces(&value["linux"])),
                // That of the runtime, where there is one.
                seccomp: value["linux"]["security_context"]["seccomp"]
                    .as_object()
                    .map(|_| v1::SecurityProfile::default()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    })
}
