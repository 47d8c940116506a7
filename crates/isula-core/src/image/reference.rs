//! Image references as Docker reads them.

use std::fmt;

use super::Digest;

/// The longest repository name, registry included (distribution-spec).
const NAME_LIMIT: usize = 255;
const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// A normalised reference: registry, repository, and a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference {text:?}: {why}")]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

impl Reference {
    /// Host and, if given, port: `docker.io`, `127.0.0.1:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path in the registry: `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of a manifest.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository with a digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same without its digest, if it has a tag.
    #[must_use]
    pub fn without_digest(&self) -> Option<Self> {
        self.tag.is_some().then(|| Self { digest: None, ..self.clone() })
    }

    /// The name as people write it: `docker.io/library/` is left out, unless it would be read as
    /// something else then.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        let whole = || format!("{}/{}", self.registry, self.repository);
        if self.registry != DEFAULT_REGISTRY {
            return whole();
        }
        let official = self.repository.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        match official.unwrap_or(&self.repository) {
            name if is_id(name) || split_registry(name).1 != name => whole(),
            name => name.to_owned(),
        }
    }

    /// The whole reference as people write it.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    /// Reads `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` and fills in `docker.io`, `library/` and `latest`.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = |why| ReferenceError { text: text.to_owned(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| {
                    error("the digest must be sha256: and 64 lower-case hexadecimal digits")
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        if rest.is_empty() {
            return Err(error("the name is empty"));
        }
        if is_id(rest) {
            return Err(error("64 hexadecimal digits are an id, not a name"));
        }
        let (registry, remainder) = split_registry(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (remainder, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error("a tag is [a-zA-Z0-9_][a-zA-Z0-9_.-], 128 characters at most"));
        }
        if !is_registry(registry) {
            return Err(error("the registry is no host name with an optional port"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error("the repository name must be lower case"));
        }
        if !path.split('/').all(is_component) {
            return Err(error("the repository name is malformed"));
        }
        let repository = match registry == DEFAULT_REGISTRY && !path.contains('/') {
            true => format!("{OFFICIAL}{path}"),
            false => path.to_owned(),
        };
        if registry.len() + 1 + repository.len() > NAME_LIMIT {
            return Err(error("the name is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// The first component is a registry if it can't be part of a repository path.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (if first == "index.docker.io" { DEFAULT_REGISTRY } else { first }, rest)
        }
        _ => (DEFAULT_REGISTRY, text),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => return is_port(port),
                None => return rest.is_empty(),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    // Rust's numbers may have a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_tag(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word);
    let separators = || text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && separators().all(|between| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
    })
}

impl fmt::Display for Reference {
    /// The full form, registry and all.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[test]
    fn references_are_normalised_as_docker_does() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, full, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            (
                "127.0.0.1:5000/a/b-c__d.e:V_1",
                "127.0.0.1:5000/a/b-c__d.e:V_1",
                "127.0.0.1:5000/a/b-c__d.e:V_1",
            ),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("index.docker.io/x", "docker.io/library/x:latest", "x:latest"),
            ("foo:5000", "docker.io/library/foo:5000", "foo:5000"),
            // Each would be another name without what is left out elsewhere.
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
            (
                "docker.io/localhost/c",
                "docker.io/localhost/c:latest",
                "docker.io/localhost/c:latest",
            ),
            (
                "openeuler/openeuler:20.09",
                "docker.io/openeuler/openeuler:20.09",
                "openeuler/openeuler:20.09",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(familiar.parse::<Reference>().unwrap(), reference);
            assert_eq!(full.parse::<Reference>().unwrap(), reference);
        }
        let both: Reference = format!("x:1@{digest}").parse().unwrap();
        assert_eq!(both.tag(), Some("1"));
        assert_eq!(both.digest().unwrap().as_str(), digest);
        let hex: Reference = format!("library/{}@{digest}", "a".repeat(64)).parse().unwrap();
        assert_eq!(hex.familiar().parse::<Reference>().unwrap(), hex);
        let only: Reference = format!("x@{digest}").parse().unwrap();
        assert_eq!(only.tag(), None);
    }

    #[test]
    fn malformed_references_are_refused() {
        let long = "a".repeat(256);
        let id = "a".repeat(64);
        for text in [
            "",
            ":",
            "@",
            "x:",
            "x:-a",
            "X",
            "a//b",
            "/a",
            "a/",
            "[::1]:+5/a",
            "x.y:+5/a",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a:b:c",
            "x@sha256:1",
            "h_st.x/a",
            "host:99999/a",
            "host:+1/a",
            "../x",
            "a/../b",
            "x:t/y z",
            "x y",
            &long,
            &id,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
