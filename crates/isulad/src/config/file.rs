//! Reading a `daemon.json`: an error names the key and the line.

use std::{collections::BTreeSet, fmt, path::Path};

use serde::{
    Deserializer,
    de::{Error, MapAccess, Visitor},
};

use super::{ConfigError, keys::File};

/// Larger files are no configuration.
const LIMIT: usize = 1 << 20;

/// Reads a file; `None` when it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<File>, ConfigError> {
    match std::fs::read(path) {
        Ok(bytes) => parse(path, &bytes).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

/// What the text of a file says.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<File, ConfigError> {
    let fail = |line, message: String| ConfigError::Parse { path: path.to_owned(), line, message };
    if bytes.len() > LIMIT {
        return Err(fail(1, format!("the file is larger than {LIMIT} bytes")));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let file = reader.deserialize_map(Keys);
    match file.and_then(|file| reader.end().map(|()| file)) {
        Ok(file) => Ok(file),
        Err(error) => {
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let message = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            Err(fail(error.line().max(1), message))
        }
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = File;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with the keys of the daemon's configuration")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let mut file = File::default();
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("{key}: the key is there twice")));
            }
            file.take(&key, &mut map)?;
        }
        Ok(file)
    }
}
