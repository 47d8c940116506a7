//! Paths as texts: what a user or an image writes is cleaned before anything is done with it. They
//! are resolved later, beneath a root and by descriptor; nothing here touches a file.

use super::Invalid;

/// The longest path the kernel takes (`PATH_MAX` without the end mark).
const LIMIT: usize = 4095;

/// An absolute path without `.`, `..`, doubled and trailing slashes. `..` at the root stays there,
/// as the kernel does it.
///
/// # Errors
/// The path is relative, too long, or has control characters; the message names `field`.
pub fn clean(field: &'static str, path: &str) -> Result<String, Invalid> {
    if !path.starts_with('/') {
        return Err(Invalid::value(field, path, "it must be an absolute path"));
    }
    if path.len() > LIMIT {
        let start: String = path.chars().take(40).collect();
        return Err(Invalid::value(field, format!("{start}…"), "it is longer than 4095 bytes"));
    }
    if path.chars().any(char::is_control) {
        return Err(Invalid::value(field, path, "it has control characters"));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

/// As [`clean`], for something that is mounted: the root itself is refused.
///
/// # Errors
/// As [`clean`], and `/`.
pub fn mount_target(field: &'static str, path: &str) -> Result<String, Invalid> {
    match clean(field, path)?.as_str() {
        "/" => Err(Invalid::value(field, path, "the destination can't be '/'")),
        target => Ok(target.to_owned()),
    }
}

/// Whether `path` is `parent` or below it; both clean.
#[must_use]
pub fn is_beneath(path: &str, parent: &str) -> bool {
    match path.strip_prefix(parent) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || parent == "/",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, is_beneath, mount_target};

    #[test]
    fn paths_are_cleaned_and_never_leave_the_root() {
        for (path, wanted) in [
            ("/", "/"),
            ("//", "/"),
            ("/a//b/./c/", "/a/b/c"),
            ("/a/../../etc", "/etc"),
            ("/../../..", "/"),
            ("/a/b/..", "/a"),
            ("/..a/.b", "/..a/.b"),
        ] {
            assert_eq!(clean("x", path).as_deref(), Ok(wanted), "{path}");
        }
        let long = format!("/{}", "a".repeat(5000));
        for path in ["", "a", "./a", "../a", "/a\nb", "/a\0b", &long] {
            assert!(clean("x", path).is_err(), "{path}");
        }
        assert!(mount_target("x", "/a/..").is_err());
    }

    #[test]
    fn beneath_means_whole_components() {
        assert!(is_beneath("/a/b", "/a") && is_beneath("/a", "/a") && is_beneath("/a", "/"));
        assert!(!is_beneath("/ab", "/a") && !is_beneath("/", "/a"));
    }
}
