//! Whom a process runs as: `user[:group]` and the container's own passwd(5) and group(5) become
//! numbers, by Docker's rules. Both files come from an image and are hostile until read.

mod database;

use database::{groups, users};

/// The largest user or group id (the kernel's -1 and everything above i32 is refused).
const LIMIT: u32 = i32::MAX as u32;

/// Whom a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All further groups and the primary one: without it in the set, a file that denies the
    /// group could be read by leaving the group (CVE-2022-2989 and its kin).
    pub additional_gids: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// The user or a group is not what the container's files know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// All digits, but no id.
    #[error("invalid user or group {0}: ids must be in the range 0-2147483647")]
    Range(String),
    /// Control characters, blanks or a second colon.
    #[error("invalid user {0:?}: it must be user[:group]")]
    Malformed(String),
}

/// When the groups count that the container's `/etc/group` gives a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Memberships {
    /// Where no group was chosen (Docker).
    #[default]
    Unchosen,
    /// Always (CRI's `Merge`).
    Always,
    /// Never (CRI's `Strict`).
    Never,
}

/// A user or group as it was written.
enum Wanted<'a> {
    /// Not given.
    Default,
    /// All digits. Never taken for a name, whatever passwd says (CVE-2024-40635).
    Id(u32),
    /// A name.
    Named(&'a str),
}

fn wanted(text: &str) -> Result<Wanted<'_>, UserError> {
    if text.is_empty() {
        Ok(Wanted::Default)
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        match text.parse::<u32>() {
            Ok(id) if id <= LIMIT => Ok(Wanted::Id(id)),
            _ => Err(UserError::Range(text.to_owned())),
        }
    } else if text.chars().any(|char| char.is_control() || char.is_whitespace()) {
        Err(UserError::Malformed(text.to_owned()))
    } else {
        Ok(Wanted::Named(text))
    }
}

/// Checks the form of `user[:group]` without any file.
///
/// # Errors
/// An id out of range, control characters, or more than one colon.
pub fn check(spec: &str) -> Result<(), UserError> {
    split(spec).map(drop)
}

/// Whether `resolve` could need the group file: not when everything is a number.
#[must_use]
pub fn needs_groups(spec: &str, group_add: &[String]) -> bool {
    let number = |text: &str| matches!(wanted(text), Ok(Wanted::Id(_)));
    let primary = spec.split_once(':').is_some_and(|(_, group)| number(group));
    !primary || !group_add.iter().all(|group| number(group))
}

fn split(spec: &str) -> Result<(Wanted<'_>, Wanted<'_>), UserError> {
    let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
    if group.contains(':') {
        return Err(UserError::Malformed(spec.to_owned()));
    }
    Ok((wanted(user)?, wanted(group)?))
}

/// Whom `spec` (`user[:group]`, empty for root) and the further groups mean, given the content of
/// the container's `/etc/passwd` and `/etc/group` (`None`: there is none, or it can't be read).
///
/// A number needs no entry; its entry gives the group and the home directory all the same. The
/// first entry that fits counts, as for Docker. Damaged lines are skipped.
///
/// # Errors
/// [`UserError`] when a name has no entry or a number is out of range.
pub fn resolve(
    spec: &str,
    passwd: Option<&[u8]>,
    group: Option<&[u8]>,
    group_add: &[String],
) -> Result<ResolvedUser, UserError> {
    resolve_with(spec, (passwd, group), group_add, Memberships::Unchosen)
}

/// As [`resolve`], with a rule for the groups that the files give.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(
    spec: &str,
    (passwd, group): (Option<&[u8]>, Option<&[u8]>),
    group_add: &[String],
    memberships: Memberships,
) -> Result<ResolvedUser, UserError> {
    let (user, primary) = split(spec)?;
    let passwd = passwd.unwrap_or_default();
    let group = group.unwrap_or_default();

    let entry = users(passwd).find(|entry| match user {
        Wanted::Default => entry.uid == 0,
        Wanted::Id(id) => entry.uid == id,
        Wanted::Named(name) => entry.name == name,
    });
    let (uid, mut gid) = match (&entry, &user) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Wanted::Id(id)) => (*id, 0),
        (None, Wanted::Default) => (0, 0),
        (None, Wanted::Named(name)) => return Err(UserError::NoUser((*name).to_owned())),
    };
    let mut additional = Vec::new();
    match primary {
        Wanted::Id(id) => gid = id,
        Wanted::Named(name) => gid = group_id(group, name)?,
        Wanted::Default => {}
    }
    let count = match memberships {
        Memberships::Unchosen => matches!(primary, Wanted::Default),
        Memberships::Always => true,
        Memberships::Never => false,
    };
    if let Some(entry) = entry.as_ref().filter(|_| count) {
        let member = |members: &str| members.split(',').any(|name| name == entry.name);
        additional.extend(groups(group).filter(|g| member(g.members)).map(|group| group.gid));
    }
    for name in group_add {
        additional.push(match wanted(name)? {
            Wanted::Id(id) => id,
            Wanted::Named(name) => group_id(group, name)?,
            Wanted::Default => return Err(UserError::NoGroup(name.clone())),
        });
    }
    additional.push(gid);
    additional.sort_unstable();
    additional.dedup();
    let home = entry.map(|entry| entry.home).filter(|home| is_home(home));
    let home = home.unwrap_or(if uid == 0 { "/root" } else { "/" }).to_owned();
    Ok(ResolvedUser { uid, gid, additional_gids: additional, home })
}

fn group_id(group: &[u8], name: &str) -> Result<u32, UserError> {
    let found = groups(group).find(|entry| entry.name == name);
    found.map(|entry| entry.gid).ok_or_else(|| UserError::NoGroup(name.to_owned()))
}

/// A home directory becomes a variable of the environment.
fn is_home(home: &str) -> bool {
    home.starts_with('/') && !home.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
