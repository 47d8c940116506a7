//! exec.

use std::path::PathBuf;

use clap::Args;
use isula_sys::{files, process};
use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, User};

use super::create::Terminal;
use super::report::{Failure, Report};
use super::store::{Container, Status, Store};
use super::{Outcome, foreground};

/// Flags of exec.
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// Do not wait for the process
    #[arg(short, long)]
    detach: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Socket that the master of the terminal is sent to
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,
    /// File that its id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// File that describes the process, as in config.json; flags that describe it are not allowed
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["tty", "cwd", "env", "user", "args"])]
    process: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Environment, added to the container's
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// User, and group
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Supplementary groups
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// SELinux context
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// No new privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Capabilities to add
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// How many descriptors after 2 it inherits
    #[arg(long, default_value_t = 0, value_name = "N")]
    preserve_fds: u32,
    /// Run it although the container is paused
    #[arg(long)]
    ignore_paused: bool,
    /// Id of the container
    id: String,
    /// Program and arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "process"
    )]
    args: Vec<String>,
}

pub(super) fn exec(store: &Store, args: &ExecArgs, report: &Report) -> Outcome {
    let container = store.open(&args.id)?;
    let refuse = |status: Status| {
        let word = status.word();
        Failure::text(format!("cannot exec in container {}: it is {word}", args.id))
    };
    match container.status()? {
        Status::Paused if args.ignore_paused => {}
        status @ (Status::Stopped | Status::Paused) => return Err(refuse(status)),
        Status::Running | Status::Created => {}
    }
    let Some(init) = container.init()? else { return Err(refuse(Status::Stopped)) };
    let container_plan = container.plan()?;
    let process = describe(&container, args)?;
    let mut plan = lcr::compile_process(&process, None, None)?;
    // The filter is the container's: it was compiled when that was created.
    plan.seccomp = container_plan.process.seccomp;
    plan.cgroup = Some(container_plan.cgroup);
    for warning in &plan.warnings {
        report.warning(warning);
    }
    let socket = args.console_socket.as_deref();
    let terminal = Terminal::prepare(plan.terminal, args.detach, socket)?;
    let pid = container.record.pid;
    // Others may look at the container and end it meanwhile.
    drop(container);
    let stdio = (terminal.stdio()?, args.preserve_fds);
    let mut added = lcr::exec::exec_preserving(&init, pid, &plan, stdio)
        .map_err(|error| Failure::start(&args.id, &error))?;
    for warning in &added.warnings {
        report.warning(warning);
    }
    let told = terminal.hand_over(&mut added).and_then(|()| write_pid(args, added.pid));
    if let Err(failure) = told {
        // The failure is what is told; the process is a child and cannot be left alone.
        use std::os::fd::AsFd;
        let _ = process::send_signal(added.pidfd.as_fd(), isula_sys::signal::Signal::KILL.number());
        let _ = process::wait(added.pidfd.as_fd());
        return Err(failure);
    }
    if args.detach { Ok(0) } else { foreground::attend(&added) }
}

fn write_pid(args: &ExecArgs, pid: i32) -> Result<(), Failure> {
    let Some(path) = &args.pid_file else { return Ok(()) };
    files::write_atomic_unsynced(path, pid.to_string().as_bytes(), 0o644)
        .map_err(|error| Failure::file("write", path, error))
}

/// The process that the flags describe, on top of the container's own.
fn describe(container: &Container, args: &ExecArgs) -> Result<Process, Failure> {
    if let Some(path) = &args.process {
        let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, error))?;
        return serde_json::from_slice(&bytes)
            .map_err(|error| Failure::text(format!("cannot read {}: {error}", path.display())));
    }
    let spec = container.spec()?;
    let mut process = spec
        .process()
        .clone()
        .ok_or_else(|| Failure::text("the container's configuration has no process"))?;
    process.set_terminal(Some(args.tty)).set_args(Some(args.args.clone()));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    if !args.env.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(args.env.iter().cloned());
        process.set_env(Some(env));
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    set_user(&mut process, args)?;
    add_capabilities(&mut process, &args.cap)?;
    Ok(process)
}

fn set_user(process: &mut Process, args: &ExecArgs) -> Result<(), Failure> {
    let mut user: User = process.user().clone();
    if let Some(text) = &args.user {
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (text.as_str(), None),
        };
        let number = |text: &str| {
            text.parse::<u32>().map_err(|_| Failure::text(format!("--user: {text:?} is no number")))
        };
        user.set_uid(number(uid)?);
        if let Some(gid) = gid {
            user.set_gid(number(gid)?);
        }
    }
    if !args.additional_gids.is_empty() {
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(&args.additional_gids);
        user.set_additional_gids(Some(groups));
    }
    process.set_user(user);
    Ok(())
}

/// In all sets but the inheritable and the ambient one, as runc does.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let mut added = Capabilities::default();
    for name in names {
        let read = |name: &str| serde_json::from_value(serde_json::Value::from(name)).ok();
        let capability = read(name).or_else(|| read(&format!("CAP_{name}")));
        added
            .insert(capability.ok_or_else(|| Failure::text(format!("--cap: there is no {name}")))?);
    }
    let mut sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
    let with = |set: &Option<Capabilities>| {
        Some(set.iter().flatten().chain(&added).copied().collect::<Capabilities>())
    };
    let (bounding, effective, permitted) =
        (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    process.set_capabilities(Some(sets));
    Ok(())
}

fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None)
        .set_effective(None)
        .set_permitted(None)
        .set_inheritable(None)
        .set_ambient(None);
    sets
}
