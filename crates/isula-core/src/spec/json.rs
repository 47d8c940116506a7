//! The bytes of `config.json`: the same spec gives the same bytes, for a person to read.

use oci_spec::runtime::Spec;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, ser::PrettyFormatter};

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

/// `config.json`, indented by four blanks, with a line end.
#[must_use]
pub fn config_json(spec: &Spec) -> Vec<u8> {
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
    pretty(&value)
}

/// JSON, indented by four blanks, keys in a fixed order, with a line end.
#[must_use]
pub fn pretty(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 << 10);
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a value to memory can't fail; if it could, the file would be empty, not wrong.
    if Ordered(value).serialize(&mut serializer).is_err() {
        bytes.clear();
    }
    bytes.push(b'\n');
    bytes
}

/// A value whose objects are written in a fixed order, whatever order their map has.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let rank = |key: &str| FIRST.iter().position(|first| *first == key);
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(key, _)| (rank(key).unwrap_or(FIRST.len()), *key));
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            scalar => scalar.serialize(serializer),
        }
    }
}
