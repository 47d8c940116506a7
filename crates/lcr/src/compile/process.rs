//! `process` of a configuration, and that of an exec.

use std::path::Path;

use oci_spec::runtime::{
    IOPriorityClass, LinuxCapabilities, LinuxSchedulerFlag, LinuxSchedulerPolicy, Process,
    Scheduler as SpecScheduler,
};

use crate::capability::Set;
use crate::error::Error;
use crate::plan::{Capabilities, ProcessPlan, Rlimit, Scheduler};
use crate::process::RLIMITS;
use crate::seccomp::{self, FilterCache, Profile};

/// Checks the process of a configuration and turns it into a plan; `seccomp` is the container's
/// profile. An exec joins a control group only if [`ProcessPlan::cgroup`] is set afterwards.
///
/// # Errors
/// Names the field that is missing, means nothing, or is not supported.
pub fn compile_process(
    process: &Process,
    seccomp: Option<Profile<'_>>,
    filters: Option<&FilterCache>,
) -> Result<ProcessPlan, Error> {
    refuse_unsupported(process)?;
    let mut plan = ProcessPlan {
        args: args(process)?,
        cwd: cwd(process)?,
        terminal: process.terminal().unwrap_or(false),
        console_size: console_size(process)?,
        rlimits: rlimits(process)?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: oom_score_adj(process)?,
        apparmor: apparmor(process)?,
        selinux: selinux(process)?,
        io_priority: io_priority(process)?,
        scheduler: process.scheduler().as_ref().map(scheduler).transpose()?,
        ..ProcessPlan::default()
    };
    user(process, &mut plan)?;
    environment(process, &mut plan)?;
    capabilities(process.capabilities().as_ref(), &mut plan);
    if let Some(affinity) = process.exec_cpu_affinity() {
        plan.cpus_initial = cpus("process.execCPUAffinity.initial", affinity.initial().as_deref())?;
        let last = affinity.cpu_affinity_final().as_deref();
        plan.cpus_final = cpus("process.execCPUAffinity.final", last)?;
    }
    plan.seccomp = match (seccomp, filters) {
        (None, _) => None,
        (Some(profile), Some(cache)) => Some((*cache.get(profile)?).clone()),
        (Some(profile), None) => Some(seccomp::compile(profile.get())?),
    };
    Ok(plan)
}

fn refuse_unsupported(process: &Process) -> Result<(), Error> {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let fields = [
        ("process.commandLine", set(process.command_line())),
        ("process.user.username", set(process.user().username())),
    ];
    match fields.into_iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(Error::unsupported(field, "it is for another platform")),
        None => Ok(()),
    }
}

fn args(process: &Process) -> Result<Vec<String>, Error> {
    let args = process.args().clone().filter(|args| !args.is_empty());
    let args = args.ok_or(Error::Missing("process.args"))?;
    match args.iter().position(|arg| arg.contains('\0')) {
        Some(index) => Err(Error::invalid(format!("process.args[{index}]"), "it has a zero byte")),
        None => Ok(args),
    }
}

fn environment(process: &Process, plan: &mut ProcessPlan) -> Result<(), Error> {
    for (index, entry) in process.env().iter().flatten().enumerate() {
        if entry.contains('\0') {
            return Err(Error::invalid(format!("process.env[{index}]"), "it has a zero byte"));
        }
        // "The left hand side must consist solely of …": it has to have one (config.md).
        if entry.split_once('=').is_some_and(|(name, _)| !name.is_empty()) {
            plan.env.push(entry.clone());
        } else {
            plan.warn(format!(
                "process.env[{index}] is not of the form NAME=VALUE, it is left out"
            ));
        }
    }
    Ok(())
}

fn cwd(process: &Process) -> Result<String, Error> {
    let cwd = process.cwd();
    match cwd.to_str() {
        Some(text) if text.starts_with('/') && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(Error::invalid("process.cwd", "it is not an absolute path")),
    }
}

fn console_size(process: &Process) -> Result<Option<(u16, u16)>, Error> {
    // "Runtimes MUST ignore consoleSize if terminal is false or unset" (config.md).
    let Some(size) = process.console_size().filter(|_| process.terminal() == Some(true)) else {
        return Ok(None);
    };
    match (u16::try_from(size.height()), u16::try_from(size.width())) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err(Error::invalid("process.consoleSize", "it is out of range")),
    }
}

fn user(process: &Process, plan: &mut ProcessPlan) -> Result<(), Error> {
    let user = process.user();
    // The highest number means "unchanged" to the kernel: root would stay root.
    let id = |field: &str, id: u32| {
        if id == u32::MAX { Err(Error::invalid(field, "it is out of range")) } else { Ok(id) }
    };
    plan.uid = id("process.user.uid", user.uid())?;
    plan.gid = id("process.user.gid", user.gid())?;
    let groups = user.additional_gids().iter().flatten();
    plan.groups =
        groups.map(|gid| id("process.user.additionalGids", *gid)).collect::<Result<_, _>>()?;
    plan.umask = match user.umask() {
        Some(mask) if mask > 0o777 => {
            return Err(Error::invalid("process.user.umask", "it is out of range"));
        }
        mask => mask,
    };
    Ok(())
}

fn capabilities(capabilities: Option<&LinuxCapabilities>, plan: &mut ProcessPlan) {
    let Some(sets) = capabilities else { return };
    let supported = Set::supported();
    let mut unknown = 0;
    let mut set = |list: &Option<oci_spec::runtime::Capabilities>| {
        let asked = list.as_ref().map(Set::from_spec).unwrap_or_default();
        unknown |= asked.without(supported).0;
        asked.and(supported).0
    };
    plan.capabilities = Capabilities {
        bounding: set(sets.bounding()),
        effective: set(sets.effective()),
        permitted: set(sets.permitted()),
        inheritable: set(sets.inheritable()),
        ambient: set(sets.ambient()),
    };
    // "Any value which cannot be mapped … MUST be logged as a warning" (config.md).
    for name in Set(unknown).names() {
        plan.warn(format!("process.capabilities: the kernel does not know {name}"));
    }
    let Capabilities { inheritable, ambient, .. } = plan.capabilities;
    if inheritable & !ambient != 0 {
        plan.capabilities.inheritable &= ambient;
        plan.warn("process.capabilities.inheritable is limited to what is ambient");
    }
}

fn rlimits(process: &Process) -> Result<Vec<Rlimit>, Error> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let field = |name: &str| format!("process.rlimits[{index}].{name}");
        let name = limit.typ().to_string();
        let number = RLIMITS.iter().position(|known| *known == name);
        let number = number.and_then(|number| u32::try_from(number).ok());
        let resource =
            number.ok_or_else(|| Error::invalid(field("type"), format!("there is no {name}")))?;
        if limits.iter().any(|other| other.resource == resource) {
            return Err(Error::invalid(field("type"), format!("{name} is there twice")));
        }
        if limit.soft() > limit.hard() {
            return Err(Error::invalid(field("soft"), "it is above the hard limit"));
        }
        limits.push(Rlimit { resource, soft: limit.soft(), hard: limit.hard() });
    }
    Ok(limits)
}

fn oom_score_adj(process: &Process) -> Result<Option<i32>, Error> {
    match process.oom_score_adj() {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(Error::invalid("process.oomScoreAdj", "it is not between -1000 and 1000"))
        }
        score => Ok(score),
    }
}

fn apparmor(process: &Process) -> Result<Option<String>, Error> {
    let Some(profile) = process.apparmor_profile().as_ref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.is_ok_and(|text| text.starts_with('Y')) {
        return Ok(Some(profile.clone()));
    }
    if profile == "unconfined" {
        return Ok(None);
    }
    Err(Error::unsupported("process.apparmorProfile", "AppArmor is not enabled"))
}

fn selinux(process: &Process) -> Result<Option<String>, Error> {
    let Some(label) = process.selinux_label().as_ref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if has_selinux() {
        Ok(Some(label.clone()))
    } else {
        Err(Error::unsupported("process.selinuxLabel", "SELinux is not enabled"))
    }
}

/// Whether the kernel enforces or at least labels with SELinux.
pub(super) fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

fn io_priority(process: &Process) -> Result<Option<u16>, Error> {
    let Some(priority) = process.io_priority() else { return Ok(None) };
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1u16,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(priority.priority()) {
        Ok(level) if level < 8 => Ok(Some(class << 13 | level)),
        _ => Err(Error::invalid("process.ioPriority.priority", "it is not between 0 and 7")),
    }
}

fn scheduler(scheduler: &SpecScheduler) -> Result<Scheduler, Error> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => {
            let why = "Linux has no SCHED_ISO";
            return Err(Error::unsupported("process.scheduler.policy", why));
        }
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let mut flags = 0;
    for flag in scheduler.flags().iter().flatten() {
        flags |= match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin
            | LinuxSchedulerFlag::SchedFlagUtilClampMax => {
                let why = "the spec has no value to clamp to";
                return Err(Error::unsupported("process.scheduler.flags", why));
            }
        };
    }
    let priority = scheduler.priority().unwrap_or(0);
    let nice = scheduler.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(Error::invalid("process.scheduler.nice", "it is not between -20 and 19"));
    }
    Ok(Scheduler {
        policy,
        flags,
        nice,
        priority: u32::try_from(priority)
            .map_err(|_| Error::invalid("process.scheduler.priority", "it is negative"))?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}

/// Ranges of processors, `0-3,7`; bounded before anything is made of it.
fn cpus(field: &str, text: Option<&str>) -> Result<Vec<(u32, u32)>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let range = |part: &str| -> Option<(u32, u32)> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last && last < 1024).then_some((first, last))
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges.ok_or_else(|| Error::invalid(field, format!("{text} is no list of processors")))
}
