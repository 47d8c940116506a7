//! Environments: lists of `NAME=value` in order, no name twice.

/// Sets a variable in an environment: `entry` is `NAME=value`.
pub(crate) fn put(env: &mut Vec<String>, entry: &str) {
    match env.iter_mut().find(|old| name(old) == name(entry)) {
        Some(old) => entry.clone_into(old),
        None => env.push(entry.to_owned()),
    }
}

/// The name in `NAME=value`.
pub(crate) fn name(entry: &str) -> Option<&str> {
    entry.split_once('=').map(|(name, _)| name).filter(|name| !name.is_empty())
}
