//! The functions that a template may call: Go's own and Docker's.

use super::{compare, format};
use crate::json::Value;

/// Why a call failed.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// Too few or too many arguments.
    Count(String),
    /// The arguments do not fit.
    Failed(String),
}

type Function = fn(&[&Value]) -> Result<Value, String>;

/// Name, least and most arguments, and what it does. `and` and `or` are the evaluator's.
const TABLE: [(&str, usize, usize, Function); 27] =
    [
        ("and", 1, usize::MAX, |_| Ok(Value::Null)),
        ("eq", 1, usize::MAX, |a| compare::equal(a)),
        ("ge", 2, 2, |a| compare::order(a, |order| order.is_ge())),
        ("gt", 2, 2, |a| compare::order(a, |order| order.is_gt())),
        ("html", 0, usize::MAX, |a| Ok(escape(a, html))),
        ("index", 1, usize::MAX, index),
        ("join", 2, 2, join),
        ("js", 0, usize::MAX, |a| Ok(escape(a, js))),
        ("json", 1, 1, |a| Ok(Value::String(first(a).compact()))),
        ("le", 2, 2, |a| compare::order(a, |order| order.is_le())),
        ("len", 1, 1, len),
        ("lower", 1, 1, |a| Ok(text(a, 0)?.to_lowercase().into())),
        ("lt", 2, 2, |a| compare::order(a, |order| order.is_lt())),
        ("ne", 2, 2, |a| compare::equal(a).map(|equal| Value::Bool(equal == Value::Bool(false)))),
        ("not", 1, 1, |a| Ok(Value::Bool(!truth(first(a))))),
        ("or", 1, usize::MAX, |_| Ok(Value::Null)),
        ("pad", 3, 3, pad),
        ("print", 0, usize::MAX, |a| Ok(format::print(a).into())),
        ("printf", 1, usize::MAX, |a| {
            Ok(format::printf(text(a, 0)?, a.get(1..).unwrap_or(&[])).into())
        }),
        ("println", 0, usize::MAX, |a| Ok(format::println(a).into())),
        ("slice", 1, 4, slice),
        ("split", 2, 2, split),
        ("title", 1, 1, |a| Ok(title(text(a, 0)?).into())),
        ("truncate", 2, 2, truncate),
        ("upper", 1, 1, |a| Ok(text(a, 0)?.to_uppercase().into())),
        ("urlquery", 0, usize::MAX, |a| Ok(escape(a, urlquery))),
        ("call", 1, usize::MAX, |_| Err("nothing in a document is a function".to_owned())),
    ];

/// Whether a function has this name.
pub(super) fn exists(name: &str) -> bool {
    TABLE.iter().any(|(known, ..)| *known == name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[&Value]) -> Result<Value, Fault> {
    let Some((_, least, most, function)) = TABLE.iter().find(|(known, ..)| *known == name) else {
        return Err(Fault::Failed("no such function".to_owned()));
    };
    let got = arguments.len();
    if got < *least || got > *most {
        let want = if least == most { least.to_string() } else { format!("at least {least}") };
        let message = format!("wrong number of args for {name}: want {want} got {got}");
        return Err(Fault::Count(message));
    }
    function(arguments).map_err(Fault::Failed)
}

/// Go's truth: not zero, not empty, not nil.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bit) => *bit,
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::String(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(fields) => !fields.is_empty(),
        Value::Method(_) => true,
    }
}

fn first<'a>(arguments: &[&'a Value]) -> &'a Value {
    arguments.first().copied().unwrap_or(&Value::Null)
}

fn text<'a>(arguments: &[&'a Value], position: usize) -> Result<&'a str, String> {
    match arguments.get(position) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("expected string; got {}", kind(other))),
        None => Err("expected string; got nothing".to_owned()),
    }
}

fn count(arguments: &[&Value], position: usize) -> Result<usize, String> {
    /// Padding and the like beyond this is a mistake, or an attack on the memory.
    const MOST: i128 = 1 << 20;
    match arguments.get(position) {
        Some(Value::Int(number)) if (0..=MOST).contains(number) => Ok(*number as usize),
        Some(Value::Int(number)) => Err(format!("number out of range: {number}")),
        Some(other) => Err(format!("expected integer; got {}", kind(other))),
        None => Err("expected integer; got nothing".to_owned()),
    }
}

/// What a value is, in an error.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        Value::Method(_) => "func",
    }
}

fn len(arguments: &[&Value]) -> Result<Value, String> {
    let length = match first(arguments) {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(fields) => fields.len(),
        Value::Null => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", kind(other))),
    };
    Ok(Value::Int(length as i128))
}

fn index(arguments: &[&Value]) -> Result<Value, String> {
    let (mut value, keys) = match arguments.split_first() {
        Some((first, keys)) => (*first, keys),
        None => return Err("index of untyped nil".to_owned()),
    };
    const NOTHING: &Value = &Value::Null;
    let empty = Value::String(String::new());
    for key in keys {
        value = match (value, key) {
            (Value::List(items), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| items.get(at))
                .ok_or_else(|| format!("index out of range: {at}"))?,
            (Value::String(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                let byte = byte.ok_or_else(|| format!("index out of range: {at}"))?;
                return Ok(Value::Int(i128::from(*byte)));
            }
            (Value::Map(fields), Value::String(name)) => match value.get(name) {
                Some(found) => found,
                // A map of texts (labels) answers with an empty text, as Go's map[string]string.
                None if fields.iter().all(|(_, item)| matches!(item, Value::String(_))) => &empty,
                None => NOTHING,
            },
            (Value::Null, _) => return Err("index of untyped nil".to_owned()),
            (Value::List(_) | Value::String(_), key) => {
                return Err(format!("cannot index slice/array with type {}", kind(key)));
            }
            (Value::Map(_), key) => {
                return Err(format!("value has type {}; should be string", kind(key)));
            }
            (other, _) => return Err(format!("can't index item of type {}", kind(other))),
        };
    }
    Ok(value.clone())
}

fn slice(arguments: &[&Value]) -> Result<Value, String> {
    let item = first(arguments);
    let length = match item {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Null => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", kind(other))),
    };
    let bound = |position: usize, otherwise: usize| match arguments.get(position) {
        None => Ok(otherwise),
        Some(Value::Int(at)) if *at >= 0 && *at <= length as i128 => Ok(*at as usize),
        Some(Value::Int(at)) => Err(format!("index out of range: {at}")),
        Some(other) => Err(format!("cannot index slice/array with type {}", kind(other))),
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match item {
        Value::String(_) if arguments.len() > 3 => Err("cannot 3-index slice a string".to_owned()),
        Value::String(text) => {
            let bytes = text.as_bytes().get(from..to).unwrap_or_default();
            Ok(Value::String(String::from_utf8_lossy(bytes).into_owned()))
        }
        Value::List(items) => {
            let most = bound(3, length)?;
            if to > most {
                return Err(format!("invalid slice index: {to} > {most}"));
            }
            Ok(Value::List(items.get(from..to).unwrap_or_default().to_vec()))
        }
        _ => Ok(Value::Null),
    }
}

/// Docker's `join LIST SEPARATOR`.
fn join(arguments: &[&Value]) -> Result<Value, String> {
    let separator = text(arguments, 1)?;
    match first(arguments) {
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(format::printed).collect();
            Ok(items.join(separator).into())
        }
        Value::Null => Ok("".into()),
        other => Err(format!("expected []string; got {}", kind(other))),
    }
}

fn split(arguments: &[&Value]) -> Result<Value, String> {
    let (text, separator) = (text(arguments, 0)?, text(arguments, 1)?);
    let parts = if separator.is_empty() {
        text.chars().map(|c| c.to_string().into()).collect()
    } else {
        text.split(separator).map(Value::from).collect()
    };
    Ok(Value::List(parts))
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
    let upper = |c: char| {
        let begins = !word(before);
        before = c;
        if begins { c.to_uppercase().collect::<String>() } else { c.to_string() }
    };
    text.chars().map(upper).collect()
}

/// Docker's `pad TEXT BEFORE AFTER`; an empty text stays empty.
fn pad(arguments: &[&Value]) -> Result<Value, String> {
    let text = text(arguments, 0)?;
    let (before, after) = (count(arguments, 1)?, count(arguments, 2)?);
    if text.is_empty() {
        return Ok("".into());
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
}

/// Docker's `truncate TEXT LENGTH`, in characters here, so that none is cut.
fn truncate(arguments: &[&Value]) -> Result<Value, String> {
    let length = count(arguments, 1)?;
    Ok(text(arguments, 0)?.chars().take(length).collect::<String>().into())
}

fn escape(arguments: &[&Value], one: fn(char, &mut String)) -> Value {
    let text = match arguments {
        [Value::String(text)] => text.clone(),
        many => format::print(many),
    };
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| one(c, &mut out));
    Value::String(out)
}

fn html(c: char, out: &mut String) {
    match c {
        '\0' => out.push('\u{fffd}'),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}

fn js(c: char, out: &mut String) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\'' => out.push_str("\\'"),
        '"' => out.push_str("\\\""),
        '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        c => out.push(c),
    }
}

fn urlquery(c: char, out: &mut String) {
    match c {
        ' ' => out.push('+'),
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~') => out.push(c),
        c => {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
}
