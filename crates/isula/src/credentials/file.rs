//! The file of credentials. What it says beside them is Docker's, and stays as it is.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_STANDARD};
use isula_api::v1::RegistryCredentials;

use super::{Helper, key, normal};
use crate::error::Failure;
use crate::json::Value;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;
/// The user name that stands for an identity token in the place of the password.
const TOKEN: &str = "<token>";

/// A file of credentials, as it was read.
pub struct AuthFile {
    path: PathBuf,
    auths: Vec<(String, Value)>,
    /// Everything else.
    fields: Vec<(String, Value)>,
}

impl AuthFile {
    /// Reads it; one that is not there is empty.
    ///
    /// # Errors
    /// It can't be read, or is malformed.
    pub fn read(path: PathBuf) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let failed =
            |why: &dyn std::fmt::Display| Failure::local(format!("cannot read {shown}: {why}"));
        let mut text = Vec::new();
        match fs::File::open(&path).and_then(|f| f.take(LARGEST).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Self { path, auths: Vec::new(), fields: Vec::new() });
            }
            Err(error) => return Err(failed(&error)),
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { path, auths: Vec::new(), fields: Vec::new() });
        }
        match Value::parse(&text).map_err(|error| failed(&error))? {
            Value::Map(mut fields) => {
                let at = fields.iter().position(|(name, _)| name == "auths");
                let auths = match at.map(|at| fields.remove(at)) {
                    Some((_, Value::Map(auths))) => auths,
                    _ => Vec::new(),
                };
                Ok(Self { path, auths, fields })
            }
            _ => Err(failed(&"it is no JSON object")),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn section(&self, name: &str) -> &[(String, Value)] {
        match self.fields.iter().find(|(key, _)| key == name) {
            Some((_, Value::Map(entries))) => entries,
            _ => &[],
        }
    }

    /// The helper that keeps the credentials of a registry.
    ///
    /// # Errors
    /// Its name is none.
    pub fn helper(&self, registry: &str) -> Result<Option<Helper>, Failure> {
        let of_registry = self.section("credHelpers").iter();
        let of_registry = of_registry.filter(|(name, _)| normal(name) == registry);
        let of_all = self.fields.iter().filter(|(name, _)| name == "credsStore");
        for (_, value) in of_registry.chain(of_all) {
            if let Value::String(name) = value
                && !name.is_empty()
            {
                return Helper::new(name).map(Some);
            }
        }
        Ok(None)
    }

    /// The credentials of a registry that are in the file itself.
    ///
    /// # Errors
    /// The entry is malformed.
    pub fn credentials(&self, registry: &str) -> Result<Option<RegistryCredentials>, Failure> {
        let entries = &self.auths;
        let exact = entries.iter().find(|(name, _)| name == key(registry));
        let entry = exact.or_else(|| entries.iter().find(|(name, _)| normal(name) == registry));
        let Some((_, entry)) = entry else { return Ok(None) };
        let text = |key: &str| match entry.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        };
        if let Some(token) = text("identitytoken") {
            let (username, password) = (TOKEN.to_owned(), token.to_owned());
            return Ok(Some(RegistryCredentials { username, password }));
        }
        if let Some(auth) = text("auth") {
            let malformed = || {
                Failure::local(format!(
                    "{}: the entry of {registry} is not base64 of user:password",
                    self.shown()
                ))
            };
            let bytes = BASE64_STANDARD.decode(auth.trim()).map_err(|_| malformed())?;
            let pair = String::from_utf8(bytes).map_err(|_| malformed())?;
            let (username, password) = pair.split_once(':').ok_or_else(malformed)?;
            // Docker pads the password with zero bytes.
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(RegistryCredentials { username: username.to_owned(), password }));
        }
        let both = text("username").zip(text("password"));
        Ok(both.map(|(username, password)| RegistryCredentials {
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }

    /// Puts in the credentials of a registry; an identity token is kept in the place of the
    /// password.
    pub fn put(&mut self, registry: &str, credentials: &RegistryCredentials, token: &str) {
        self.take(registry);
        let RegistryCredentials { username, password } = credentials;
        let password = if token.is_empty() { password } else { "" };
        let auth = BASE64_STANDARD.encode(format!("{username}:{password}"));
        let mut entry = vec![("auth".to_owned(), Value::from(auth))];
        if !token.is_empty() {
            entry.push(("identitytoken".to_owned(), token.into()));
        }
        self.auths.push((key(registry).to_owned(), Value::Map(entry)));
    }

    /// Notes that a helper keeps the credentials of a registry, as Docker does.
    pub fn note(&mut self, registry: &str) {
        self.take(registry);
        self.auths.push((key(registry).to_owned(), Value::Map(Vec::new())));
    }

    /// Takes out what there is of a registry; says whether there was anything.
    pub fn take(&mut self, registry: &str) -> bool {
        let before = self.auths.len();
        self.auths.retain(|(name, _)| normal(name) != registry);
        self.auths.len() < before
    }

    /// Writes the file whole, for its owner alone.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self) -> Result<(), Failure> {
        // A link to the file stays one.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |error| Failure::local(format!("cannot write {}: {error}", path.display()));
        if let Some(dir) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(name);
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
        let mut all = vec![("auths".to_owned(), Value::Map(self.auths.clone()))];
        all.extend(self.fields.iter().cloned());
        let text = Value::Map(all).pretty(4) + "\n";
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&part, &path));
        written.map_err(|error| {
            // Half a file helps nobody; that it can't be removed either adds nothing.
            let _ = fs::remove_file(&part);
            failed(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use isula_api::v1::RegistryCredentials;

    use super::AuthFile;

    const TEXT: &str = r#"{"HttpHeaders":{"X":"y"},"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3"},
        "t.lan":{"auth":"dTo=","identitytoken":"tok"},"bad.lan":{"auth":"%"},"plain.lan":{"username":"u","password":"p"},
        "pad.lan":{"auth":"YTpiAAA="}},"credHelpers":{"h.lan":"x"}}"#;

    fn file(text: &str) -> (tempfile::TempDir, AuthFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        let file = AuthFile::read(path).unwrap();
        (dir, file)
    }

    #[test]
    fn entries_are_found_in_each_form_they_have() {
        let (_dir, file) = file(TEXT);
        let found = |registry: &str| {
            let found = file.credentials(registry).unwrap();
            found.map(|found| format!("{}:{}", found.username, found.password))
        };
        assert_eq!(found("docker.io").as_deref(), Some("hub:pw"));
        assert_eq!(found("t.lan").as_deref(), Some("<token>:tok"));
        assert_eq!(found("plain.lan").as_deref(), Some("u:p"));
        assert_eq!(found("pad.lan").as_deref(), Some("a:b"));
        assert_eq!(found("other.lan"), None);
        let error = file.credentials("bad.lan").unwrap_err().to_string();
        assert!(error.ends_with("the entry of bad.lan is not base64 of user:password"), "{error}");
        assert!(file.helper("h.lan").unwrap().is_some());
        assert!(file.helper("docker.io").unwrap().is_none());
    }

    #[test]
    fn a_change_keeps_the_rest_and_the_file_is_the_owners_alone() {
        let (dir, mut file) = file(TEXT);
        let credentials = RegistryCredentials { username: "a".into(), password: "b:c".into() };
        file.put("new.lan", &credentials, "");
        assert!(file.take("docker.io"));
        assert!(!file.take("docker.io"));
        file.write().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = AuthFile::read(path).unwrap();
        let found = again.credentials("new.lan").unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("a", "b:c"));
        assert!(again.credentials("docker.io").unwrap().is_none());
        assert!(again.credentials("plain.lan").unwrap().is_some());
        assert_eq!(again.section("HttpHeaders").len(), 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_or_empty_file_has_nothing_and_a_malformed_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/config.json");
        let mut missing = AuthFile::read(path.clone()).unwrap();
        assert!(missing.credentials("x").unwrap().is_none());
        missing.note("x.lan");
        missing.write().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"x.lan\": {}"));
        for text in ["[]", "{", "1"] {
            std::fs::write(&path, text).unwrap();
            assert!(AuthFile::read(path.clone()).is_err(), "{text}");
        }
    }
}
