//! `isula pause`: freezes containers.

use isula_api::v1::PauseRequest;

use super::{Command, Context, many};
use crate::error::Outcome;
use crate::flags::{Arguments, Syntax};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "pause",
        usage: "CONTAINER [CONTAINER...]",
        about: "Pause all processes within one or more containers",
        flags: &[],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let client = context.client().await?;
    many::each(&arguments.rest, |name| async move {
        let request = PauseRequest { id: name.to_owned() };
        client.containers().pause(request).await?;
        Ok(name.to_owned())
    })
    .await
}
