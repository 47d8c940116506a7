//! `--security-opt` and `--hook-spec`: files that are read here and sent whole.

use super::read_file;
use crate::json::Value;

/// One security option; `seccomp=FILE` becomes `seccomp=` and the profile's JSON in one line.
///
/// # Errors
/// A file that can't be read or is not JSON.
pub(super) fn security_option(text: &str) -> Result<String, String> {
    // The form with a colon is Docker's old one.
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((key, value)) = split else { return Ok(text.to_owned()) };
    if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
        return Ok(format!("{key}={value}"));
    }
    let content = read_file(value)?;
    let profile = Value::parse(&content)
        .map_err(|error| format!("the seccomp profile {value} is not JSON: {error}"))?;
    Ok(format!("seccomp={}", profile.compact()))
}

/// The hooks of a file, as JSON.
///
/// # Errors
/// A file that can't be read or holds no JSON object.
pub(super) fn hooks(path: &str) -> Result<String, String> {
    let content = read_file(path)?;
    match Value::parse(&content) {
        Ok(hooks @ Value::Map(_)) => Ok(hooks.compact()),
        Ok(_) => Err(format!("the hooks of {path} are no JSON object")),
        Err(error) => Err(format!("the hooks of {path} are not JSON: {error}")),
    }
}
