//! `isula attach`: joins our streams to a running container.

use isula_api::v1::{OpenAttach, Streams, session_input::Input};

use super::run::detach_keys;
use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::session::{self, Session, terminal_size};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "attach",
        usage: "[OPTIONS] CONTAINER",
        about: "Attach to a running container",
        flags: &[&[
            Flag::value("detach-keys", None, "keys", "Keys that leave the container"),
            Flag::switch("no-stdin", None, "Do not join its input"),
            Flag::switch("sig-proxy", None, "Pass signals on to the process (default true)"),
        ]],
        least: 1,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let stdin = !arguments.on("no-stdin");
    let streams = Streams { stdin, stdout: true, stderr: true, size: terminal_size() };
    let id = arguments.rest.first().cloned().unwrap_or_default();
    let open = OpenAttach { id, start: false, streams: Some(streams) };
    let session = Session {
        open: Input::Attach(open),
        streams,
        detach_keys: detach_keys(arguments)?,
        proxies_signals: arguments.value("sig-proxy") != Some("false"),
    };
    Ok(session::attach(context.client().await?, session).await?.status())
}
