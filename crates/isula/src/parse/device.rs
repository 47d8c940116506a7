//! `--device`, `--device-cgroup-rule` and `--hugetlb-limit`.

use isula_api::v1::Device;

use super::size;

/// A device of a `--device`.
#[derive(Debug, PartialEq)]
pub enum Named {
    /// A node of the host.
    Node(Device),
    /// A qualified name of the Container Device Interface, which the daemon knows to read.
    Cdi(String),
}

/// `host[:container][:permissions]`, or `vendor.com/class=device`.
///
/// # Errors
/// As [`device`].
pub fn named(text: &str) -> Result<Named, String> {
    match !text.starts_with('/') && text.contains('=') {
        true => Ok(Named::Cdi(text.to_owned())),
        false => device(text).map(Named::Node),
    }
}

/// `host[:container][:permissions]`.
///
/// # Errors
/// Relative paths, permissions other than of r, w and m.
pub fn device(text: &str) -> Result<Device, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_permissions(mode) => (*host, *host, *mode),
        [host, container] => (*host, *container, "rwm"),
        [host, container, mode] => (*host, *container, *mode),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    if !is_permissions(permissions) {
        return Err(format!("invalid device mode: {permissions}"));
    }
    for path in [host, container] {
        if !path.starts_with('/') {
            return Err(format!("{path:?} is not an absolute path"));
        }
    }
    Ok(Device {
        host: host.to_owned(),
        container: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}

fn is_permissions(text: &str) -> bool {
    let each = |letter: char| text.matches(letter).count() <= 1;
    !text.is_empty() && text.bytes().all(|b| b"rwm".contains(&b)) && "rwm".chars().all(each)
}

/// `a|b|c MAJOR:MINOR rwm`, numbers may be `*`.
///
/// # Errors
/// Anything else.
pub fn cgroup_rule(text: &str) -> Result<String, String> {
    let invalid = || format!("invalid device cgroup format '{text}'");
    let number =
        |part: &str| part == "*" || part.parse::<u32>().is_ok_and(|_| !part.starts_with('+'));
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, permissions] = words.as_slice() else { return Err(invalid()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let right = matches!(*kind, "a" | "b" | "c")
        && number(major)
        && number(minor)
        && is_permissions(permissions);
    if right { Ok(text.to_owned()) } else { Err(invalid()) }
}

/// `PAGESIZE:LIMIT` as the name of the controller's files (`2MB`) and bytes.
///
/// # Errors
/// A missing page size, one that is no power of two, a malformed limit.
pub fn hugetlb(text: &str) -> Result<(String, u64), String> {
    let Some((page, limit)) = text.split_once(':') else {
        return Err("a limit of huge pages is written PAGESIZE:LIMIT".to_owned());
    };
    let (page_bytes, limit) = (size::bytes(page)?, size::bytes(limit)?);
    if !page_bytes.is_power_of_two() || page_bytes < 1 << 10 {
        return Err(format!("invalid page size: '{page}'"));
    }
    let name = match page_bytes.trailing_zeros() {
        30.. => format!("{}GB", page_bytes >> 30),
        20..=29 => format!("{}MB", page_bytes >> 20),
        _ => format!("{}KB", page_bytes >> 10),
    };
    Ok((name, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_two_paths_and_permissions() {
        let table = [
            ("/dev/null", Some("/dev/null /dev/null rwm")),
            ("/dev/null:rw", Some("/dev/null /dev/null rw")),
            ("/dev/null:/dev/x", Some("/dev/null /dev/x rwm")),
            ("/dev/null:/dev/x:r", Some("/dev/null /dev/x r")),
            ("/dev/null:/dev/x:rr", None),
            ("/dev/null:/dev/x:rwx", None),
            ("/dev/null:x", None),
            ("dev/null", None),
            ("", None),
            ("/a:/b:r:w", None),
            ("vendor.com/class=name", None),
        ];
        let cdi = "vendor.com/class=name".to_owned();
        assert_eq!(named(&cdi), Ok(Named::Cdi(cdi)));
        assert!(matches!(named("/dev/a=b"), Ok(Named::Node(_))));
        assert!(named("class").is_err());
        for (text, expected) in table {
            let shown = |d: Device| format!("{} {} {}", d.host, d.container, d.permissions);
            assert_eq!(device(text).ok().map(shown).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn rules_have_a_type_numbers_and_permissions() {
        for text in ["c 1:3 mr", "a *:* rwm", "b 8:* w"] {
            assert_eq!(cgroup_rule(text).as_deref(), Ok(text));
        }
        for text in ["", "c", "c 1 r", "d 1:3 r", "c 1:3 x", "c  1:3 r", "c +1:3 r", "c 1:3 "] {
            assert!(cgroup_rule(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn huge_pages_are_named_as_the_kernels_files() {
        assert_eq!(hugetlb("2M:32M"), Ok(("2MB".to_owned(), 32 << 20)));
        assert_eq!(hugetlb("1G:1G"), Ok(("1GB".to_owned(), 1 << 30)));
        assert_eq!(hugetlb("64k:0"), Ok(("64KB".to_owned(), 0)));
        for text in ["32M", "3M:1G", "0:1", ":1", "2M:", "512:1k"] {
            assert!(hugetlb(text).is_err(), "{text}");
        }
    }
}
