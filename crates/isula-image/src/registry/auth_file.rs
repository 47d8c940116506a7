//! Credentials from a `config.json` as `docker login` and `podman login` write it.

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use isula_core::ports::Credentials;
use serde::Deserialize;

/// Largest file that is read.
const FILE_LIMIT: u64 = 1024 * 1024;

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFileError {
    /// Opening or reading failed.
    #[error("cannot read {0}")]
    Read(String, #[source] std::io::Error),
    /// Not the right JSON.
    #[error("{0} is malformed")]
    Malformed(String, #[source] serde_json::Error),
    /// The `auth` of a registry is not base64 of `user:password`.
    #[error("{path}: the entry of {registry} is not base64 of user:password")]
    Entry {
        /// The file.
        path: String,
        /// The key.
        registry: String,
    },
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    auths: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// The credentials of `registry` (`host[:port]`) in the file at `path`; none if the file or the
/// entry does not exist.
///
/// # Errors
/// The file exists and can't be read, or the entry of this registry is malformed.
pub fn credentials(path: &Path, registry: &str) -> Result<Option<Credentials>, AuthFileError> {
    let shown = path.display().to_string();
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut text));
    match read {
        Ok(_) => find(&text, registry, &shown),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuthFileError::Read(shown, error)),
    }
}

fn find(text: &[u8], registry: &str, path: &str) -> Result<Option<Credentials>, AuthFileError> {
    let written: Written = serde_json::from_slice(text)
        .map_err(|error| AuthFileError::Malformed(path.to_owned(), error))?;
    let mut keys = vec![registry];
    if registry == "docker.io" {
        keys.extend(["index.docker.io", "registry-1.docker.io"]);
    }
    // A key is a host, or a URL of which only the host counts.
    let host = |key: &str| {
        let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let entry = keys.iter().find_map(|key| {
        let exact = written.auths.get_key_value(*key);
        exact.or_else(|| written.auths.iter().find(|(name, _)| host(name) == *key))
    });
    let Some((name, entry)) = entry else { return Ok(None) };
    entry
        .credentials()
        .map_err(|()| AuthFileError::Entry { path: path.to_owned(), registry: name.clone() })
}

impl Entry {
    /// None for an entry that only says that a credential helper knows it.
    fn credentials(&self) -> Result<Option<Credentials>, ()> {
        if let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            let bytes = BASE64_STANDARD.decode(auth.trim()).map_err(drop)?;
            let text = String::from_utf8(bytes).map_err(drop)?;
            let (username, password) = text.split_once(':').ok_or(())?;
            // Docker pads the password with zero bytes.
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(Credentials { username: username.to_owned(), password }));
        }
        let both = self.username.clone().zip(self.password.clone());
        Ok(both.map(|(username, password)| Credentials { username, password }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{credentials, find};

    const FILE: &str = r#"{"auths":{
        "127.0.0.1:5000":{"auth":"bWU6c2VjOnJldA=="},
        "https://index.docker.io/v1/":{"auth":"aHViOnB3"},
        "plain.lan":{"username":"u","password":"p"},
        "helper.lan":{},
        "bad.lan":{"auth":"%%%"}
    },"credsStore":"x"}"#;

    #[test]
    fn the_entry_of_a_registry_is_found_by_host() {
        let found = |registry: &str| {
            let credentials = find(FILE.as_bytes(), registry, "f").unwrap();
            credentials.map(|found| format!("{}:{}", found.username, found.password))
        };
        assert_eq!(found("127.0.0.1:5000").as_deref(), Some("me:sec:ret"));
        assert_eq!(found("docker.io").as_deref(), Some("hub:pw"));
        assert_eq!(found("plain.lan").as_deref(), Some("u:p"));
        assert_eq!(found("helper.lan"), None);
        assert_eq!(found("127.0.0.1"), None);
        let error = find(FILE.as_bytes(), "bad.lan", "f").unwrap_err();
        assert_eq!(error.to_string(), "f: the entry of bad.lan is not base64 of user:password");
    }

    #[test]
    fn a_missing_file_has_no_credentials_and_a_malformed_one_is_named() {
        assert_eq!(credentials(Path::new("/nonexistent/config.json"), "x").unwrap(), None);
        assert_eq!(find(b"{", "x", "f").unwrap_err().to_string(), "f is malformed");
    }
}
