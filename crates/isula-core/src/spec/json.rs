//! The bytes of `config.json`: the same spec gives the same bytes, for a person to read.

use std::{
    io::{self, Write},
    sync::Arc,
};

use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{
    Value,
    ser::Formatter,
    value::{RawValue, to_raw_value},
};

use super::recent::Recent;

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

/// `config.json`, indented by four blanks, with a line end; `seccomp` are the texts of its profile,
/// which `spec` does not have.
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
        && let Some(Value::Object(linux)) = value.get_mut("linux")
    {
        linux.insert("seccomp".to_owned(), Value::Null);
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

static TEXTS: Recent<Arc<LinuxSeccomp>, Arc<SeccompTexts>> = Recent::new();

/// The texts of a profile. Nearly all containers have the same one, and it is most of what is
/// written of a container.
pub(super) fn seccomp(profile: &Arc<LinuxSeccomp>) -> Arc<SeccompTexts> {
    TEXTS.get(
        |known| Arc::ptr_eq(known, profile) || known == profile,
        || (Arc::clone(profile), Arc::new(written(profile))),
    )
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
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Indented::default());
    // Writing a value to memory can't fail; if it could, the file would be empty, not wrong.
    if (Ordered { value, seccomp }).serialize(&mut serializer).is_err() {
        bytes.clear();
    }
    bytes.push(b'\n');
    bytes
}

/// Indents by four blanks, as [`serde_json::ser::PrettyFormatter`] does it, but a line begins with one
/// piece whatever its depth: most of the time of writing is that of handing over small pieces.
#[derive(Debug, Default)]
struct Indented {
    depth: usize,
    /// Whether the object or the array that ends next has anything in it.
    filled: bool,
}

/// What is between two values, of a depth of 16.
const BETWEEN: &[u8; 66] = b",\n                                                                ";
const BLANKS: usize = 4;

impl Indented {
    /// Begins a line, after a comma or not.
    fn line(&self, out: &mut (impl Write + ?Sized), comma: bool) -> io::Result<()> {
        let mut blanks = self.depth * BLANKS;
        let (start, piece) = (usize::from(!comma), blanks.min(BETWEEN.len() - 2));
        out.write_all(BETWEEN.get(start..2 + piece).unwrap_or_default())?;
        blanks -= piece;
        (0..blanks).try_for_each(|_| out.write_all(b" "))
    }

    fn begin(&mut self, out: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn end(&mut self, out: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        if self.filled {
            self.line(out, false)?;
        }
        out.write_all(bracket)
    }
}

impl Formatter for Indented {
    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.line(out, !first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.line(out, !first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_indented_as_serde_json_does_it() {
        let mut deep = serde_json::json!({"z": [1, "two"], "a": {}});
        for _ in 0..40 {
            deep = serde_json::json!({"b": [deep, [], {}, null, -1.5, true], "c": "\n\"\u{1}"});
        }
        for value in [deep, serde_json::json!([]), serde_json::json!({}), serde_json::json!("x")] {
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            let mut wanted = Vec::new();
            let mut serializer = serde_json::Serializer::with_formatter(&mut wanted, formatter);
            (Ordered { value: &value, seccomp: None }).serialize(&mut serializer).unwrap();
            wanted.push(b'\n');
            assert_eq!(String::from_utf8(pretty(&value)), String::from_utf8(wanted));
        }
    }
}
