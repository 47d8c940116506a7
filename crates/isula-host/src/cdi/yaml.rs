//! YAML as far as specifications of devices need it: one document of maps, lists and scalars becomes
//! the same JSON that Kubernetes' YAML library makes of it. Anchors and aliases are refused, so that
//! nothing becomes larger than it is written.
//!
//! `saphyr-parser` gives events and nothing else (5,500 lines without `unsafe` of its own to link, MIT or
//! Apache-2.0); `serde_yaml` is no longer kept, and its heirs expand aliases or are much larger.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// Levels of maps and lists; a specification has six.
const DEPTH: usize = 32;

/// Reads a document.
///
/// # Errors
/// Says what is wrong, and in which line.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let line = span.start.line();
        builder.take(event).map_err(|why| format!("line {line}: {why}"))?;
    }
    builder.document.ok_or_else(|| "it is empty".to_owned())
}

/// A map or list that is not complete.
enum Open {
    List(Vec<Value>),
    /// With the key whose value comes next.
    Map(Map<String, Value>, Option<String>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    document: Option<Value>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::Alias(_) => Err("aliases are not supported"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                Err("anchors are not supported")
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err("tags are not supported"),
            Event::Scalar(text, style, _, None) => self.scalar(&text, style),
            Event::SequenceStart(_, None) => self.begin(Open::List(Vec::new())),
            Event::MappingStart(_, None) => self.begin(Open::Map(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(list)) => self.put(Value::Array(list)),
                Some(Open::Map(map, _)) => self.put(Value::Object(map)),
                None => Err("an end without a begin"),
            },
            Event::DocumentStart(_) if self.document.is_some() => {
                Err("there is more than one document")
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), &'static str> {
        if let Some(Open::Map(_, None)) = self.open.last() {
            return Err("a key must be a text");
        }
        if self.open.len() >= DEPTH {
            return Err("it is nested too deeply");
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle) -> Result<(), &'static str> {
        if let Some(Open::Map(map, key @ None)) = self.open.last_mut() {
            if map.contains_key(text) {
                return Err("a key is there twice");
            }
            *key = Some(text.to_owned());
            return Ok(());
        }
        self.put(match style {
            ScalarStyle::Plain => plain(text),
            _ => Value::String(text.to_owned()),
        })
    }

    fn put(&mut self, value: Value) -> Result<(), &'static str> {
        match self.open.last_mut() {
            Some(Open::List(list)) => list.push(value),
            Some(Open::Map(map, key)) => match key.take() {
                Some(key) => drop(map.insert(key, value)),
                None => return Err("a key must be a text"),
            },
            None => self.document = Some(value),
        }
        Ok(())
    }
}

/// A scalar without quotes, by the rules of YAML 1.1 that Go's library has: `0660` is octal.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix("0o")) {
        (Some(digits), _) => (digits, 16),
        (_, Some(digits)) => (digits, 8),
        _ if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        _ => (digits, 10),
    };
    let number = match digits.bytes().next().is_some_and(|byte| byte.is_ascii_hexdigit()) {
        true => i64::from_str_radix(digits, radix).ok(),
        false => None,
    };
    match number {
        Some(number) => Value::Number(Number::from(if negative { -number } else { number })),
        None => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use serde_json::json;

    #[test]
    fn maps_lists_and_scalars_are_what_they_are_in_json() {
        let text = "\
# a comment
cdiVersion: \"0.6.0\"
kind: vendor.com/class
devices:
- name: 0
  containerEdits:
    env: [A=1, \"B=no\", 'C=it''s']
    deviceNodes:
      - {path: /dev/x, fileMode: 0660, major: 0x1f, uid: -1, permissions: rw}
    mounts: []
text: |
  two
  lines
empty:
yes: off
flag: true
version: 1.0
";
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "cdiVersion": "0.6.0", "kind": "vendor.com/class",
                "devices": [{"name": 0, "containerEdits": {
                    "env": ["A=1", "B=no", "C=it's"],
                    "deviceNodes": [{"path": "/dev/x", "fileMode": 432, "major": 31, "uid": -1, "permissions": "rw"}],
                    "mounts": []}}],
                "text": "two\nlines\n", "empty": null, "yes": "off", "flag": true, "version": "1.0",
            })
        );
    }

    #[test]
    fn what_grows_or_hides_is_refused() {
        let deep = "[".repeat(200);
        for (text, words) in [
            ("a: &x [1]\nb: *x\n", "anchors"),
            ("a: *x\n", ""),
            ("a: !!binary aGk=\n", "tags"),
            ("a: 1\na: 2\n", "twice"),
            ("{[a]: 1}\n", "key"),
            ("a: 1\n---\nb: 2\n", "more than one"),
            (&deep, ""),
            ("", "empty"),
            ("a: [1, 2\n", ""),
            ("a: \"x\n", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        // Nothing in it makes the reader fall over.
        let mut seed = 7_u64;
        for _ in 0..2000 {
            let text: String = (0..60)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let letters = b"a:-[]{}#&*!|>'\"%@`,? \n\t0";
                    char::from(letters[(seed >> 33) as usize % letters.len()])
                })
                .collect();
            let _ = parse(&text);
        }
    }
}
