//! Importing a root file system: a tar becomes an image of one layer.

mod changes;
mod words;

use std::{collections::BTreeMap, sync::Arc};

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Image, Reference},
    ports::{ByteStream, ImportOptions, Result},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    layer::Origin,
    platform::Platform,
    store::{NewImage, Store},
    stream,
};

/// See [`isula_core::ports::Images::import`].
pub(crate) async fn import(
    store: &Store,
    archive: ByteStream,
    options: ImportOptions,
) -> Result<Arc<Image>> {
    let section = changes::apply(&options.changes)?;
    let names = options.reference.as_ref().map(name).transpose()?.into_iter().collect();
    let target = store.clone();
    let layer =
        stream::read_blocking(archive, move |bytes| target.unpack_unknown(bytes, Origin::Import));
    let layer = layer.await?;
    let config = configuration(layer.diff_id(), section, options.message, Timestamp::now())?;
    let (manifests, layers) = (Vec::new(), vec![layer]);
    let new = NewImage { config, manifests, layers, names, origin: Origin::Import };
    store.commit_image(new).await
}

fn name(reference: &Reference) -> Result<Reference> {
    reference.without_digest().ok_or_else(|| {
        let text = format!("cannot name an image {}: it has a digest", reference.familiar());
        PortError::new(ErrorKind::InvalidInput, text)
    })
}

/// The section `config` of an image configuration, as it is written: what is not set is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Section {
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "String::is_empty")]
    working_dir: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Check>,
}

/// Go's `struct{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
struct Empty {}

/// Docker's health check; durations are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    interval: u64,
    #[serde(skip_serializing_if = "is_zero")]
    timeout: u64,
    #[serde(skip_serializing_if = "is_zero")]
    start_period: u64,
    #[serde(skip_serializing_if = "is_zero")]
    retries: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Configuration {
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    config: Section,
    created: Timestamp,
    history: [History; 1],
    os: String,
    rootfs: RootFs,
}

#[derive(Serialize)]
struct History {
    created: Timestamp,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [Digest; 1],
}

/// The same input at the same time gives the same bytes, and so the same image id.
fn configuration(
    diff_id: &Digest,
    config: Section,
    comment: String,
    created: Timestamp,
) -> Result<Vec<u8>> {
    let Platform { os, architecture, variant } = Platform::host();
    let rootfs = RootFs { kind: "layers", diff_ids: [diff_id.clone()] };
    let history = [History { created, comment }];
    let all = Configuration { architecture, variant, config, created, history, os, rootfs };
    serde_json::to_vec(&all).map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot write a configuration", error)
    })
}

#[cfg(test)]
mod tests {
    use super::{changes, configuration};

    #[test]
    fn the_configuration_is_the_same_for_the_same_input_and_readable() {
        let digest = format!("sha256:{}", "c".repeat(64)).parse().unwrap();
        let write = || {
            let changes =
                ["CMD [\"sh\"]", "ENV A=b", "EXPOSE 80", "HEALTHCHECK --interval=5s CMD x"];
            let section = changes::apply(&changes.map(str::to_owned)).unwrap();
            configuration(&digest, section, "hello".into(), "2024-01-02T03:04:05Z".parse().unwrap())
        };
        let bytes = write().unwrap();
        assert_eq!(bytes, write().unwrap());
        let parsed = crate::config::parse(&bytes).unwrap();
        assert_eq!(parsed.config.cmd, ["sh"]);
        assert_eq!(parsed.config.env, ["A=b"]);
        assert_eq!(parsed.config.exposed_ports, ["80/tcp"]);
        assert_eq!(parsed.config.healthcheck.unwrap().interval.as_secs(), 5);
        assert_eq!(parsed.diff_ids, [digest]);
        assert_eq!(parsed.created.unwrap().to_string(), "2024-01-02T03:04:05Z");
    }
}
