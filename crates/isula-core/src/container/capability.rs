//! Capabilities: their names, Docker's default set, and what `--cap-add`, `--cap-drop` and
//! `--privileged` make of it (capabilities(7)).

use std::collections::BTreeSet;

use super::Invalid;

/// Every capability of Linux, in the order of their numbers (linux/capability.h, 6.18).
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container gets when nothing is said (Docker's 14).
pub const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// One entry of `--cap-add` or `--cap-drop`.
enum Entry {
    All,
    One(&'static str),
}

fn entry(field: &'static str, text: &str) -> Result<Entry, Invalid> {
    let upper = text.to_ascii_uppercase();
    if upper == "ALL" || upper == "CAP_ALL" {
        return Ok(Entry::All);
    }
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let found = NAMES.iter().find(|name| name.strip_prefix("CAP_") == Some(bare));
    found
        .map(|name| Entry::One(name))
        .ok_or_else(|| Invalid::value(field, text, "there is no such capability"))
}

/// The capabilities of a container: Docker's rules. Dropping `ALL` leaves what was added; adding
/// `ALL` leaves out what was dropped; else the default without the dropped and with the added.
///
/// # Errors
/// A name that is no capability.
pub fn wanted(
    privileged: bool,
    add: &[String],
    drop: &[String],
) -> Result<BTreeSet<&'static str>, Invalid> {
    let (add_all, added) = entries("cap-add", add)?;
    let (drop_all, dropped) = entries("cap-drop", drop)?;
    let everything = || NAMES.iter().copied().collect::<BTreeSet<_>>();
    if privileged {
        return Ok(everything());
    }
    Ok(match (add_all, drop_all) {
        (true, true) => everything(),
        (true, false) => everything().difference(&dropped).copied().collect(),
        (false, true) => added,
        (false, false) => DEFAULT
            .iter()
            .copied()
            .filter(|name| !dropped.contains(name))
            .chain(added.iter().copied())
            .collect(),
    })
}

/// The ambient set: what `add` names, which belongs to all other sets as well (CRI).
///
/// # Errors
/// A name that is no capability.
pub fn ambient(add: &[String]) -> Result<BTreeSet<&'static str>, Invalid> {
    let (all, added) = entries("add_ambient_capabilities", add)?;
    Ok(if all { NAMES.iter().copied().collect() } else { added })
}

fn entries<'a>(
    field: &'static str,
    texts: impl IntoIterator<Item = &'a String>,
) -> Result<(bool, BTreeSet<&'static str>), Invalid> {
    let mut all = false;
    let mut names = BTreeSet::new();
    for text in texts {
        match entry(field, text)? {
            Entry::All => all = true,
            Entry::One(name) => {
                names.insert(name);
            }
        }
    }
    Ok((all, names))
}

/// The capabilities that were added by name and that the daemon can't give, for a warning.
///
/// # Errors
/// A name that is no capability.
pub fn missing<'a>(
    add: impl IntoIterator<Item = &'a String>,
    available: &[String],
) -> Result<Vec<&'static str>, Invalid> {
    let (_, added) = entries("cap-add", add)?;
    Ok(added.into_iter().filter(|name| !available.iter().any(|have| have == name)).collect())
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, NAMES, missing, wanted};

    fn texts(names: &str) -> Vec<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn added_and_dropped_capabilities_follow_docker() {
        // add, drop, size of the set, some that are in it, some that are not
        for (add, drop, size, has, lacks) in [
            ("", "", 14, "CAP_CHOWN CAP_AUDIT_WRITE", "CAP_SYS_ADMIN CAP_NET_ADMIN"),
            ("net_admin", "", 15, "CAP_NET_ADMIN", ""),
            ("CAP_NET_ADMIN", "chown MKNOD", 13, "CAP_NET_ADMIN", "CAP_CHOWN CAP_MKNOD"),
            ("", "ALL", 0, "", "CAP_CHOWN"),
            ("kill", "all", 1, "CAP_KILL", "CAP_CHOWN"),
            ("ALL", "sys_admin", 40, "CAP_BPF", "CAP_SYS_ADMIN"),
            ("ALL", "", 41, "CAP_SYS_ADMIN", ""),
            ("all", "all", 41, "CAP_SYS_ADMIN", ""),
            ("chown", "chown", 14, "CAP_CHOWN", ""),
        ] {
            let set = wanted(false, &texts(add), &texts(drop)).unwrap();
            assert_eq!(set.len(), size, "+{add} -{drop}");
            assert!(texts(has).iter().all(|name| set.contains(name.as_str())), "+{add} -{drop}");
            assert!(!texts(lacks).iter().any(|name| set.contains(name.as_str())), "+{add} -{drop}");
        }
        assert_eq!(wanted(true, &[], &texts("ALL")).unwrap().len(), NAMES.len());
        assert!(DEFAULT.iter().all(|name| NAMES.contains(name)));
    }

    #[test]
    fn unknown_capabilities_are_refused_and_missing_ones_are_named() {
        for name in ["", "CAP_", "CAP_FOO", "SYS_ADMIN ", "CAP_CAP_KILL"] {
            assert!(wanted(false, &[name.to_owned()], &[]).is_err(), "{name}");
            assert!(wanted(true, &[], &[name.to_owned()]).is_err(), "{name}");
        }
        let available = texts("CAP_CHOWN");
        assert_eq!(missing(&texts("chown bpf"), &available).unwrap(), ["CAP_BPF"]);
    }
}
