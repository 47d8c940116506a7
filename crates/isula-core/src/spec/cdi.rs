//! What devices of the Container Device Interface change in a spec (its specification, "OCI Edits"):
//! what they bring takes the place of what is there.

use std::path::Path;

use oci_spec::runtime::{Mount, Process};
use serde_json::{Map, Value, json};

use super::{Device, mounts};
use crate::{
    container::env,
    ports::{CdiEdits, CdiNode, DeviceNode},
    user::ResolvedUser,
};

/// Variables and groups.
pub(super) fn edit_process(process: &mut Process, edits: &CdiEdits) {
    if !edits.env.is_empty() {
        let mut variables = process.env().clone().unwrap_or_default();
        for entry in &edits.env {
            env::put(&mut variables, entry);
        }
        process.set_env(Some(variables));
    }
    add_groups(process, edits);
}

/// Groups.
pub(super) fn add_groups(process: &mut Process, edits: &CdiEdits) {
    if !edits.additional_gids.is_empty() {
        let mut user = process.user().clone();
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        for gid in &edits.additional_gids {
            // Nobody becomes a member of root's group by a device.
            if *gid != 0 && !groups.contains(gid) {
                groups.push(*gid);
            }
        }
        user.set_additional_gids(Some(groups));
        process.set_user(user);
    }
}

/// The container's device nodes, each path once.
pub(super) fn nodes(devices: &[Device], edits: &CdiEdits, user: &ResolvedUser) -> Vec<Device> {
    let replaced = |path: &str| edits.nodes.iter().any(|node| node.path == path);
    let mut all: Vec<Device> =
        devices.iter().filter(|device| !replaced(&device.path)).cloned().collect();
    for node in &edits.nodes {
        all.retain(|device| device.path != node.path);
        all.push(device(node, user));
    }
    all
}

/// One without an owner belongs to the process, who else could not use it.
fn device(node: &CdiNode, user: &ResolvedUser) -> Device {
    let CdiNode { path, kind, major, minor, mode, uid, gid, access } = node;
    Device {
        node: DeviceNode {
            path: path.clone(),
            kind: *kind,
            major: *major,
            minor: *minor,
            mode: *mode,
            uid: uid.unwrap_or(user.uid),
            gid: gid.unwrap_or(user.gid),
        },
        path: path.clone(),
        access: access.clone(),
    }
}

/// The mounts, the last of each target.
pub(super) fn mounts(edits: &CdiEdits) -> Vec<Mount> {
    let mut all: Vec<Mount> = Vec::new();
    for mount in &edits.mounts {
        all.retain(|other| other.destination() != Path::new(&mount.target));
        let options: Vec<&str> = mount.options.iter().map(String::as_str).collect();
        all.push(mounts::mount(&mount.source, &mount.target, &mount.kind, &options));
    }
    all
}

/// The hooks as the runtime-spec has them.
pub(super) fn hooks(edits: &CdiEdits) -> Option<Value> {
    let mut points: Map<String, Value> = Map::new();
    for hook in &edits.hooks {
        let mut one = json!({"path": hook.path});
        if let Value::Object(one) = &mut one {
            for (key, list) in [("args", &hook.args), ("env", &hook.env)] {
                if !list.is_empty() {
                    one.insert(key.to_owned(), json!(list));
                }
            }
            if let Some(seconds) = hook.timeout {
                one.insert("timeout".to_owned(), json!(seconds));
            }
        }
        let list = points.entry(hook.point.clone()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(one);
        }
    }
    (!points.is_empty()).then_some(Value::Object(points))
}
