//! From `linux.resources` to a control group: what to write, and the writing of it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use isula_sys::{bpf, errno};
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::devices::{self, Devices};
use super::directory;
use super::{Cgroup, CgroupError, Controller, Controllers, Hierarchies, Maker, Version};

const EBUSY: i32 = 16;

/// What to do when the kernel does not take a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Tolerance {
    /// It is an error.
    None,
    /// It is no matter if there is no such file: the value is what would be without it.
    Absent,
    /// Two limits bound each other; once the other is written this one may be possible.
    Order,
}

/// One value for one file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Write {
    pub(super) controller: Controllers,
    pub(super) file: String,
    pub(super) value: String,
    /// Used where `file` does not exist.
    pub(super) alternative: Option<(String, String)>,
    pub(super) tolerance: Tolerance,
    /// The field of `config.json` that asks for it.
    pub(super) field: String,
}

/// A control group and its limits, ready to be made. It can be encoded and sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct CgroupPlan {
    cgroup: Cgroup,
    /// With version 2, what the limits need beside what is always enabled.
    required: Controllers,
    writes: Vec<Write>,
    devices: Devices,
    warnings: Vec<String>,
}

impl CgroupPlan {
    /// The plan for a new group at `path`, from the roots of the trees. Devices are denied but
    /// for what `resources.devices` allows and the ones every container has, as with runc.
    ///
    /// # Errors
    /// Names the field that this kernel, or this version of control groups, cannot honour.
    pub fn new(
        hierarchies: &Hierarchies,
        path: &Path,
        resources: &LinuxResources,
    ) -> Result<Self, CgroupError> {
        Self::of(Cgroup::new(hierarchies, path)?, resources)
    }

    /// As [`CgroupPlan::new`], for a group that is known, be it made by somebody else.
    ///
    /// # Errors
    /// As there.
    pub fn of(cgroup: Cgroup, resources: &LinuxResources) -> Result<Self, CgroupError> {
        let rules = resources.devices().as_deref().unwrap_or_default();
        let devices = devices::compile(rules, &cgroup.hierarchies)?;
        Self::with_devices(cgroup, resources, devices, true)
    }

    fn with_devices(
        cgroup: Cgroup,
        resources: &LinuxResources,
        devices: Devices,
        fresh: bool,
    ) -> Result<Self, CgroupError> {
        let limits = super::resources::compile(&cgroup, resources, fresh)?;
        let (writes, warnings) = (limits.writes, limits.warnings);
        let required = limits.required;
        Ok(Self { cgroup, required, writes, devices, warnings })
    }

    /// The group that the plan is for.
    #[must_use]
    pub const fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// What was asked and is left out, for the user to know: limits of huge pages on a machine
    /// without that controller.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What the limits come to: files of the group and the values for them.
    pub fn limits(&self) -> impl Iterator<Item = (&str, &str)> {
        self.writes.iter().flat_map(|write| {
            let second = write.alternative.as_ref().map(|(file, value)| (&**file, &**value));
            std::iter::once((&*write.file, &*write.value)).chain(second)
        })
    }

    /// Makes the group and limits it. One that exists is used. Groups on the way to it are made;
    /// those stay when it is removed. One that somebody else makes must be there.
    ///
    /// # Errors
    /// Names what cannot be made or set; the group is removed then, unless it was there before.
    pub fn create(&self) -> Result<(), CgroupError> {
        if self.cgroup.maker() == Maker::Manager && !self.cgroup.exists() {
            let path = self.cgroup.path().to_owned();
            return Err(CgroupError::io("find", path, io::ErrorKind::NotFound.into()));
        }
        let mut made = false;
        let result = self.make_directories(&mut made).and_then(|()| self.apply());
        if result.is_err() && made {
            // The first error is the one to tell.
            let _ = self.cgroup.remove();
        }
        result
    }

    /// [`Cgroup::remove`] of the plan's group.
    ///
    /// # Errors
    /// As there.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.cgroup.remove()
    }

    /// [`Cgroup::join_self`] of the plan's group.
    ///
    /// # Errors
    /// As there.
    pub fn join_self(&self) -> Result<(), CgroupError> {
        self.cgroup.join_self()
    }

    /// [`Cgroup::open_into`] of the plan's group.
    ///
    /// # Errors
    /// As there.
    pub fn open_into(&self) -> Result<Option<OwnedFd>, CgroupError> {
        self.cgroup.open_into()
    }

    /// Sets the limits of a group that exists.
    ///
    /// # Errors
    /// Names what cannot be set; the limits before it have been changed.
    pub fn update(&self) -> Result<(), CgroupError> {
        if self.cgroup.version() == Version::V2 && !self.required.is_empty() {
            self.enable_controllers()?;
        }
        self.apply()
    }

    fn make_directories(&self, made: &mut bool) -> Result<(), CgroupError> {
        let path = self.cgroup.path();
        let mut masked = None;
        for (hierarchy, directory) in self.cgroup.directories() {
            if self.cgroup.version() == Version::V2 {
                self.enable_controllers()?;
            }
            match directory::make(&directory) {
                Ok(false) => {}
                Ok(true) => {
                    *made = true;
                    directory::open_up(&directory, &mut masked)?;
                }
                Err(error) if directory::is_absent(&error) => {
                    *made = true;
                    directory::make_all(self.cgroup.version(), hierarchy, path)?;
                }
                Err(cause) => return Err(CgroupError::io("make", directory, cause)),
            }
            if self.cgroup.version() == Version::V1 && hierarchy.controllers.has(Controller::Cpuset)
            {
                directory::fill_cpuset(&directory)?;
            }
        }
        Ok(())
    }

    /// Version 2: a group has the controllers that its parent hands down.
    fn enable_controllers(&self) -> Result<(), CgroupError> {
        let Some(hierarchy) = self.cgroup.hierarchies.list.first() else { return Ok(()) };
        let Some(parent) = self.cgroup.path().parent() else { return Ok(()) };
        let wanted = directory::always_enabled().and(hierarchy.controllers).or(self.required);
        let file = hierarchy.mount.join(parent).join("cgroup.subtree_control");
        let enabled = match directory::read_if_present(&file)? {
            Some(names) => Controllers::from_names(names.split_ascii_whitespace()),
            None => {
                directory::make_all(Version::V2, hierarchy, parent)?;
                Controllers::default()
            }
        };
        if wanted.without(enabled).is_empty() {
            return Ok(());
        }
        directory::enable(hierarchy, parent, wanted, self.required)
    }

    fn apply(&self) -> Result<(), CgroupError> {
        self.apply_devices()?;
        let mut later = Vec::new();
        for write in &self.writes {
            match self.put(write) {
                Err(CgroupError::Write { cause, .. })
                    if write.tolerance == Tolerance::Order && bounds_another(&cause) =>
                {
                    later.push(write);
                }
                other => other?,
            }
        }
        later.into_iter().try_for_each(|write| self.put(write))
    }

    fn put(&self, write: &Write) -> Result<(), CgroupError> {
        let directory = self.directory_of(write)?;
        let first = (&write.file, &write.value);
        let second = write.alternative.as_ref().map(|(file, value)| (file, value));
        let mut answer = Ok(());
        for (file, value) in std::iter::once(first).chain(second) {
            let path = directory.join(file);
            // One line a write: the kernel reads no second one (io.max, rdma.max).
            let written = value.split('\n').try_for_each(|line| directory::write(&path, line));
            let Err(cause) = written else { return Ok(()) };
            let absent = directory::is_absent(&cause);
            let (field, value) = (write.field.clone(), value.clone());
            answer = Err(CgroupError::Write { field, value, path, cause });
            if !absent {
                return answer;
            }
        }
        if write.tolerance == Tolerance::Absent { Ok(()) } else { answer }
    }

    fn directory_of(&self, write: &Write) -> Result<PathBuf, CgroupError> {
        let found = self.cgroup.directories().find(|(hierarchy, _)| {
            self.cgroup.version() == Version::V2
                || !hierarchy.controllers.and(write.controller).is_empty()
        });
        found.map(|(_, directory)| directory).ok_or(CgroupError::NotMounted)
    }

    fn apply_devices(&self) -> Result<(), CgroupError> {
        match &self.devices {
            Devices::Unchanged => Ok(()),
            Devices::Files(lines) => self.write_devices(lines),
            Devices::Program(program) => {
                let directory = self.cgroup.directories().next().map(|(_, path)| path);
                let path = directory.ok_or(CgroupError::NotMounted)?;
                attach(&path, program.as_deref())
                    .map_err(|cause| CgroupError::io("limit devices of", path, cause))
            }
        }
    }

    fn write_devices(&self, lines: &[(bool, String)]) -> Result<(), CgroupError> {
        let directory = self.cgroup.directory(Controller::Devices);
        let directory = directory.ok_or(CgroupError::NotMounted)?;
        // The first line is the default, all others are exceptions to it: two files, of which
        // each is opened once.
        let mut open: Option<(bool, PathBuf, File)> = None;
        for (allow, line) in lines {
            let (path, file) = match &mut open {
                Some((kind, path, file)) if kind == allow => (path, file),
                _ => {
                    let name = if *allow { "devices.allow" } else { "devices.deny" };
                    let path = directory.join(name);
                    let file = directory::open_to_write(&path)
                        .map_err(|cause| CgroupError::io("open", path.clone(), cause))?;
                    let (_, path, file) = open.insert((*allow, path, file));
                    (path, file)
                }
            };
            let Err(cause) = file.write_all(line.as_bytes()) else { continue };
            // The group above does not allow everything: then what it allows is all.
            if *allow && line == "a" && cause.raw_os_error() == Some(errno::EPERM) {
                continue;
            }
            let (field, value) = (devices::FIELD.to_owned(), line.clone());
            return Err(CgroupError::Write { field, value, path: path.clone(), cause });
        }
        Ok(())
    }
}

impl Cgroup {
    /// Changes the limits of a group that exists to what `resources` names; the others stay.
    /// Devices too stay as they are unless rules are given.
    ///
    /// # Errors
    /// As [`CgroupPlan::new`] and [`CgroupPlan::create`]; the limits before the one that fails
    /// have been changed. With `memory.checkBeforeUpdate` none has if more memory is in use.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        self.plan_update(resources)?.update()
    }

    /// What [`Cgroup::update`] would do.
    ///
    /// # Errors
    /// As [`CgroupPlan::new`]; `memory.checkBeforeUpdate` is checked, too.
    pub fn plan_update(&self, resources: &LinuxResources) -> Result<CgroupPlan, CgroupError> {
        let devices = match resources.devices().as_deref() {
            None | Some([]) => Devices::Unchanged,
            Some(rules) => devices::compile(rules, &self.hierarchies)?,
        };
        super::resources::check_usage(self, resources)?;
        CgroupPlan::with_devices(self.clone(), resources, devices, false)
    }
}

/// `EINVAL` when one limit would exceed another, `EBUSY` when usage does.
fn bounds_another(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(errno::EINVAL | EBUSY))
}

/// Makes `program` the only one on the group; none takes all off.
fn attach(path: &Path, program: Option<&[u8]>) -> io::Result<()> {
    let group = File::open(path)?;
    let before = bpf::attached(group.as_fd())?;
    if let Some(program) = program {
        let program = bpf::load_device_program(program)?;
        if let [old] = before.as_slice()
            && bpf::replace(group.as_fd(), program.as_fd(), old.as_fd()).is_ok()
        {
            return Ok(());
        }
        // All programs must allow an access: at no time more is allowed than by one of them.
        bpf::attach(group.as_fd(), program.as_fd())?;
    }
    before.iter().try_for_each(|old| bpf::detach(group.as_fd(), old.as_fd()))
}
