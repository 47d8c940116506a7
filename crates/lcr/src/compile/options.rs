//! Mount options: which are attributes of a mount, which propagation, which are for the file
//! system.

use isula_sys::mount::{
    ATIME, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, STRICTATIME,
};

use crate::plan::{Attributes, Propagation, PropagationKind};

/// What an option does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Sets attributes.
    Set(u32),
    /// Clears attributes.
    Clear(u32),
    /// Sets attributes of the mount and all below it.
    SetAll(u32),
    /// Clears attributes of the mount and all below it.
    ClearAll(u32),
    /// Sets the propagation.
    Propagate(PropagationKind, bool),
    /// A bind mount, with all below it or not.
    Bind(bool),
    /// An idmapped mount, with all below it or not.
    Map(bool),
    /// The mount point's contents are copied up.
    CopyUp,
    /// A flag of the file system, which bind mounts cannot have.
    Flag,
    /// The default.
    Nothing,
}

use Effect::{Bind, Clear, ClearAll, CopyUp, Flag, Map, Nothing, Propagate, Set, SetAll};

const OPTIONS: [(&str, Effect); 65] = [
    ("async", Nothing),
    ("atime", Clear(NOATIME)),
    ("bind", Bind(false)),
    ("defaults", Nothing),
    ("dev", Clear(NODEV)),
    ("diratime", Clear(NODIRATIME)),
    ("dirsync", Flag),
    ("exec", Clear(NOEXEC)),
    ("idmap", Map(false)),
    ("lazytime", Flag),
    ("loud", Nothing),
    ("mand", Flag),
    ("noatime", Set(NOATIME)),
    ("nodev", Set(NODEV)),
    ("nodiratime", Set(NODIRATIME)),
    ("noexec", Set(NOEXEC)),
    ("nolazytime", Nothing),
    ("nomand", Nothing),
    ("norelatime", Nothing),
    ("nostrictatime", Clear(STRICTATIME)),
    ("nosuid", Set(NOSUID)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("private", Propagate(PropagationKind::Private, false)),
    ("ratime", ClearAll(NOATIME)),
    ("rbind", Bind(true)),
    ("rdev", ClearAll(NODEV)),
    ("rdiratime", ClearAll(NODIRATIME)),
    ("relatime", Clear(ATIME)),
    ("rexec", ClearAll(NOEXEC)),
    ("ridmap", Map(true)),
    ("rnoatime", SetAll(NOATIME)),
    ("rnodev", SetAll(NODEV)),
    ("rnodiratime", SetAll(NODIRATIME)),
    ("rnoexec", SetAll(NOEXEC)),
    ("rnorelatime", Nothing),
    ("rnostrictatime", ClearAll(STRICTATIME)),
    ("rnosuid", SetAll(NOSUID)),
    ("rnosymfollow", SetAll(NOSYMFOLLOW)),
    ("ro", Set(RDONLY)),
    ("rprivate", Propagate(PropagationKind::Private, true)),
    ("rrelatime", ClearAll(ATIME)),
    ("rro", SetAll(RDONLY)),
    ("rrw", ClearAll(RDONLY)),
    ("rshared", Propagate(PropagationKind::Shared, true)),
    ("rslave", Propagate(PropagationKind::Slave, true)),
    ("rstrictatime", SetAll(STRICTATIME)),
    ("rsuid", ClearAll(NOSUID)),
    ("rsymfollow", ClearAll(NOSYMFOLLOW)),
    ("runbindable", Propagate(PropagationKind::Unbindable, true)),
    ("rw", Clear(RDONLY)),
    ("shared", Propagate(PropagationKind::Shared, false)),
    ("silent", Nothing),
    ("slave", Propagate(PropagationKind::Slave, false)),
    ("strictatime", Set(STRICTATIME)),
    ("suid", Clear(NOSUID)),
    ("symfollow", Clear(NOSYMFOLLOW)),
    ("sync", Flag),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(PropagationKind::Unbindable, false)),
    // Of mount(8), without a meaning for the kernel.
    ("auto", Nothing),
    ("noauto", Nothing),
    ("nofail", Nothing),
    ("user", Nothing),
    ("nouser", Nothing),
    ("_netdev", Nothing),
];

/// Names of the options that are not for the file system, for `features`.
pub const KNOWN_OPTIONS: [&str; OPTIONS.len()] = {
    let mut names = [""; OPTIONS.len()];
    let mut index = 0;
    while index < OPTIONS.len() {
        #[expect(clippy::indexing_slicing, reason = "both arrays have the length of the loop")]
        {
            names[index] = OPTIONS[index].0;
        }
        index += 1;
    }
    names
};

/// The options of one mount, sorted by whom they are for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    /// For the mount.
    pub(super) attributes: Attributes,
    /// For its propagation.
    pub(super) propagation: Vec<Propagation>,
    /// A bind mount: with all below it or not.
    pub(super) bind: Option<bool>,
    /// An idmapped mount: with all below it or not.
    pub(super) idmap: Option<bool>,
    /// `tmpcopyup`.
    pub(super) copy_up: bool,
    /// For the file system.
    pub(super) data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Sorts the options; the later of two that contradict each other wins.
    pub(super) fn parse(list: &[String]) -> Self {
        let mut options = Self::default();
        for text in list {
            let known = OPTIONS.binary_search_by(|(name, _)| (*name).cmp(text)).ok();
            let known = known.and_then(|index| OPTIONS.get(index));
            let known = known.or_else(|| OPTIONS.iter().find(|(name, _)| name == text));
            match known.map(|(_, effect)| *effect) {
                Some(Flag) | None => options.data.push(match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (text.clone(), None),
                }),
                Some(effect) => options.apply(effect),
            }
        }
        options
    }

    fn apply(&mut self, effect: Effect) {
        let Attributes { set, clear, set_recursive, clear_recursive } = &mut self.attributes;
        match effect {
            Set(bits) => add(bits, set, clear),
            Clear(bits) => remove(bits, set, clear),
            SetAll(bits) => add(bits, set_recursive, clear_recursive),
            ClearAll(bits) => remove(bits, set_recursive, clear_recursive),
            Propagate(kind, recursive) => self.propagation.push(Propagation { kind, recursive }),
            Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            Map(recursive) => self.idmap = Some(recursive),
            CopyUp => self.copy_up = true,
            Flag | Nothing => {}
        }
    }
}

fn add(bits: u32, set: &mut u32, clear: &mut u32) {
    // Access times are one field: a new value takes the place of the old.
    if bits & ATIME != 0 {
        *set &= !ATIME;
    }
    *set |= bits;
    *clear &= !bits;
}

fn remove(bits: u32, set: &mut u32, clear: &mut u32) {
    *set &= !bits;
    *clear |= bits;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &[&str]) -> Options {
        Options::parse(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_option_is_found_wherever_it_stands_in_the_table() {
        for (name, effect) in OPTIONS {
            let found = parse(&[name]);
            assert_eq!(found.data.is_empty(), !matches!(effect, Flag), "{name}");
        }
    }

    #[test]
    fn the_later_of_two_options_wins() {
        assert_eq!(parse(&["ro", "rw"]).attributes.set, 0);
        assert_eq!(
            parse(&["rw", "ro"]).attributes,
            Attributes { set: RDONLY, ..Attributes::default() }
        );
        let times = parse(&["noatime", "strictatime"]).attributes;
        assert_eq!(times.set, STRICTATIME);
        assert_eq!(parse(&["noatime", "relatime"]).attributes.set, 0);
    }

    #[test]
    fn what_is_not_known_is_for_the_file_system() {
        let options = parse(&["mode=1777", "nosuid", "sync", "noswap"]);
        assert_eq!(options.attributes.set, NOSUID);
        let data = [("mode", Some("1777")), ("sync", None), ("noswap", None)]
            .map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        assert_eq!(options.data, data);
    }
}
