//! Names in archives, taken apart without asking the file system.

/// The name without `.`, `..`, doubled and leading slashes; `None` when it leads out of the root.
/// The root itself is empty.
pub(crate) fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in components(path) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part if part.contains(&0) => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// The parts between slashes.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// The directory of a clean name, and its last part.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// Where each prefix of whole parts ends.
pub(super) fn ends(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain((!path.is_empty()).then_some(path.len()))
}

#[cfg(test)]
mod tests {
    use super::{clean, ends, split};

    #[test]
    fn names_are_cleaned_and_none_leads_out() {
        for (path, cleaned) in [
            ("a/b", Some("a/b")),
            ("./a//b/./c/", Some("a/b/c")),
            ("/etc/passwd", Some("etc/passwd")),
            ("a/../b", Some("b")),
            ("a/b/../../c", Some("c")),
            (".", Some("")),
            ("/", Some("")),
            ("a/..", Some("")),
            ("..", None),
            ("../a", None),
            ("a/../../b", None),
            ("/../a", None),
            ("...", Some("...")),
            ("a\0b", None),
        ] {
            assert_eq!(clean(path.as_bytes()), cleaned.map(|c| c.as_bytes().to_vec()), "{path:?}");
        }
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
        assert_eq!(ends(b"a/bc/d").collect::<Vec<_>>(), [1, 4, 6]);
        assert_eq!(ends(b"").count(), 0);
    }
}
