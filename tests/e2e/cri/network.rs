//! A network whose plugin hangs: the sandbox is refused in time, and nothing of it is left.

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use anyhow::{Result, ensure};
use isula_api::runtime::v1;
use isula_tests::Node;
use tonic::Code;

/// A plugin that hangs at the commands of the file beside it.
const PLUGIN: &str = r#"#!/bin/sh
case $CNI_COMMAND in
    VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}'; exit ;;
esac
if grep -q "$CNI_COMMAND" "$0.hangs"; then sleep 987 & wait; fi
case $CNI_COMMAND in
    ADD) echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}]}' ;;
esac
"#;

/// A daemon whose pods are attached by that plugin.
fn node() -> Result<(tempfile::TempDir, Node)> {
    let directory = tempfile::Builder::new().prefix("isula-cni.").tempdir()?;
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("conf"))?;
    let list = r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "slow"}]}"#;
    fs::write(at("conf/10-pods.conflist"), list)?;
    fs::write(at("slow"), PLUGIN)?;
    fs::set_permissions(at("slow"), fs::Permissions::from_mode(0o755))?;
    let configuration = format!(
        r#"{{"cni-conf-dir": "{}", "cni-bin-dir": "{}", "cni-timeout": "2s"}}"#,
        at("conf").display(),
        directory.path().display()
    );
    let node = Node::with(&configuration)?;
    Ok((directory, node))
}

fn pod(node: &Node) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig { linux: None, ..node.pod("net") }
}

#[test]
fn a_plugin_that_hangs_is_ended_and_its_sandbox_taken_back() -> Result<()> {
    let (directory, node) = node()?;
    let hangs = directory.path().join("slow.hangs");
    fs::write(&hangs, "ADD")?;
    let begun = Instant::now();
    let error = node.run_pod(pod(&node)).unwrap_err();
    ensure!(error.code() == Code::DeadlineExceeded, "{error:?}");
    ensure!(error.message().contains("network plugin slow did not end in time (ADD)"), "{error:?}");
    ensure!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    ensure!(node.pods()?.is_empty(), "it is there");
    for kept in ["state/netns", "state/pods", "data/cni/results", "data/sandboxes"] {
        let entries = fs::read_dir(node.world.path(kept)).into_iter().flatten().flatten();
        let left: Vec<_> = entries.map(|entry| entry.path()).collect();
        ensure!(left.is_empty(), "{left:?}");
    }
    // The same can be asked for again.
    fs::write(&hangs, "")?;
    let id = node.run_pod(pod(&node))?;
    node.remove_pod(&id)?;
    node.finish()
}

#[test]
fn where_even_the_taking_back_hangs_the_sandbox_can_be_removed_later() -> Result<()> {
    let (directory, node) = node()?;
    let hangs = directory.path().join("slow.hangs");
    fs::write(&hangs, "ADD DEL")?;
    let error = node.run_pod(pod(&node)).unwrap_err();
    ensure!(error.code() == Code::DeadlineExceeded, "{error:?}");
    let left = node.pods()?;
    ensure!(left.len() == 1, "{left:?}");
    ensure!(left[0].state == i32::from(v1::PodSandboxState::SandboxNotready), "{left:?}");
    fs::write(&hangs, "")?;
    node.remove_pod(&left[0].id)?;
    node.finish()
}

/// A client that gives up leaves the work to its end: what was made is there and can be removed.
#[test]
fn a_client_that_gives_up_before_the_plugin_leaves_nothing_half_made() -> Result<()> {
    let (directory, node) = node()?;
    let hangs = directory.path().join("slow.hangs");
    fs::write(&hangs, "ADD")?;
    let mut request = tonic::Request::new(v1::RunPodSandboxRequest {
        config: Some(pod(&node)),
        ..Default::default()
    });
    request.set_timeout(std::time::Duration::from_millis(300));
    let error = node.ask(|mut cri| async move { cri.run_pod_sandbox(request).await }).unwrap_err();
    ensure!([Code::Cancelled, Code::DeadlineExceeded].contains(&error.code()), "{error:?}");
    // Its name is taken until the plugin's time is over; then it is free.
    let begun = Instant::now();
    loop {
        fs::write(&hangs, "")?;
        match node.run_pod(pod(&node)) {
            Ok(id) => break node.remove_pod(&id)?,
            Err(error) => ensure!(error.code() == Code::AlreadyExists, "{error:?}"),
        }
        ensure!(begun.elapsed().as_secs() < 60, "the name is never free");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    node.finish()
}
