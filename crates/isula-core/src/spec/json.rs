//! The bytes of `config.json`: the same spec gives the same bytes, for a person to read.

use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{
    Value,
    ser::PrettyFormatter,
    value::{RawValue, to_raw_value},
};

/// Keys that come first, in this order; the rest follows by name.
const FIRST: [&str; 10] = [
    "ociVersion",
    "hooks",
    "hostname",
    "mounts",
    "source",
    "destination",
    "options",
    "root",
    "process",
    "linux",
];

/// `config.json`, indented by four blanks, with a line end; `seccomp` are the texts of its profile.
#[must_use]
pub(super) fn config_json(spec: &Spec, seccomp: Option<&SeccompTexts>) -> Vec<u8> {
    let mut value = serde_json::to_value(spec).unwrap_or(Value::Null);
    // Sets of capabilities have no order of their own.
    if let Some(Value::Object(sets)) = value.pointer_mut("/process/capabilities") {
        for set in sets.values_mut() {
            if let Value::Array(names) = set {
                names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            }
        }
    }
    if let Value::Object(members) = &mut value {
        members.entry("hooks").or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    if seccomp.is_some()
        && let Some(profile) = value.pointer_mut("/linux/seccomp")
    {
        *profile = Value::Null;
    }
    print(&value, seccomp.map(|texts| &*texts.member))
}

/// How a seccomp profile is written.
#[derive(Debug)]
pub(super) struct SeccompTexts {
    /// As a file of its own.
    pub file: Vec<u8>,
    /// As the member of `linux`.
    member: Box<RawValue>,
}

/// Profiles whose texts are kept.
const KEPT: usize = 4;
/// With the one used last at the end.
static TEXTS: Mutex<Vec<(LinuxSeccomp, Arc<SeccompTexts>)>> = Mutex::new(Vec::new());

/// The texts of a spec's profile. Nearly all containers have the same one, and it is most of what is
/// written of a container.
pub(super) fn seccomp(spec: &Spec) -> Option<Arc<SeccompTexts>> {
    let profile = spec.linux().as_ref()?.seccomp().as_ref()?;
    let mut kept = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = kept.iter().position(|(known, _)| known == profile);
    let entry = match known {
        Some(at) => kept.remove(at),
        None => {
            if kept.len() >= KEPT {
                kept.remove(0);
            }
            (profile.clone(), Arc::new(written(profile)))
        }
    };
    let texts = Arc::clone(&entry.1);
    kept.push(entry);
    Some(texts)
}

fn written(profile: &LinuxSeccomp) -> SeccompTexts {
    let value = serde_json::to_value(profile).unwrap_or(Value::Null);
    let file = pretty(&value);
    let text = String::from_utf8_lossy(&file);
    // The members of `linux` are two levels deep.
    let member = RawValue::from_string(text.trim_end().replace('\n', "\n        "));
    // The text is JSON; if it were not, the value without its indentation would do.
    let member = member.or_else(|_| to_raw_value(&value)).unwrap_or_default();
    SeccompTexts { file, member }
}

/// JSON, indented by four blanks, keys in a fixed order, with a line end.
#[must_use]
pub fn pretty(value: &Value) -> Vec<u8> {
    print(value, None)
}

fn print(value: &Value, seccomp: Option<&RawValue>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 << 10);
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a value to memory can't fail; if it could, the file would be empty, not wrong.
    if (Ordered { value, seccomp }).serialize(&mut serializer).is_err() {
        bytes.clear();
    }
    bytes.push(b'\n');
    bytes
}

/// A value whose objects are written in a fixed order, whatever order their map has.
#[derive(Clone, Copy)]
struct Ordered<'a> {
    value: &'a Value,
    /// Stands for a member `seccomp` that is null.
    seccomp: Option<&'a RawValue>,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, seccomp } = *self;
        match value {
            Value::Object(members) => {
                let rank = |key: &str| FIRST.iter().position(|first| *first == key);
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(key, _)| (rank(key).unwrap_or(FIRST.len()), *key));
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    match seccomp {
                        Some(text) if value.is_null() && key == "seccomp" => {
                            map.serialize_entry(key, text)?;
                        }
                        _ => map.serialize_entry(key, &Ordered { value, seccomp })?,
                    }
                }
                map.end()
            }
            Value::Array(items) => {
                serializer.collect_seq(items.iter().map(|value| Ordered { value, seccomp }))
            }
            scalar => scalar.serialize(serializer),
        }
    }
}
