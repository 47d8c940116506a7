//! Who makes control groups, and the names that systemd has for them: slices, which hold others, and
//! scopes, which hold processes (systemd.slice(5), systemd.scope(5)).

use std::fmt;

use crate::container::Invalid;

/// Who makes the control groups of containers and pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupDriver {
    /// The engine itself, by the kernel's file system.
    #[default]
    Cgroupfs,
    /// systemd, which is asked for them.
    Systemd,
}

impl CgroupDriver {
    /// Docker's and Kubernetes' name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }
}

const SLICE: &str = ".slice";
/// What the scopes of this engine begin with.
const PREFIX: &str = "isulad";
/// The longest name of a unit (`UNIT_NAME_MAX` of systemd).
const LIMIT: usize = 255;

/// A slice. Its name says where it is: `a-b.slice` is in `a.slice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice(String);

impl Slice {
    /// The slice that a parent names: its name, or a path of which the last part is the name, as
    /// kubelet has it. `field` is for the error.
    ///
    /// # Errors
    /// It is not the name of a slice.
    pub fn parse(field: &'static str, parent: &str) -> Result<Self, Invalid> {
        let name = parent.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let wrong = |why: &str| Err(Invalid::value(field, parent, why));
        let Some(stem) = name.strip_suffix(SLICE) else {
            return wrong("with the systemd cgroup driver it must be a slice such as a-b.slice");
        };
        let fits = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if name.len() > LIMIT || !stem.chars().all(fits) {
            return wrong("it is not the name of a slice: letters, digits, '_', '.', '-'");
        }
        if stem != "-" && stem.split('-').any(str::is_empty) {
            return wrong("it is not the name of a slice: a '-' stands between two names");
        }
        Ok(Self(name.to_owned()))
    }

    /// Its name, which is that of the unit.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    fn stem(&self) -> &str {
        self.0.strip_suffix(SLICE).unwrap_or(&self.0)
    }

    /// The path of its control group: every slice that it is in comes before it.
    #[must_use]
    pub fn path(&self) -> String {
        let stem = self.stem();
        if stem == "-" {
            return "/".to_owned();
        }
        let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
        let above = ends.filter_map(|end| stem.get(..end));
        above.map(|stem| format!("/{stem}{SLICE}")).collect()
    }

    /// The slice of this name in it; the name has no `-`.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        match self.stem() {
            "-" => Self(format!("{name}{SLICE}")),
            stem => Self(format!("{stem}-{name}{SLICE}")),
        }
    }
}

/// The scope of a container, as the OCI runtimes with a systemd driver write it in
/// `linux.cgroupsPath`: `slice:prefix:name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerScope {
    slice: Slice,
    prefix: String,
    name: String,
}

impl ContainerScope {
    /// That of a container of this engine.
    #[must_use]
    pub fn new(slice: Slice, id: &str) -> Self {
        Self { slice, prefix: PREFIX.to_owned(), name: id.to_owned() }
    }

    /// Reads `slice:prefix:name`.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const FIELD: &str = "linux.cgroupsPath";
        let wrong = || Invalid::value(FIELD, text, "it must be slice:prefix:name");
        let mut parts = text.split(':');
        let (Some(slice), Some(prefix), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let fits = |text: &str| {
            let fits = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
            !text.is_empty() && text.chars().all(fits)
        };
        if !fits(prefix) || !fits(name) {
            return Err(wrong());
        }
        let (prefix, name) = (prefix.to_owned(), name.to_owned());
        Ok(Self { slice: Slice::parse(FIELD, slice)?, prefix, name })
    }

    /// The slice that it is in.
    #[must_use]
    pub const fn slice(&self) -> &Slice {
        &self.slice
    }

    /// The name of the unit.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}-{}.scope", self.prefix, self.name)
    }

    /// The path of its control group.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.slice.path().trim_end_matches('/'), self.unit())
    }

    /// The container whose scope a unit of this engine is.
    #[must_use]
    pub fn id_of(unit: &str) -> Option<&str> {
        unit.strip_prefix(PREFIX)?.strip_prefix('-')?.strip_suffix(".scope")
    }
}

impl fmt::Display for ContainerScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.slice.name(), self.prefix, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{ContainerScope, Slice};

    fn slice(text: &str) -> Slice {
        Slice::parse("cgroup-parent", text).unwrap()
    }

    #[test]
    fn the_name_of_a_slice_says_where_it_is() {
        for (parent, path) in [
            ("system.slice", "/system.slice"),
            ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice",
            ),
            ("-.slice", "/"),
        ] {
            assert_eq!(slice(parent).path(), path, "{parent}");
        }
        assert_eq!(slice("a.slice").child("pod1").name(), "a-pod1.slice");
        assert_eq!(slice("-.slice").child("pod1").name(), "pod1.slice");
    }

    #[test]
    fn what_is_not_the_name_of_a_slice_is_refused() {
        let long = format!("{}.slice", "a".repeat(255));
        for wrong in
            ["", "/", "/kubepods", ".slice", "a--b.slice", "-a.slice", "a-.slice", "a b.slice"]
                .into_iter()
                .chain(["a:b.slice", "a.slice/b", "a.scope", "é.slice", "--.slice", &long])
        {
            let error = Slice::parse("cgroup-parent", wrong).unwrap_err().to_string();
            assert!(error.contains("cgroup-parent"), "{error}");
        }
    }

    #[test]
    fn a_scope_is_written_and_read_as_runtimes_do_it() {
        let scope = ContainerScope::new(slice("a-b.slice"), "0f");
        assert_eq!(scope.to_string(), "a-b.slice:isulad:0f");
        assert_eq!(scope.unit(), "isulad-0f.scope");
        assert_eq!(scope.path(), "/a.slice/a-b.slice/isulad-0f.scope");
        assert_eq!(ContainerScope::parse(&scope.to_string()).unwrap(), scope);
        assert_eq!(ContainerScope::id_of(&scope.unit()), Some("0f"));
        assert_eq!(ContainerScope::id_of("isulad.service"), None);
        assert_eq!(ContainerScope::new(slice("-.slice"), "1").path(), "/isulad-1.scope");
        for wrong in ["", "/isulad/x", "a.slice:b", "a.slice:b:c:d", "a:b:c", "a.slice::c"] {
            ContainerScope::parse(wrong).unwrap_err();
        }
        ContainerScope::parse("a.slice:b:../c").unwrap_err();
    }
}
