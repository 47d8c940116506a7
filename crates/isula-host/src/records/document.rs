//! The two documents of a container, `config.v2.json` and `hostconfig.json`: iSulad's and Docker's
//! names, read by people and by the next daemon. What those names can't express has keys of our
//! own, marked where they are defined. Unknown keys are passed over, so that an older
//! daemon reads what a newer one wrote.

mod container;
mod host;
mod network;
mod text;

use isula_core::{container::Container, sandbox::Sandbox};
use serde::{Deserialize, Serialize};

use container::Main;
use host::HostFile;

/// The bytes of both documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Documents {
    /// `config.v2.json`.
    pub(super) config: String,
    /// `hostconfig.json`.
    pub(super) host: String,
}

/// A document that is no container's.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    /// Not JSON, or not with the types the keys have.
    #[error("{file}: {source}")]
    Json {
        /// Which of the two.
        file: &'static str,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A value that means nothing.
    #[error("{0}")]
    Meaning(String),
}

/// The file of [`Documents::config`].
pub(super) const CONFIG: &str = "config.v2.json";
/// The file of [`Documents::host`].
pub(super) const HOST: &str = "hostconfig.json";
/// The one document of a sandbox.
pub(super) const SANDBOX: &str = "sandbox.json";

impl Documents {
    /// Whether they are those of a sandbox, which has one.
    pub(super) fn is_sandbox(&self) -> bool {
        self.host.is_empty()
    }

    /// Their names and what is in them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let first = if self.is_sandbox() { SANDBOX } else { CONFIG };
        let second = (!self.is_sandbox()).then_some((HOST, self.host.as_str()));
        [(first, self.config.as_str())].into_iter().chain(second)
    }
}

/// The document of a sandbox.
pub(super) fn encode_sandbox(sandbox: &Sandbox) -> Result<Documents, DocumentError> {
    Ok(Documents { config: pretty(sandbox, SANDBOX)?, host: String::new() })
}

/// Reads it back.
pub(super) fn decode_sandbox(bytes: &[u8]) -> Result<Sandbox, DocumentError> {
    read(bytes, SANDBOX)
}

#[derive(Serialize)]
#[serde(transparent)]
struct HostOut<'a>(#[serde(with = "HostFile")] &'a isula_core::container::HostConfig);

#[derive(Deserialize)]
#[serde(transparent)]
struct HostIn(#[serde(with = "HostFile")] isula_core::container::HostConfig);

/// Both documents of a container.
///
/// # Errors
/// None that a container of the engine can cause; serialisation as such can fail.
pub(super) fn encode(container: &Container) -> Result<Documents, DocumentError> {
    Ok(Documents {
        config: pretty(&Main::from(container), CONFIG)?,
        host: pretty(&HostOut(&container.host), HOST)?,
    })
}

/// The container that both documents describe.
///
/// # Errors
/// Names the file and what is wrong in it.
pub(super) fn decode(config: &[u8], host: &[u8]) -> Result<Container, DocumentError> {
    let main: Main = read(config, CONFIG)?;
    let host: HostIn = read(host, HOST)?;
    main.into_container(host.0)
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], file: &'static str) -> Result<T, DocumentError> {
    serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { file, source })
}

fn pretty<T: Serialize>(value: &T, file: &'static str) -> Result<String, DocumentError> {
    let mut bytes = Vec::with_capacity(2048);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).map_err(|source| DocumentError::Json { file, source })?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(|error| DocumentError::Meaning(error.to_string()))
}

#[cfg(test)]
pub(super) mod tests;
