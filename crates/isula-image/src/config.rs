//! Image configurations (image-spec config.md, and Docker's additions to it).

use std::{collections::BTreeMap, time::Duration};

use isula_core::{
    container::Healthcheck,
    error::{ErrorKind, PortError},
    image::{Digest, ImageConfig},
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::{
    error::corrupt,
    json,
    manifest::{DOCUMENT_LIMIT, check_layer_count},
};

/// What the engine takes from a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) created: Option<Timestamp>,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) config: ImageConfig,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<Section>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Go writes an empty list or map as `null`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Section {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    env: Option<Vec<String>>,
    #[serde(deserialize_with = "words")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "words")]
    cmd: Vec<String>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
    healthcheck: Option<Check>,
}

/// Durations are nanoseconds; 0 means Docker's default.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Check {
    test: Option<Vec<String>>,
    interval: i64,
    timeout: i64,
    start_period: i64,
    retries: i64,
}

/// A list of words, or (in images of 2014) one word.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        List(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(deserializer)? {
        Some(Words::List(list)) => list,
        Some(Words::One(word)) => vec![word],
        None => Vec::new(),
    })
}

/// Reads a configuration.
///
/// # Errors
/// `Corrupt`: malformed or too many layers. `Unsupported`: for another operating system.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, PortError> {
    let document: Document = json::parse("the image's configuration", bytes, DOCUMENT_LIMIT)?;
    let RootFs { kind, diff_ids } = document.rootfs;
    if kind != "layers" {
        return Err(corrupt(format!(
            "the image's root file system is of the unknown type {kind:?}"
        )));
    }
    let diff_ids = diff_ids.unwrap_or_default();
    check_layer_count(diff_ids.len())?;
    let os = document.os.filter(|os| !os.is_empty()).unwrap_or_else(|| "linux".to_owned());
    if os != "linux" {
        return Err(PortError::new(ErrorKind::Unsupported, format!("the image is for {os}")));
    }
    let section = document.config.unwrap_or_default();
    let keys = |map: Option<BTreeMap<String, _>>| map.unwrap_or_default().into_keys().collect();
    let config = ImageConfig {
        os,
        architecture: document.architecture.unwrap_or_default(),
        variant: document.variant.filter(|variant| !variant.is_empty()),
        user: section.user.unwrap_or_default(),
        env: section
            .env
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| is_variable(entry))
            .collect(),
        entrypoint: section.entrypoint,
        cmd: section.cmd,
        working_dir: section.working_dir.unwrap_or_default(),
        labels: section.labels.unwrap_or_default(),
        exposed_ports: keys(section.exposed_ports),
        volumes: keys(section.volumes),
        stop_signal: section.stop_signal.filter(|signal| !signal.is_empty()),
        healthcheck: section.healthcheck.and_then(Check::into_core),
    };
    // An image without a valid date is as good as one without any.
    let created = document.created.and_then(|created| created.parse().ok());
    Ok(Parsed { created, diff_ids, config })
}

/// What has no name or no value is no variable, and must not become one by some later parser.
fn is_variable(entry: &str) -> bool {
    entry.find('=').is_some_and(|at| at > 0) && !entry.contains('\0')
}

impl Check {
    fn into_core(self) -> Option<Healthcheck> {
        let test = self.test.filter(|test| !test.is_empty())?;
        let duration = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => default,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Some(Healthcheck {
            test,
            // Docker's defaults (Dockerfile reference, HEALTHCHECK).
            interval: duration(self.interval, Duration::from_secs(30)),
            timeout: duration(self.timeout, Duration::from_secs(30)),
            start_period: duration(self.start_period, Duration::ZERO),
            retries: u32::try_from(self.retries).ok().filter(|n| *n > 0).unwrap_or(3),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn everything_a_container_takes_over_is_read() {
        let diff = format!("sha256:{}", "a".repeat(64));
        let text = format!(
            r#"{{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-05-06T07:08:09.123456789+02:00",
            "config":{{"User":"u:g","ExposedPorts":{{"80/tcp":{{}}}},"Env":["A=b","=x","BAD","C="],"Entrypoint":["/e"],
            "Cmd":"one","Volumes":{{"/v":{{}}}},"WorkingDir":"/w","Labels":{{"l":"1"}},"StopSignal":"SIGQUIT","ArgsEscaped":true,
            "Healthcheck":{{"Test":["CMD","x"],"Interval":5000000000,"Retries":2}},"OnBuild":null}},
            "rootfs":{{"type":"layers","diff_ids":["{diff}"]}},"history":[{{"created_by":"x"}}]}}"#
        );
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.created.unwrap().to_string(), "2024-05-06T05:08:09.123456789Z");
        assert_eq!(parsed.diff_ids, [diff.parse().unwrap()]);
        let config = parsed.config;
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("u:g", "/w"));
        assert_eq!(config.env, ["A=b", "C="]);
        assert_eq!(
            (config.entrypoint, config.cmd),
            (vec!["/e".to_owned()], vec!["one".to_owned()])
        );
        assert_eq!(
            (config.exposed_ports, config.volumes),
            (vec!["80/tcp".to_owned()], vec!["/v".to_owned()])
        );
        assert_eq!(config.stop_signal.unwrap(), "SIGQUIT");
        let check = config.healthcheck.unwrap();
        assert_eq!(
            (check.interval, check.timeout, check.retries),
            (Duration::from_secs(5), Duration::from_secs(30), 2)
        );
    }

    #[test]
    fn sparse_and_null_sections_are_empty_and_nonsense_is_refused() {
        for (text, outcome) in [
            (r#"{"rootfs":{"type":"layers","diff_ids":null},"config":null}"#, ""),
            (
                r#"{"rootfs":{"type":"layers"},"config":{"Cmd":null,"Env":null,"Labels":null},"created":"garbage"}"#,
                "",
            ),
            (r#"{"rootfs":{"type":"snapshots"}}"#, "unknown type"),
            (r#"{"os":"windows","rootfs":{"type":"layers"}}"#, "is for windows"),
            (r#"{"config":{}}"#, "missing field"),
            (r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}"#, "invalid digest"),
            (r#"{"rootfs":{"type":"layers"},"rootfs":{"type":"layers"}}"#, "twice"),
            ("", "malformed"),
        ] {
            let got =
                parse(text.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(got.contains(outcome) && got.is_empty() == outcome.is_empty(), "{text}: {got}");
        }
    }
}
