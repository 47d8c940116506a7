//! `mounts` of a configuration.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxIdMapping, Mount as SpecMount, Spec};

use super::options::Options;
use super::{Setting, tidy};
use crate::cgroup::{CgroupPlan, Version};
use crate::error::Error;
use crate::init::mounts::COVERABLE_IN_PROC;
use crate::plan::{Attributes, IdMap, IdMapping, Mount, MountKind};

pub(super) fn compile(
    spec: &Spec,
    setting: &Setting<'_>,
    cgroup: &CgroupPlan,
) -> Result<Vec<Mount>, Error> {
    let list = spec.mounts().iter().flatten();
    list.enumerate().map(|(index, mount)| One { index, mount, setting, cgroup }.compile()).collect()
}

/// Whether the runtime fills `/dev`: not where it is the host's.
pub(super) fn populates_dev(mounts: &[Mount]) -> bool {
    !mounts
        .iter()
        .any(|mount| mount.destination == "/dev" && matches!(mount.kind, MountKind::Bind { .. }))
}

struct One<'a> {
    index: usize,
    mount: &'a SpecMount,
    setting: &'a Setting<'a>,
    cgroup: &'a CgroupPlan,
}

impl One<'_> {
    fn field(&self, name: &str) -> String {
        format!("mounts[{}].{name}", self.index)
    }

    fn compile(&self) -> Result<Mount, Error> {
        let empty = Vec::new();
        let mut options = Options::parse(self.mount.options().as_ref().unwrap_or(&empty));
        let kind = self.mount.typ().as_deref().unwrap_or_default();
        if let Some((text, _)) =
            options.data.iter().find(|(key, _)| key == "remount" || key == "move")
        {
            return Err(Error::unsupported(self.field("options"), text));
        }
        let destination = self.destination(kind)?;
        let recursive = match kind {
            "bind" => Some(options.bind.unwrap_or(false)),
            "rbind" => Some(true),
            _ => options.bind,
        };
        let copy_up = options.copy_up;
        if copy_up && (kind != "tmpfs" || recursive.is_some()) {
            return Err(Error::invalid(self.field("options"), "tmpcopyup is for tmpfs alone"));
        }
        let layers = kind == "overlay" && options.data.iter().any(|(key, _)| key == "lowerdir+");
        if recursive.is_none() {
            if !layers {
                self.refuse_idmap(&options)?;
            }
            // Nothing is mounted below a new file system: for all is for itself.
            let Attributes { set, clear, set_recursive, clear_recursive } = options.attributes;
            options.attributes = Attributes {
                set: set | set_recursive,
                clear: clear | clear_recursive,
                ..Attributes::default()
            };
        }
        let kind = match (recursive, kind) {
            (Some(recursive), _) => self.bind(recursive, &options)?,
            (None, "") => return Err(Error::invalid(self.field("type"), "it is missing")),
            (None, "cgroup") => self.cgroup_mount(&options)?,
            (None, _) if layers => self.layers(&options)?,
            (None, kind) => self.filesystem(kind, &mut options, copy_up)?,
        };
        Ok(Mount {
            destination,
            kind,
            attributes: options.attributes,
            propagation: options.propagation,
        })
    }

    fn destination(&self, kind: &str) -> Result<String, Error> {
        let field = || self.field("destination");
        let path = self.mount.destination();
        let text =
            tidy(path).ok_or_else(|| Error::invalid(field(), "it is not an absolute path"))?;
        if text == "/" {
            return Err(Error::invalid(field(), "it is the root"));
        }
        // Where `..` leads is seen when it is mounted; here is what can be told from the text.
        if text.starts_with("/proc/") && !COVERABLE_IN_PROC.contains(&text.as_str()) {
            return Err(Error::unsupported(field(), format!("{text} lies in procfs")));
        }
        let is_proc = || {
            let source = self.mount.source().as_ref()?;
            let found = rustix::fs::statfs(self.setting.bundle.join(source)).ok()?;
            Some(found.f_type == 0x9fa0)
        };
        if text == "/proc" && kind != "proc" && is_proc() != Some(true) {
            return Err(Error::unsupported(field(), "/proc can only be procfs"));
        }
        Ok(text)
    }

    fn refuse_idmap(&self, options: &Options) -> Result<(), Error> {
        let field = if options.idmap.is_some() {
            "options"
        } else if self.mount.uid_mappings().as_ref().is_some_and(|list| !list.is_empty()) {
            "uidMappings"
        } else if self.mount.gid_mappings().as_ref().is_some_and(|list| !list.is_empty()) {
            "gidMappings"
        } else {
            return Ok(());
        };
        Err(Error::unsupported(self.field(field), "only bind mounts can be idmapped"))
    }

    fn bind(&self, recursive: bool, options: &Options) -> Result<MountKind, Error> {
        if let Some((key, _)) = options.data.first() {
            let why = format!("{key} means nothing for a bind mount");
            return Err(Error::invalid(self.field("options"), why));
        }
        let source = self.mount.source().as_ref();
        let source = source.filter(|source| !source.as_os_str().is_empty());
        let source: PathBuf = match source {
            Some(source) => self.setting.bundle.join(source),
            None => return Err(Error::invalid(self.field("source"), "it is missing")),
        };
        if source.to_str().is_none() {
            return Err(Error::unsupported(self.field("source"), "it is not UTF-8"));
        }
        Ok(MountKind::Bind { source, recursive, idmap: self.idmap(options)? })
    }

    /// An overlay of directories named one by one, which nothing is written to. `x-lcr.subpath`
    /// names the directory of it that is mounted.
    fn layers(&self, options: &Options) -> Result<MountKind, Error> {
        let (mut lower, mut sub_path) = (Vec::new(), String::new());
        for (key, value) in &options.data {
            match (key.as_str(), value) {
                ("lowerdir+", Some(path)) if path.starts_with('/') => lower.push(path.into()),
                ("x-lcr.subpath", Some(path)) => sub_path.clone_from(path),
                _ => return Err(Error::unsupported(self.field("options"), key)),
            }
        }
        if lower.len() < 2 {
            let why = "an overlay without a writable layer has two others at least";
            return Err(Error::invalid(self.field("options"), why));
        }
        Ok(MountKind::Layers { lower, sub_path, idmap: self.idmap(options)? })
    }

    fn idmap(&self, options: &Options) -> Result<Option<IdMap>, Error> {
        let list =
            |list: &Option<Vec<LinuxIdMapping>>| list.as_deref().map(mappings).unwrap_or_default();
        let uid_mappings = list(self.mount.uid_mappings());
        let gid_mappings = list(self.mount.gid_mappings());
        if uid_mappings.is_empty() != gid_mappings.is_empty() {
            let field = if uid_mappings.is_empty() { "uidMappings" } else { "gidMappings" };
            return Err(Error::invalid(self.field(field), "it is missing, the other one is there"));
        }
        if uid_mappings.is_empty() && options.idmap.is_none() {
            return Ok(None);
        }
        let recursive = options.idmap.unwrap_or(false);
        Ok(Some(IdMap { uid_mappings, gid_mappings, recursive }))
    }

    fn cgroup_mount(&self, options: &Options) -> Result<MountKind, Error> {
        if let Some((key, _)) = options.data.first() {
            return Err(Error::unsupported(self.field("options"), key));
        }
        if self.cgroup.cgroup().version() == Version::V2 {
            return Ok(MountKind::Filesystem {
                kind: "cgroup2".to_owned(),
                source: "cgroup".to_owned(),
                options: Vec::new(),
                copy_up: false,
            });
        }
        let mut groups = Vec::new();
        let mut links = Vec::new();
        for (hierarchy, group) in self.cgroup.cgroup().directories() {
            let Some(name) = hierarchy.mount.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            // Controllers that are mounted together are found by each of their names.
            if name.contains(',') {
                links.extend(name.split(',').map(|one| (one.to_owned(), name.to_owned())));
            }
            groups.push((name.to_owned(), group));
        }
        Ok(MountKind::CgroupV1 { groups, links })
    }

    fn filesystem(
        &self,
        kind: &str,
        options: &mut Options,
        copy_up: bool,
    ) -> Result<MountKind, Error> {
        let source = self.mount.source().as_deref().unwrap_or(Path::new(kind));
        let source = source
            .to_str()
            .ok_or_else(|| Error::unsupported(self.field("source"), "it is not UTF-8"))?;
        let mut data = std::mem::take(&mut options.data);
        // Since Linux 4.7 every devpts is an instance of its own.
        data.retain(|(key, _)| !(kind == "devpts" && key == "newinstance"));
        Ok(MountKind::Filesystem {
            kind: kind.to_owned(),
            source: if source.is_empty() { kind } else { source }.to_owned(),
            options: data,
            copy_up,
        })
    }
}

/// Mappings of a configuration.
pub(super) fn mappings(list: &[LinuxIdMapping]) -> Vec<IdMapping> {
    list.iter()
        .map(|one| IdMapping {
            container: one.container_id(),
            host: one.host_id(),
            size: one.size(),
        })
        .collect()
}
