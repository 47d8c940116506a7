//! `isula exec`: another process in a running container.

use isula_api::v1::{ExecRequest, Streams, session_input::Input};

use super::run::detach_keys;
use super::{Command, Context};
use crate::create::read_file;
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::parse::environment;
use crate::session::{self, Session, check_terminal, terminal_size};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "exec",
        usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
        about: "Run a command in a running container",
        flags: &[&[
            Flag::switch("detach", Some('d'), "Run in the background"),
            Flag::value("detach-keys", None, "keys", "Keys that leave the process"),
            Flag::list("env", Some('e'), "name=value", "Set a variable"),
            Flag::list("env-file", None, "file", "Set variables from a file"),
            Flag::switch("interactive", Some('i'), "Keep stdin open"),
            Flag::switch("privileged", None, "Give the process all capabilities"),
            Flag::switch("tty", Some('t'), "Give it a terminal"),
            Flag::value("user", Some('u'), "user[:group]", "User to run as"),
            Flag::value("workdir", Some('w'), "directory", "Working directory"),
        ]],
        least: 2,
        most: usize::MAX,
        stops_at_argument: true,
    },
    runs_process: true,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let mut request = request(arguments)?;
    if arguments.on("detach") {
        context.client().await?.containers().exec(request).await?;
        return Ok(0);
    }
    let stdin = arguments.on("interactive");
    check_terminal(stdin, request.tty)?;
    let size = if request.tty { terminal_size() } else { None };
    let streams = Streams { stdin, stdout: true, stderr: true, size };
    request.streams = Some(streams);
    let session = Session {
        open: Input::Exec(request),
        streams,
        detach_keys: detach_keys(arguments)?,
        // A signal would go to the container's first process, which is another one.
        proxies_signals: false,
    };
    Ok(session::attach(context.client().await?, session).await?.status())
}

fn request(arguments: &Arguments) -> Result<ExecRequest, Failure> {
    let lookup = |name: &str| std::env::var_os(name);
    let of_file = |path: &str| environment::variables_of_file(&read_file(path)?, &lookup);
    let mut env = arguments.each("env-file", of_file)?.concat();
    env.extend(arguments.each("env", |text| environment::variable(text, &lookup))?);
    let (id, args) = match arguments.rest.split_first() {
        Some((id, args)) => (id.clone(), args.to_vec()),
        None => return Err(arguments.fault("a container is needed")),
    };
    Ok(ExecRequest {
        id,
        args,
        env,
        user: arguments.value("user").unwrap_or_default().to_owned(),
        working_dir: arguments.value("workdir").unwrap_or_default().to_owned(),
        tty: arguments.on("tty"),
        privileged: arguments.on("privileged"),
        streams: None,
    })
}
