//! Labels and annotations: what somebody else wrote to be kept and shown. They are texts of a bounded
//! size, and nothing that the engine does depends on them.

use std::collections::BTreeMap;

use crate::container::Invalid;

/// Bytes of all keys and values together: twice what Kubernetes' API server takes for the annotations
/// of an object (`TotalAnnotationSizeLimitB`), since kubelet adds its own.
const TOTAL: usize = 512 << 10;
/// Bytes of a key: a DNS name of 253, a slash and a name of 63 in Kubernetes, with some room.
const KEY: usize = 512;
/// Characters of a wrong text that a message repeats.
const SHOWN: usize = 64;

/// Checks labels or annotations, whose name `field` is.
///
/// # Errors
/// A key is empty, too long or no line; a value has a NUL character; all together are too large.
pub fn verify_texts(field: &'static str, texts: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let mut total = 0_usize;
    for (key, value) in texts {
        let wrong = |why: &str| Err(Invalid::value(field, shown(key), why));
        if key.is_empty() || key.len() > KEY || key.chars().any(char::is_control) {
            return wrong("a key must have 1 to 512 bytes and no control characters");
        }
        // Line ends are usual: kubectl keeps whole documents in one.
        if value.contains('\0') {
            return wrong("its value has a NUL character");
        }
        total = total.saturating_add(key.len()).saturating_add(value.len());
        if total > TOTAL {
            return wrong("all keys and values together are larger than 512 KiB");
        }
    }
    Ok(())
}

/// As [`verify_texts`] for a name of an object, which becomes a part of messages.
///
/// # Errors
/// It has control characters, or is longer than 512 bytes.
pub(super) fn verify_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    if name.len() > KEY || name.chars().any(char::is_control) {
        let why = "it must have at most 512 bytes and no control characters";
        return Err(Invalid::value(field, shown(name), why));
    }
    Ok(())
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{KEY, TOTAL, verify_texts};
    use std::collections::BTreeMap;

    #[test]
    fn texts_of_kubernetes_pass_and_what_is_none_does_not() {
        let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let long = "k".repeat(KEY);
        for good in [
            one("kubectl.kubernetes.io/last-applied-configuration", "{\n\t\"a\": 1\n}\n"),
            one("key", ""),
            one(&long, &"v".repeat(TOTAL - KEY)),
        ] {
            verify_texts("annotation", &good).unwrap();
        }
        for bad in [
            one("", "v"),
            one("a\nb", "v"),
            one("k", "a\0b"),
            one(&format!("{long}k"), "v"),
            one("k", &"v".repeat(TOTAL)),
            (0..TOTAL / 8).map(|n| (format!("{n:08}"), "v".to_owned())).collect(),
        ] {
            let error = verify_texts("annotation", &bad).unwrap_err().to_string();
            assert!(error.contains("annotation") && error.len() < 600, "{error}");
        }
    }
}
