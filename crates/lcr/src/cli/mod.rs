//! The command line: flags as runc has them, one file a group of commands.

mod console;
mod control;
mod create;
mod exec;
mod features;
mod foreground;
mod list;
mod report;
mod spec;
mod store;
mod update;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use report::Failure;
use store::Store;

/// An OCI runtime.
#[derive(Debug, Parser)]
#[command(name = "lcr", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags before the command.
#[derive(Debug, Args)]
struct Global {
    /// Directory that holds the state of containers; it should be in a tmpfs
    #[arg(long, default_value = "/run/lcr", value_name = "DIR")]
    root: PathBuf,
    /// File that errors and warnings are written to
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Form of the log
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
    /// Accepted for callers of runc; lcr logs what is worth it
    #[arg(long)]
    debug: bool,
    /// Control groups by systemd, which lcr does not do
    #[arg(long)]
    systemd_cgroup: bool,
    /// Accepted for callers of runc: lcr finds out itself
    #[arg(long, value_name = "BOOL", hide = true)]
    rootless: Option<String>,
}

/// Form of the log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One line of text each.
    Text,
    /// One JSON object each.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a container; its program waits for start
    Create(create::CreateArgs),
    /// Run the program of a created container
    Start(OneContainer),
    /// Create a container and run its program
    Run(create::RunArgs),
    /// Print the state of a container
    State(OneContainer),
    /// Send a signal to the init of a container
    Kill(control::KillArgs),
    /// Remove a container that has stopped
    Delete(control::DeleteArgs),
    /// Run another program in a container
    Exec(exec::ExecArgs),
    /// List containers
    #[command(alias = "ls")]
    List(list::ListArgs),
    /// List the processes of a container
    Ps(list::PsArgs),
    /// Freeze all processes of a container
    Pause(OneContainer),
    /// Thaw the processes of a container
    Resume(OneContainer),
    /// Change the limits of a container
    Update(update::UpdateArgs),
    /// Write a config.json to start from
    Spec(spec::SpecArgs),
    /// Print what this runtime can do
    Features,
}

/// A command that takes nothing but the name of a container.
#[derive(Debug, Args)]
struct OneContainer {
    /// Its id
    id: String,
}

/// What a command ends with: the exit status.
type Outcome = Result<u8, Failure>;

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    // Nothing that is opened here may become a standard stream of a container by accident.
    if isula_sys::exec::fill_standard_streams().is_err() {
        return ExitCode::from(1);
    }
    let cli = Cli::parse();
    let report = report::Report::open(cli.global.log.clone(), cli.global.log_format);
    match report.and_then(|report| dispatch(&cli, &report)) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("lcr: {failure}");
            if let Ok(report) = report::Report::open(cli.global.log, cli.global.log_format) {
                report.error(&failure.to_string());
            }
            ExitCode::from(failure.status())
        }
    }
}

fn dispatch(cli: &Cli, report: &report::Report) -> Outcome {
    if cli.global.systemd_cgroup {
        return Err(Failure::text("--systemd-cgroup is not supported: use the cgroupfs driver"));
    }
    let enters = matches!(cli.command, Command::Create(_) | Command::Run(_) | Command::Exec(_));
    if enters {
        run_protected()?;
    }
    let store = Store::new(&cli.global.root);
    match &cli.command {
        Command::Create(args) => create::create(&store, args, report),
        Command::Start(one) => create::start(&store, &one.id, report),
        Command::Run(args) => create::run(&store, args, report),
        Command::State(one) => list::state(&store, &one.id),
        Command::Kill(args) => control::kill(&store, args),
        Command::Delete(args) => control::delete(&store, args, report),
        Command::Exec(args) => exec::exec(&store, args, report),
        Command::List(args) => list::list(&store, args),
        Command::Ps(args) => list::ps(&store, args),
        Command::Pause(one) => control::pause(&store, &one.id),
        Command::Resume(one) => control::resume(&store, &one.id),
        Command::Update(args) => update::update(&store, args),
        Command::Spec(args) => spec::spec(args),
        Command::Features => features::features(),
    }
}

/// A process of ours is inside a container for a moment, and the container may get hold of its
/// executable: it has to be one that cannot be written through it (CVE-2019-5736).
fn run_protected() -> Result<(), Failure> {
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;
    let fail = |error| Failure::io("protect the runtime's executable", error);
    if isula_sys::sealed::is_protected().map_err(fail)? {
        return Ok(());
    }
    let protected = isula_sys::sealed::protect("/proc/self/exe".as_ref(), "lcr").map_err(fail)?;
    let arguments = std::env::args_os().map(|argument| argument.as_bytes().to_vec());
    let environment =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let arguments = isula_sys::exec::Strings::new(arguments).map_err(fail)?;
    let environment = isula_sys::exec::Strings::new(environment).map_err(fail)?;
    Err(fail(isula_sys::exec::fexecve(protected.as_fd(), &arguments, &environment)))
}
