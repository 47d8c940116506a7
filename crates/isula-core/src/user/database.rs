//! Readers of passwd(5) and group(5). A line that is not well formed is as if it were not there.

use super::LIMIT;

/// A line of passwd(5).
pub(super) struct User<'a> {
    pub name: &'a str,
    pub uid: u32,
    pub gid: u32,
    pub home: &'a str,
}

/// A line of group(5).
pub(super) struct Group<'a> {
    pub name: &'a str,
    pub gid: u32,
    /// Separated by commas.
    pub members: &'a str,
}

/// The well-formed entries of a passwd file: `name:password:uid:gid:comment:home:shell`.
pub(super) fn users(file: &[u8]) -> impl Iterator<Item = User<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(User { name, uid, gid, home })
    })
}

/// The well-formed entries of a group file: `name:password:gid:members`.
pub(super) fn groups(file: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn lines(file: &[u8]) -> impl Iterator<Item = &str> {
    file.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = str::from_utf8(line).ok()?.trim();
        (!line.is_empty() && !line.starts_with('#')).then_some(line)
    })
}

fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|id| *id <= LIMIT)
}
