//! Credentials for registries, kept as Docker and Podman keep them, so that a login with one is a
//! login with all. They are read here and sent along with each request that needs them; the daemon
//! keeps none.
//!
//! `REGISTRY_AUTH_FILE`, else `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; and what
//! is not in there is looked for in Podman's `containers/auth.json`.

mod file;
mod helper;

use std::path::PathBuf;

use isula_api::v1::RegistryCredentials;

pub use file::AuthFile;
pub use helper::Helper;

use crate::error::Failure;

/// Docker's own registry, and what Docker's files call it.
pub const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The registry of an image as the user named it.
#[must_use]
pub fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => normal(host),
        _ => HUB,
    }
}

/// A registry as the user named it, as references have it.
#[must_use]
pub fn normal(registry: &str) -> &str {
    let bare = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" | "" => HUB,
        host => host,
    }
}

/// What a file calls a registry.
#[must_use]
pub fn key(registry: &str) -> &str {
    if registry == HUB { HUB_KEY } else { registry }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The file that a login writes.
///
/// # Errors
/// There is no home directory to have it.
pub fn own_file() -> Result<PathBuf, Failure> {
    variable("REGISTRY_AUTH_FILE")
        .or_else(|| variable("DOCKER_CONFIG").map(|dir| dir.join("config.json")))
        .or_else(|| variable("HOME").map(|home| home.join(".docker/config.json")))
        .ok_or_else(|| Failure::local("no file for credentials: HOME is not set"))
}

/// The file of Podman, which is only read (containers-auth.json(5)).
fn podmans_file(runtime_dir: Option<PathBuf>, user: u32) -> PathBuf {
    match runtime_dir {
        Some(dir) => dir.join("containers/auth.json"),
        None => PathBuf::from(format!("/run/containers/{user}/auth.json")),
    }
}

/// The credentials for a registry, if there are any.
///
/// # Errors
/// A file is malformed, or a helper fails.
pub async fn find(registry: &str) -> Result<Option<RegistryCredentials>, Failure> {
    let own = own_file().ok();
    let explicit = variable("REGISTRY_AUTH_FILE").is_some();
    let others = (!explicit)
        .then(|| podmans_file(variable("XDG_RUNTIME_DIR"), isula_sys::process::user_id()));
    for path in own.into_iter().chain(others) {
        let file = AuthFile::read(path)?;
        let found = match file.helper(registry)? {
            Some(helper) => helper.get(key(registry)).await?,
            None => None,
        };
        // A helper that knows nothing leaves what a login without it has written.
        let found = match found {
            Some(found) => Some(found),
            None => file.credentials(registry)?,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{HUB, key, normal, podmans_file, registry_of};

    #[test]
    fn podmans_file_is_where_podman_has_it() {
        let shown =
            |dir: Option<&str>| podmans_file(dir.map(Into::into), 1000).display().to_string();
        assert_eq!(shown(Some("/run/user/1000")), "/run/user/1000/containers/auth.json");
        assert_eq!(shown(None), "/run/containers/1000/auth.json");
    }

    #[test]
    fn the_registry_of_a_reference_is_its_host() {
        for (reference, registry) in [
            ("busybox", HUB),
            ("a/b:1", HUB),
            ("docker.io/a/b", HUB),
            ("index.docker.io/a", HUB),
            ("localhost/a", "localhost"),
            ("127.0.0.1:5000/a/b@sha256:aa", "127.0.0.1:5000"),
            ("quay.io/a", "quay.io"),
            ("busybox:1.36", HUB),
        ] {
            assert_eq!(registry_of(reference), registry, "{reference}");
        }
        assert_eq!(normal("https://quay.io/v2/"), "quay.io");
        assert_eq!(normal("https://index.docker.io/v1/"), HUB);
        assert_eq!(key(HUB), "https://index.docker.io/v1/");
    }
}
