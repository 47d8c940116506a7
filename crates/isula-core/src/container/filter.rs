//! Which containers a list shows: the filters of `ps`.

use std::collections::BTreeMap;

use super::{Container, MountKind, NetworkMode, Source};
use crate::image::ImageId;

/// A filter that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not `KEY=VALUE`.
    #[error("invalid filter {0:?}: it must be KEY=VALUE")]
    Malformed(String),
    /// There is no such key.
    #[error("invalid filter {0:?}: there is no such key")]
    Unknown(String),
    /// The value can't be one of this key.
    #[error("invalid filter {key}={value}: {why}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Filters by key; values of one key are alternatives, keys are all demanded, and so is every label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

const KEYS: [&str; 10] =
    ["id", "name", "label", "status", "ancestor", "before", "since", "exited", "volume", "network"];
const STATES: [&str; 7] =
    ["created", "starting", "running", "paused", "restarting", "exited", "removing"];

impl Filters {
    /// Reads filters of the form `KEY=VALUE`.
    ///
    /// # Errors
    /// An unknown key, or a value that no container can have.
    pub fn parse(texts: &[String]) -> Result<Self, FilterError> {
        let mut filters = BTreeMap::<String, Vec<String>>::new();
        for text in texts {
            let malformed = || FilterError::Malformed(text.clone());
            let (key, value) = text.split_once('=').ok_or_else(malformed)?;
            let key = key.trim().to_ascii_lowercase();
            let error = |why| FilterError::Value { key: key.clone(), value: value.to_owned(), why };
            match key.as_str() {
                "status" if value == "dead" => {}
                "status" if !STATES.contains(&value) => {
                    return Err(error("there is no such state"));
                }
                "exited" if value.parse::<i32>().is_err() => {
                    return Err(error("it must be a number"));
                }
                _ if !KEYS.contains(&key.as_str()) => return Err(FilterError::Unknown(key)),
                _ => {}
            }
            filters.entry(key).or_default().push(value.to_owned());
        }
        Ok(Self(filters))
    }

    /// The values of a key.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// They ask for containers that may not run.
    #[must_use]
    pub fn want_all(&self) -> bool {
        ["status", "exited"].iter().any(|key| self.0.contains_key(*key))
    }

    /// Whether the container passes everything but `before`, `since` and `ancestor`, which need
    /// others than itself. `state` is its shown state.
    #[must_use]
    pub fn match_alone(&self, container: &Container, state: &str) -> bool {
        let any = |key: &str, fits: &dyn Fn(&str) -> bool| {
            let values = self.values(key);
            values.is_empty() || values.iter().any(|value| fits(value))
        };
        let exited = container.state.exit().map(|exit| exit.code);
        any("id", &|value| container.id.as_str().starts_with(value))
            && any("name", &|value| name_fits(container.name.as_str(), value))
            && self.values("label").iter().all(|value| label_fits(&container.config.labels, value))
            && any("status", &|value| state == value)
            && any("exited", &|value| value.parse::<i32>().ok() == exited && exited.is_some())
            && any("volume", &|value| uses(container, value))
            && any("network", &|value| is_network(&container.host.network, value))
    }

    /// Whether one of the `ancestor` values is the container's image, as it was written or by the
    /// ids that `find` gives for the values.
    #[must_use]
    pub fn match_ancestor(&self, container: &Container, ids: &[ImageId]) -> bool {
        let values = self.values("ancestor");
        let Source::Image { reference, id } = &container.source else { return values.is_empty() };
        values.is_empty() || ids.contains(id) || values.contains(reference)
    }
}

/// Docker takes the value for an unanchored pattern; a leading `/` and the anchors are understood.
fn name_fits(name: &str, value: &str) -> bool {
    let value = value.strip_prefix('/').unwrap_or(value);
    let (start, value) = match value.strip_prefix('^') {
        Some(rest) => (true, rest.strip_prefix('/').unwrap_or(rest)),
        None => (false, value),
    };
    let (end, value) = match value.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    match (start, end) {
        (true, true) => name == value,
        (true, false) => name.starts_with(value),
        (false, true) => name.ends_with(value),
        (false, false) => name.contains(value),
    }
}

fn label_fits(labels: &BTreeMap<String, String>, value: &str) -> bool {
    match value.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
        None => labels.contains_key(value),
    }
}

/// A volume's name or a path in the container.
fn uses(container: &Container, value: &str) -> bool {
    container.host.mounts.iter().any(|mount| {
        let source = match &mount.kind {
            MountKind::Bind { source, .. } => source,
            MountKind::Volume { name, .. } => name,
        };
        mount.target == value || source == value
    })
}

fn is_network(network: &NetworkMode, value: &str) -> bool {
    match network {
        NetworkMode::Container(id) => id.as_str() == value,
        other => other.to_string() == value,
    }
}

#[cfg(test)]
mod tests {
    use super::{FilterError, Filters, label_fits, name_fits};

    fn parse(texts: &[&str]) -> Result<Filters, FilterError> {
        Filters::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn filters_are_read_and_nonsense_is_refused() {
        let filters = parse(&["name=a", "name=b", "label=x=1", "status=exited"]).unwrap();
        assert_eq!(filters.values("name"), ["a", "b"]);
        assert_eq!(filters.values("label"), ["x=1"]);
        assert!(filters.want_all());
        for text in ["", "name", "colour=red", "status=asleep", "exited=x", "exited="] {
            assert!(parse(&[text]).is_err(), "{text}");
        }
    }

    #[test]
    fn names_fit_as_patterns_with_anchors() {
        for (name, value, wanted) in [
            ("web-1", "web", true),
            ("web-1", "eb-", true),
            ("web-1", "^web$", false),
            ("web", "^/web$", true),
            ("web", "/web", true),
            ("web-1", "1$", true),
            ("web-1", "^1", false),
        ] {
            assert_eq!(name_fits(name, value), wanted, "{name} {value}");
        }
        let labels = [("a".to_owned(), "1".to_owned())].into();
        assert!(label_fits(&labels, "a") && label_fits(&labels, "a=1"));
        assert!(!label_fits(&labels, "a=2") && !label_fits(&labels, "b"));
    }
}
