//! Names of devices in the sense of the Container Device Interface: `vendor.com/class=device`.

use std::fmt;

/// The longest name of a device.
const LIMIT: usize = 512;

/// The qualified name of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CdiName {
    /// `vendor.com/class`.
    pub kind: String,
    /// The device.
    pub device: String,
}

/// A text is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CDI device {text:?}: {why}")]
pub struct CdiNameError {
    text: String,
    why: &'static str,
}

impl fmt::Display for CdiName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.kind, self.device)
    }
}

impl CdiName {
    /// Reads `vendor.com/class=device`.
    ///
    /// # Errors
    /// A part is missing or has characters that it must not have.
    pub fn parse(text: &str) -> Result<Self, CdiNameError> {
        let wrong = |why| CdiNameError { text: text.chars().take(LIMIT).collect(), why };
        if text.len() > LIMIT {
            return Err(wrong("it is longer than 512 bytes"));
        }
        let (kind, device) = text
            .split_once('=')
            .ok_or_else(|| wrong("it must be a qualified name such as vendor.com/class=device"))?;
        if !is_kind(kind) {
            return Err(wrong("its kind must be a vendor and a class such as vendor.com/class"));
        }
        if !is_device(device) {
            return Err(wrong("the device must be letters, digits and '_', '-', '.', ':'"));
        }
        Ok(Self { kind: kind.to_owned(), device: device.to_owned() })
    }
}

/// Whether this is a vendor and a class (CDI specification, "Kind").
#[must_use]
pub fn is_kind(text: &str) -> bool {
    text.split_once('/').is_some_and(|(vendor, class)| is_name(vendor) && is_name(class))
}

/// Whether this can be the name of a device.
#[must_use]
pub fn is_device(text: &str) -> bool {
    has_ends(text, |byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
}

/// A letter, letters, digits, `_`, `-` and `.`, and a letter or digit.
fn is_name(text: &str) -> bool {
    has_ends(text, |byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn has_ends(text: &str, first: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| first(*byte))
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::CdiName;

    #[test]
    fn names_have_a_vendor_a_class_and_a_device() {
        for good in ["vendor.com/class=name", "v/c=0", "nvidia.com/gpu=all", "a-b.c/d_e=1:2.3-x"] {
            assert_eq!(CdiName::parse(good).unwrap().to_string(), good);
        }
        let long = format!("v/c={}", "x".repeat(600));
        for bad in [
            "",
            "name",
            "/dev/null",
            "vendor.com/class",
            "vendor.com/class=",
            "vendor.com=name",
            "/class=name",
            "vendor.com/=name",
            "vendor.com/a/b=name",
            "1v/c=d",
            "v-/c=d",
            "v/c=-d",
            "v/c=d ",
            "v/c=../d",
            "v/c=a/b",
            "v/c=d\n",
            "v/c=a=b",
            "../c=d",
            &long,
        ] {
            let error = CdiName::parse(bad).unwrap_err().to_string();
            assert!(error.contains("CDI device"), "{bad}: {error}");
        }
    }
}
