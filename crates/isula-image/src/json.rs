//! JSON from strangers: a document in which an object names a key twice is refused, because two
//! parsers may disagree on which of the two counts.

use std::{collections::HashSet, fmt};

use isula_core::error::PortError;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::error::corrupt;

/// Any JSON value whose objects have no key twice, at any depth.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Unambiguous;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unambiguous, A::Error> {
        while items.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unambiguous, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value::<Unambiguous>()?;
            if let Some(twice) = seen.replace(key) {
                return Err(A::Error::custom(format_args!("the key {twice:?} appears twice")));
            }
        }
        Ok(Unambiguous)
    }
}

/// Reads a document of at most `limit` bytes; `what` names it in errors.
///
/// # Errors
/// `Corrupt`: too long, no JSON, a key twice, or not of the form of `T`.
pub fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8], limit: usize) -> Result<T, PortError> {
    if bytes.len() > limit {
        return Err(corrupt(format!("{what} is larger than {limit} bytes")));
    }
    serde_json::from_slice::<Unambiguous>(bytes)
        .and_then(|Unambiguous| serde_json::from_slice(bytes))
        .map_err(|error| corrupt(format!("{what} is malformed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_key_that_appears_twice_is_refused_at_any_depth() {
        for (text, good) in [
            (r#"{"a":1,"b":{"a":2},"c":[{"a":null},{"a":1.5}]}"#, true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"b":[{"x":{"a":1,"a":2}}]}"#, false),
            (r#"{"a":1,"\u0061":1}"#, false),
            (r#"{"a":1} x"#, false),
            (r#"{"a":"#, false),
        ] {
            assert_eq!(
                parse::<serde_json::Value>("it", text.as_bytes(), 100).is_ok(),
                good,
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(parse::<serde_json::Value>("it", deep.as_bytes(), 1 << 20).is_err());
        let error = parse::<serde_json::Value>("the index", b"[1,2]", 4).unwrap_err();
        assert_eq!(error.to_string(), "the index is larger than 4 bytes");
    }
}
