//! `isula restart`: stops containers and starts them again.

use isula_api::v1::StopRequest;

use super::stop::timing;
use super::{Command, Context, many};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "restart",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Restart one or more containers",
        flags: &[&[
            Flag::value("signal", Some('s'), "signal", "Signal to send first"),
            Flag::value("time", Some('t'), "seconds", "Time before it is killed, -1 for ever"),
            Flag::alias("timeout", None, "time"),
        ]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (client, timing) = (context.client().await?, timing(arguments)?);
    let timing = &timing;
    many::each(&arguments.rest, |name| async move {
        let request = StopRequest { id: name.to_owned(), ..timing.clone() };
        client.containers().restart(request).await?;
        Ok(name.to_owned())
    })
    .await
}
