//! `isula kill`: sends a signal.

use isula_api::v1::KillRequest;

use super::{Command, Context, many};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::parse::names;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "kill",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Kill one or more running containers",
        flags: &[&[Flag::value("signal", Some('s'), "signal", "Signal to send (KILL)")]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let signal = arguments.parsed("signal", names::signal)?.unwrap_or_default();
    let (client, signal) = (context.client().await?, signal.as_str());
    many::each(&arguments.rest, |name| async move {
        let request = KillRequest { id: name.to_owned(), signal: signal.to_owned() };
        client.containers().kill(request).await?;
        Ok(name.to_owned())
    })
    .await
}
