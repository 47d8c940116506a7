//! The systemd driver of control groups: systemd makes and removes them, and is asked for that over
//! D-Bus. Nothing is connected between two requests.
//!
//! A scope is made with a process in it, and is gone when it is empty. The process that it begins
//! with only waits: the container's init is born in the scope, as it is in any other group, and then
//! the first one ends ([`Held`]). So a container is started in the same way with both drivers.
//!
//! ```text
//!   StartTransientUnit (scope, limits, waiting process) ──▶ JobRemoved: the group is there
//!   shim: clone3(CLONE_INTO_CGROUP) ──▶ the waiting process ends
//!   the last process ends ──▶ systemd removes the group and forgets the scope
//! ```

mod bus;
mod limits;
mod wire;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use isula_core::cgroup::{ContainerScope, Slice};
use isula_core::error::{ErrorKind, PortError};
use isula_core::ports::Result;
use lcr::cgroup::{Cgroup, CgroupError, Hierarchies, Maker, Version};

use crate::program::Program;
use bus::{Bus, BusError, MANAGER, Sockets};
use limits::{INFINITY, properties};
use wire::{Method, Property, Value, Writer};

/// There when systemd is the first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
const BUS: &str = "/run/dbus/system_bus_socket";
const PRIVATE: &str = "/run/systemd/private";

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// systemd as the maker of control groups. All of it blocks.
#[derive(Debug, Clone)]
pub(crate) struct Systemd {
    sockets: Sockets,
    /// What a scope begins with.
    program: Arc<Program>,
}

/// A process that keeps a scope until the container is in it.
#[derive(Debug)]
pub(crate) struct Held(Child);

impl Held {
    /// Starts a process that waits; it goes when this does, or the daemon.
    fn start(program: &Program) -> std::io::Result<Self> {
        let mut command = program.command();
        // It holds none of the kinds of namespaces there are.
        command.args([isulad_shim::pod::HOLDER, "0"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut held = Self(command.spawn()?);
        // By then it is what it will be: a new program.
        let said =
            held.0.stdout.take().map(|out| BufReader::new(out).read_line(&mut String::new()));
        said.transpose()?;
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have been killed with all that was in the scope.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Systemd {
    /// systemd, if it is the first process of a machine with control groups of version 2 alone, and
    /// answers.
    ///
    /// # Errors
    /// Says which of that is not so.
    pub fn open(hierarchies: &Hierarchies, program: Arc<Program>) -> Result<Self> {
        let unsupported = |text: &str| {
            let text = format!("systemd-cgroup: the systemd cgroup driver {text}");
            Err(PortError::new(ErrorKind::Unsupported, text))
        };
        if !Path::new(BOOTED).is_dir() {
            return unsupported(&format!(
                "needs systemd as the first process of the machine: there is no {BOOTED}"
            ));
        }
        if hierarchies.version() == Version::V1 {
            return unsupported(
                "needs control groups of version 2 alone (systemd.unified_cgroup_hierarchy=1), and \
                 this machine has controllers of version 1",
            );
        }
        let sockets = Sockets { bus: BUS.into(), private: PRIVATE.into() };
        let systemd = Self { sockets, program };
        let asked = Bus::connect(&systemd.sockets).and_then(|mut bus| manager(&mut bus));
        match asked {
            Ok(()) => Ok(systemd),
            Err(error) => Err(failed("use the systemd cgroup driver (systemd-cgroup)", error)),
        }
    }

    /// The control group of a container's scope.
    pub fn group(
        hierarchies: &Hierarchies,
        scope: &ContainerScope,
    ) -> std::result::Result<Cgroup, CgroupError> {
        let group = Cgroup::new(hierarchies, Path::new(&scope.path()))?;
        Ok(group.made_by(Maker::Manager))
    }

    /// Makes the scope of a container with these limits: files of the control group and values.
    ///
    /// # Errors
    /// The first process could not be started, or systemd refuses.
    pub fn start_scope(&self, scope: &ContainerScope, limits: &[(String, String)]) -> Result<Held> {
        let unit = scope.unit();
        let held = Held::start(&self.program)
            .map_err(|error| PortError::io(format!("cannot begin the scope {unit}"), error))?;
        let mut all = vec![
            ("Description", Value::Text(format!("container {unit}"))),
            ("Slice", Value::Text(scope.slice().name().to_owned())),
            ("PIDs", Value::Numbers(vec![held.0.id()])),
            // The container may make groups of its own, and all controllers are there.
            ("Delegate", Value::Bool(true)),
        ];
        all.extend(common(limits));
        let started = match self.start(&unit, "fail", &all) {
            Err(BusError::Refused { name, .. }) if name == UNIT_EXISTS => {
                // Of a former run of the same container, whose last process has only just ended.
                self.stop_unit(&unit).and_then(|()| self.start(&unit, "fail", &all))
            }
            other => other,
        };
        started.map_err(|error| failed(&format!("make the scope {unit}"), error))?;
        Ok(held)
    }

    /// Makes a slice with these limits.
    ///
    /// # Errors
    /// systemd refuses.
    pub fn start_slice(&self, slice: &Slice, limits: &[(String, String)]) -> Result<()> {
        let unit = slice.name();
        let mut all = vec![("Description", Value::Text(format!("pod {unit}")))];
        all.extend(common(limits));
        let started = self.start(unit, "replace", &all);
        started.map_err(|error| failed(&format!("make the slice {unit}"), error))
    }

    /// Changes limits of a unit that is there, until it goes; they are in force on return.
    ///
    /// # Errors
    /// systemd refuses; nothing was changed then.
    pub fn set(&self, unit: &str, limits: &[(String, String)]) -> Result<()> {
        let properties = properties(borrowed(limits));
        if properties.is_empty() {
            return Ok(());
        }
        let set = || {
            let mut bus = Bus::connect(&self.sockets)?;
            let mut body = Writer::default();
            body.text(unit);
            body.bool(true);
            body.properties(&properties);
            let method = Method { member: "SetUnitProperties", signature: "sba(sv)", ..MANAGER };
            bus.call(&method, &body.done())?;
            // What was set is written to the group before the next request is looked at.
            manager(&mut bus)
        };
        set().map_err(|error| failed(&format!("change the limits of {unit}"), error))
    }

    /// [`Systemd::set`] for the unit of a group, if it is one that systemd makes.
    ///
    /// # Errors
    /// As there.
    pub fn set_group(&self, group: &Cgroup, limits: &[(String, String)]) -> Result<()> {
        unit_of(group).map_or(Ok(()), |unit| self.set(unit, limits))
    }

    /// Ends a unit with all that is in it; one that is not there is ended.
    ///
    /// # Errors
    /// systemd refuses.
    pub fn stop(&self, unit: &str) -> Result<()> {
        self.stop_unit(unit).map_err(|error| failed(&format!("end {unit}"), error))
    }

    /// Ends the unit of a group that systemd makes, unless that has gone by itself.
    ///
    /// # Errors
    /// As [`Systemd::stop`].
    pub fn stop_group(&self, group: &Cgroup) -> Result<()> {
        match unit_of(group).filter(|_| group.exists()) {
            Some(unit) => self.stop(unit),
            None => Ok(()),
        }
    }

    fn start(&self, unit: &str, mode: &str, all: &[Property]) -> std::result::Result<(), BusError> {
        let mut bus = Bus::connect(&self.sockets)?;
        bus.watch_jobs(unit)?;
        let mut body = Writer::default();
        body.text(unit);
        body.text(mode);
        body.properties(all);
        body.no_units();
        let signature = "ssa(sv)a(sa(sv))";
        let method = Method { member: "StartTransientUnit", signature, ..MANAGER };
        let job = bus.call(&method, &body.done())?.unwrap_or_default();
        bus.wait_for_job(&job, unit)
    }

    fn stop_unit(&self, unit: &str) -> std::result::Result<(), BusError> {
        let mut bus = Bus::connect(&self.sockets)?;
        bus.watch_jobs(unit)?;
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        let method = Method { member: "StopUnit", signature: "ss", ..MANAGER };
        match bus.call(&method, &body.done()) {
            Ok(job) => bus.wait_for_job(&job.unwrap_or_default(), unit),
            Err(BusError::Refused { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The unit of a group that systemd makes.
fn unit_of(group: &Cgroup) -> Option<&str> {
    let name = group.path().file_name().and_then(|name| name.to_str());
    name.filter(|_| group.maker() == Maker::Manager)
}

/// The owned form of what a plan limits.
pub(crate) fn owned<'a>(limits: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    limits.map(|(file, value)| (file.to_owned(), value.to_owned())).collect()
}

fn borrowed(limits: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    limits.iter().map(|(file, value)| (&**file, &**value))
}

/// What every unit of the engine has.
fn common(limits: &[(String, String)]) -> Vec<Property> {
    let mut all = vec![
        // The engine decides when containers end, not the order of a shutdown.
        ("DefaultDependencies", Value::Bool(false)),
        // Nobody has to look at one that has ended badly.
        ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
        ("CPUAccounting", Value::Bool(true)),
        ("MemoryAccounting", Value::Bool(true)),
        ("IOAccounting", Value::Bool(true)),
        ("TasksAccounting", Value::Bool(true)),
        // systemd's default is a part of what the machine can have.
        ("TasksMax", Value::Number(INFINITY)),
    ];
    let limits = properties(borrowed(limits));
    all.retain(|(name, _)| limits.iter().all(|(limited, _)| limited != name));
    all.extend(limits);
    all
}

/// Asks something that always has an answer.
fn manager(bus: &mut Bus) -> std::result::Result<(), BusError> {
    let mut body = Writer::default();
    body.text("-.slice");
    let method = Method { member: "GetUnit", signature: "s", ..MANAGER };
    bus.call(&method, &body.done()).map(drop)
}

fn failed(what: &str, error: BusError) -> PortError {
    let kind = match &error {
        BusError::Connect { .. } | BusError::Broken(_) => ErrorKind::Unavailable,
        BusError::Refused { .. } | BusError::Job { .. } => ErrorKind::Internal,
    };
    PortError::with_source(kind, format!("cannot {what}"), error)
}

#[cfg(test)]
mod tests;
