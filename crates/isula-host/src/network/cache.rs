//! What is attached, on disk: one file for each attachment, in libcni's own form, written before the
//! first plugin runs. Whatever a crash cuts short can be undone from it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use isula_core::id::ContainerId;
use isula_sys::files::{write_atomic, write_atomic_unsynced};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::NetworkError;
use crate::records::make_directory;

const KIND: &str = "cniCacheV1";

/// An attachment, or the intent to make it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    kind: String,
    #[serde(rename = "containerId")]
    pub id: String,
    /// The conflist as it was, in base64.
    config: String,
    #[serde(rename = "ifName")]
    pub interface: String,
    #[serde(rename = "networkName")]
    pub network: String,
    #[serde(rename = "netns", default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<PathBuf>,
    #[serde(rename = "cniArgs", default)]
    pub args: Vec<(String, String)>,
    #[serde(rename = "capabilityArgs", default)]
    pub capabilities: Map<String, Value>,
    /// Which of the plugins were built-in ones; libcni passes over it.
    #[serde(rename = "isulaNative", default)]
    pub native: Vec<bool>,
    /// Absent until every plugin is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl Entry {
    pub(super) fn new(
        (network, id, interface): (&str, &ContainerId, &str),
        config: &str,
        namespace: Option<PathBuf>,
    ) -> Self {
        Self {
            kind: KIND.to_owned(),
            id: id.as_str().to_owned(),
            config: BASE64_STANDARD.encode(config),
            interface: interface.to_owned(),
            network: network.to_owned(),
            namespace,
            args: Vec::new(),
            capabilities: Map::new(),
            native: Vec::new(),
            result: None,
        }
    }

    /// The conflist that it was made with.
    pub(super) fn conflist(&self) -> Result<Map<String, Value>, String> {
        let bytes = BASE64_STANDARD.decode(&self.config).map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    fn file_name(&self) -> String {
        format!("{}-{}-{}", self.network, self.id, self.interface)
    }
}

/// The directory of entries.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub(super) fn below(data_root: &Path) -> Self {
        Self { directory: data_root.join("cni/results") }
    }

    /// Keeps an entry. One that must survive a power cut is synced: plugins that are programs may
    /// keep something on disk that only they can free.
    pub(super) fn save(&self, entry: &Entry, durable: bool) -> Result<(), NetworkError> {
        let path = self.directory.join(entry.file_name());
        let cannot = |error| NetworkError::io("cannot write", &path, error);
        let bytes = serde_json::to_vec(entry).map_err(|error| cannot(error.into()))?;
        let write = if durable { write_atomic } else { write_atomic_unsynced };
        match write(&path, &bytes, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(&self.directory, 0o700)
                    .and_then(|()| write(&path, &bytes, 0o600))
                    .map_err(cannot)
            }
            other => other.map_err(cannot),
        }
    }

    /// Forgets an entry; one that is not there is no error.
    pub(super) fn remove(&self, entry: &Entry) -> Result<(), NetworkError> {
        let path = self.directory.join(entry.file_name());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetworkError::io("cannot remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// The entries of an interface of a namespace: of one network, or of all.
    pub(super) fn find(
        &self,
        id: &ContainerId,
        interface: &str,
        network: Option<&str>,
    ) -> Result<Vec<Entry>, NetworkError> {
        let end = format!("-{id}-{interface}");
        if let Some(network) = network {
            let path = self.directory.join(format!("{network}{end}"));
            return Ok(read(&path).into_iter().collect());
        }
        self.entries(|name| name.ends_with(&end))
    }

    /// Removes what a crash left of files that were being written.
    pub(super) fn sweep(&self) -> Result<(), NetworkError> {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") {
                let path = entry.path();
                fs::remove_file(&path)
                    .map_err(|error| NetworkError::io("cannot remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// Every entry.
    pub(super) fn all(&self) -> Result<Vec<Entry>, NetworkError> {
        self.entries(|name| !name.starts_with('.'))
    }

    fn entries(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<Entry>, NetworkError> {
        let listed = match fs::read_dir(&self.directory) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(NetworkError::io("cannot list", &self.directory, error));
            }
        };
        let names = listed.flatten().filter(|e| e.file_name().to_str().is_some_and(&wanted));
        Ok(names.filter_map(|entry| read(&entry.path())).collect())
    }
}

/// Reads an entry; a broken one is put aside and named: what it stood for is found by the clean-up
/// of each plugin.
fn read(path: &Path) -> Option<Entry> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read {}: {error}", path.display());
            return None;
        }
    };
    let entry: Result<Entry, _> = serde_json::from_slice(&bytes);
    match entry {
        Ok(entry) if entry.kind == KIND && path.ends_with(entry.file_name()) => Some(entry),
        _ => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let aside = path.with_file_name(format!(".broken-{name}"));
            tracing::warn!("{} is damaged: moved to {}", path.display(), aside.display());
            if let Err(error) = fs::rename(path, aside) {
                tracing::warn!("cannot move {}: {error}", path.display());
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ContainerId {
        ContainerId::try_from(digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn an_entry_is_found_by_network_or_without_it() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::below(root.path());
        let mut entry = Entry::new(("a-b", &id('1'), "eth0"), r#"{"x": 1}"#, None);
        entry.args = vec![("K".to_owned(), "v".to_owned())];
        cache.save(&entry, true).unwrap();
        entry.result = Some(serde_json::json!({"cniVersion": "1.0.0"}));
        cache.save(&entry, false).unwrap();
        let found = cache.find(&id('1'), "eth0", None).unwrap();
        assert_eq!(found, [entry.clone()]);
        assert_eq!(found[0].conflist().unwrap()["x"], 1);
        assert_eq!(cache.find(&id('1'), "eth0", Some("a-b")).unwrap(), found);
        assert_eq!(cache.find(&id('1'), "eth0", Some("b")).unwrap(), []);
        assert_eq!(cache.find(&id('2'), "eth0", None).unwrap(), []);
        cache.remove(&entry).unwrap();
        cache.remove(&entry).unwrap();
        assert_eq!(cache.all().unwrap(), []);
    }

    #[test]
    fn a_damaged_entry_is_put_aside_and_the_rest_is_served() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::below(root.path());
        let entry = Entry::new(("a", &id('1'), "eth0"), "{}", None);
        cache.save(&entry, false).unwrap();
        fs::write(root.path().join("cni/results/a-x-eth0"), "{").unwrap();
        assert_eq!(cache.all().unwrap(), [entry]);
        assert!(root.path().join("cni/results/.broken-a-x-eth0").exists());
    }

    #[test]
    fn libcnis_own_entries_are_read() {
        let text = r#"{"kind":"cniCacheV1","containerId":"1","config":"e30=","ifName":"eth0",
            "networkName":"n","netns":"/n","cniArgs":[["a","b"]],"capabilityArgs":{"mac":"x"},
            "result":{"cniVersion":"1.0.0","dns":{}}}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!(entry.args, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(entry.capabilities["mac"], "x");
    }
}
