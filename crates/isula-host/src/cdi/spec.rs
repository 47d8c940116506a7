//! A specification of devices, and what a container gets of it.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
};

use isula_core::{
    cdi,
    container::path,
    error::ErrorKind,
    ports::{CdiEdits, CdiHook, CdiMount, CdiNode},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The versions that are understood.
const VERSIONS: [&str; 8] =
    ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];
/// The points of the runtime-spec at which hooks run.
const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
/// Permission bits where neither the specification nor the host has any (runc's).
const MODE: u32 = 0o666;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(deserialize_with = "text")]
    cdi_version: String,
    /// `vendor.com/class`.
    pub kind: String,
    /// For people.
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, Value>,
    /// The devices.
    pub devices: Vec<Device>,
    /// What each of them needs.
    #[serde(default)]
    pub container_edits: Edits,
}

/// A device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Device {
    /// Its name within the kind.
    #[serde(deserialize_with = "text")]
    pub name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, Value>,
    /// What it needs.
    #[serde(default)]
    pub container_edits: Edits,
}

/// What is changed in a container.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    net_devices: Vec<Value>,
    hooks: Vec<Hook>,
    mounts: Vec<Mount>,
    intel_rdt: Option<Value>,
    additional_gids: Vec<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Node {
    path: String,
    #[serde(default)]
    host_path: String,
    #[serde(default, rename = "type")]
    kind: String,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    #[serde(default)]
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Mount {
    host_path: String,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Hook {
    hook_name: String,
    path: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<i64>,
}

/// Why something can't be had.
#[derive(Debug)]
pub(super) struct Fault {
    pub kind: ErrorKind,
    pub message: String,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { kind: ErrorKind::InvalidInput, message }
    }
}

impl Spec {
    /// Checks what every device depends on.
    pub(super) fn verify(&self) -> Result<(), String> {
        let Self { cdi_version, kind, devices, .. } = self;
        if !VERSIONS.contains(&cdi_version.as_str()) {
            let known = VERSIONS.join(", ");
            return Err(format!("cdiVersion {cdi_version:?} is not one of {known}"));
        }
        if !cdi::is_kind(kind) {
            return Err(format!("kind {kind:?} is no vendor.com/class"));
        }
        if devices.is_empty() {
            return Err("it has no devices".to_owned());
        }
        let mut names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
        if let Some(name) = names.iter().find(|name| !cdi::is_device(name)) {
            return Err(format!("{name:?} is no name of a device"));
        }
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(one),
            _ => None,
        });
        match twice {
            Some(name) => Err(format!("it has two devices {name:?}")),
            None => Ok(()),
        }
    }
}

impl Edits {
    /// Adds what is asked for here, completed by what the host has.
    pub(super) fn add_to(&self, edits: &mut CdiEdits) -> Result<(), Fault> {
        let unsupported = |what: &str| Fault {
            kind: ErrorKind::Unsupported,
            message: format!("{what} is not supported"),
        };
        if self.intel_rdt.is_some() {
            return Err(unsupported("intelRdt"));
        }
        if !self.net_devices.is_empty() {
            return Err(unsupported("netDevices"));
        }
        for entry in &self.env {
            let named = entry.split_once('=').is_some_and(|(name, _)| !name.is_empty());
            if !named || entry.contains('\0') {
                return Err(format!("the variable {entry:?} is not NAME=value").into());
            }
            edits.env.push(entry.clone());
        }
        for node in &self.device_nodes {
            edits.nodes.push(node.complete()?);
        }
        for mount in &self.mounts {
            edits.mounts.push(mount.resolve()?);
        }
        for hook in &self.hooks {
            edits.hooks.push(hook.checked()?);
        }
        edits.additional_gids.extend(&self.additional_gids);
        Ok(())
    }
}

impl Node {
    /// What is not said is what the host's node is.
    fn complete(&self) -> Result<CdiNode, String> {
        let path = path::mount_target("path", &self.path).map_err(|error| error.to_string())?;
        let mut kind = match self.kind.as_str() {
            "" => None,
            "b" => Some('b'),
            "c" | "u" => Some('c'),
            "p" => Some('p'),
            other => return Err(format!("device node {path}: there is no type {other:?}")),
        };
        let (mut major, mut minor, mut mode) = (self.major, self.minor, self.file_mode);
        let numbered = kind == Some('p') || (major.is_some() && minor.is_some());
        if kind.is_none() || !numbered {
            let source = if self.host_path.is_empty() { &path } else { &self.host_path };
            let found = fs::metadata(source)
                .map_err(|error| format!("cannot use the device node {source}: {error}"))?;
            let file_type = found.file_type();
            let its = if file_type.is_char_device() {
                'c'
            } else if file_type.is_block_device() {
                'b'
            } else if file_type.is_fifo() {
                'p'
            } else {
                return Err(format!("{source} is no device node"));
            };
            if kind.is_some_and(|kind| kind != its) {
                return Err(format!("{source} is a device node of type {its}"));
            }
            kind = Some(its);
            major = major.or(Some(rustix::fs::major(found.rdev())));
            minor = minor.or(Some(rustix::fs::minor(found.rdev())));
            mode = mode.or(Some(found.mode()));
        }
        let access = match self.permissions.as_str() {
            "" => "rwm",
            given if given.bytes().all(|byte| b"rwm".contains(&byte)) && given.len() <= 3 => given,
            given => return Err(format!("device node {path}: permissions {given:?} are none")),
        };
        Ok(CdiNode {
            path,
            kind: kind.unwrap_or('c'),
            major: major.unwrap_or(0),
            minor: minor.unwrap_or(0),
            mode: mode.unwrap_or(MODE) & 0o777,
            uid: self.uid,
            gid: self.gid,
            access: access.to_owned(),
        })
    }
}

impl Mount {
    fn resolve(&self) -> Result<CdiMount, String> {
        let target = path::mount_target("containerPath", &self.container_path);
        let target = target.map_err(|error| error.to_string())?;
        let mut options = self.options.clone();
        if let Some(odd) = options.iter().find(|text| text.chars().any(char::is_control)) {
            return Err(format!("mount at {target}: {odd:?} is no option"));
        }
        let kind = match self.kind.as_str() {
            "" | "bind" | "none" => "bind",
            "tmpfs" => "tmpfs",
            other => return Err(format!("mount at {target}: type {other:?} is not supported")),
        };
        if kind == "tmpfs" {
            return Ok(CdiMount {
                source: kind.to_owned(),
                target,
                kind: kind.to_owned(),
                options,
            });
        }
        if !options.iter().any(|option| option == "bind" || option == "rbind") {
            options.push("rbind".to_owned());
        }
        let source = &self.host_path;
        let failed = |error: io::Error| format!("cannot use the mount source {source}: {error}");
        if !source.starts_with('/') {
            return Err(format!("the mount source {source:?} is no absolute path"));
        }
        let real = fs::canonicalize(source).map_err(failed)?;
        let source = real.into_os_string().into_string();
        let source = source.map_err(|path| format!("{} is not UTF-8", path.display()))?;
        Ok(CdiMount { source, target, kind: kind.to_owned(), options })
    }
}

impl Hook {
    fn checked(&self) -> Result<CdiHook, String> {
        let Self { hook_name, path, args, env, timeout } = self;
        if !POINTS.contains(&hook_name.as_str()) {
            return Err(format!("there is no hook {hook_name:?}"));
        }
        if !path.starts_with('/') {
            return Err(format!("hook {hook_name}: {path:?} is no absolute path"));
        }
        if timeout.is_some_and(|seconds| seconds < 0) {
            return Err(format!("hook {hook_name}: its timeout is below 0"));
        }
        Ok(CdiHook {
            point: hook_name.clone(),
            path: path.clone(),
            args: args.clone(),
            env: env.clone(),
            // 0 is as none.
            timeout: timeout.filter(|seconds| *seconds > 0),
        })
    }
}

/// A text; what YAML takes for a number is one, too (`name: 0`).
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("expected a text, found {other}"))),
    }
}
