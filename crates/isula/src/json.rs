//! JSON that keeps the order of its keys, as `inspect` shows it and templates walk it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One JSON value, or a method that a template may call.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, and Go's nil.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; wide enough for JSON's u64 and i64.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// An array.
    List(Vec<Value>),
    /// An object, in the order of the document.
    Map(Vec<(String, Value)>),
    /// A field of a table row that takes an argument; it is no part of the JSON form.
    Method(Method),
}

/// What a row of a table can be asked with an argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// `.Label "name"`: the value of a label, or nothing.
    Label(Vec<(String, String)>),
    /// The same in the header: a title made from the label's name.
    LabelTitle,
}

impl Value {
    /// Reads one JSON document.
    ///
    /// # Errors
    /// Where it is not JSON, or nested deeper than 128.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// An object from its fields.
    pub fn map<K: Into<String>>(fields: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(fields.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// A list of texts.
    pub fn strings(items: &[String]) -> Self {
        Self::List(items.iter().map(|item| Self::String(item.clone())).collect())
    }

    /// The field of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(fields) => {
                fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The document in one line.
    #[must_use]
    pub fn compact(&self) -> String {
        let mut out = String::new();
        write(&mut out, self, None, 0);
        out
    }

    /// The document over many lines, each level indented by so many spaces.
    #[must_use]
    pub fn pretty(&self, indent: usize) -> String {
        let mut out = String::new();
        write(&mut out, self, Some(indent), 0);
        out
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number.into())
    }
}

fn write(out: &mut String, value: &Value, indent: Option<usize>, depth: usize) {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    match value {
        Value::Null | Value::Method(_) => out.push_str("null"),
        Value::Bool(bit) => out.push_str(if *bit { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_string(out, text),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                write(out, item, indent, depth + 1);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Map(fields) => {
            out.push('{');
            let mut first = true;
            for (key, item) in fields.iter().filter(|(_, item)| !matches!(item, Value::Method(_))) {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                line(out, depth + 1);
                write_string(out, key);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write(out, item, indent, depth + 1);
            }
            if !first {
                line(out, depth);
            }
            out.push('}');
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            // DEL and the C1 controls could drive the terminal that this is shown on.
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Value;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, bit: bool) -> Result<Value, E> {
                Ok(Value::Bool(bit))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Int(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Int(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Float(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::String(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(Value::String(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
                let mut map = Vec::new();
                while let Some(field) = fields.next_entry()? {
                    map.push(field);
                }
                Ok(Value::Map(map))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn order_and_numbers_survive_in_both_forms() {
        let text =
            r#"{"b":[1,-2,18446744073709551615,1.5],"a":{},"c":[],"d":null,"e":"\"\n\u0007é"}"#;
        let value = Value::parse(text.as_bytes()).unwrap();
        assert_eq!(value.compact(), text);
        let pretty = Value::parse(br#"{"b":[1],"a":{"x":true},"c":[],"d":{}}"#).unwrap().pretty(4);
        let lines = "{\n    \"b\": [\n        1\n    ],\n    \"a\": {\n        \"x\": true\n    },\n    \"c\": [],\n    \"d\": {}\n}";
        assert_eq!(pretty, lines);
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        for text in [&b"{"[..], b"[1,]", b"\xff", b"{\"a\":}", &[b'['; 200]] {
            assert!(Value::parse(text).is_err(), "{text:?}");
        }
    }
}
