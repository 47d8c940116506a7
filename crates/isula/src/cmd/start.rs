//! `isula start`: starts containers, or one with our streams.

use isula_api::v1::{OpenAttach, StartRequest, Streams, session_input::Input};

use super::run::detach_keys;
use super::{Command, Context, many};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::session::{self, Session, terminal_size};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "start",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Start one or more stopped containers",
        flags: &[&[
            Flag::switch("attach", Some('a'), "Join its output and end with its status"),
            Flag::unsupported("checkpoint", None),
            Flag::unsupported("checkpoint-dir", None),
            Flag::value("detach-keys", None, "keys", "Keys that leave the container"),
            Flag::switch("interactive", Some('i'), "Join its input too"),
            Flag::switch("sig-proxy", None, "Pass signals on to the process (default true)"),
        ]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (interactive, attach) = (arguments.on("interactive"), arguments.on("attach"));
    if interactive || attach {
        return attached(context, arguments, interactive).await;
    }
    let client = context.client().await?;
    many::each(&arguments.rest, |name| async move {
        client.containers().start(StartRequest { id: name.to_owned() }).await?;
        Ok(name.to_owned())
    })
    .await
}

async fn attached(context: &Context, arguments: &Arguments, stdin: bool) -> Outcome {
    let [id] = arguments.rest.as_slice() else {
        return Err(arguments.fault("you cannot start and attach multiple containers at once"));
    };
    let streams = Streams { stdin, stdout: true, stderr: true, size: terminal_size() };
    let open = OpenAttach { id: id.clone(), start: true, streams: Some(streams) };
    let session = Session {
        open: Input::Attach(open),
        streams,
        detach_keys: detach_keys(arguments)?,
        proxies_signals: arguments.value("sig-proxy") != Some("false"),
    };
    Ok(session::attach(context.client().await?, session).await?.status())
}
