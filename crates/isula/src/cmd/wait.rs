//! `isula wait`: waits for containers to stop.

use isula_api::v1::WaitRequest;

use super::{Command, Context, many};
use crate::error::Outcome;
use crate::flags::{Arguments, Syntax};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "wait",
        usage: "CONTAINER [CONTAINER...]",
        about: "Block until one or more containers stop, then print their exit codes",
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
        let request = WaitRequest { id: name.to_owned(), ..WaitRequest::default() };
        let answer = client.containers().wait(request).await?.into_inner();
        Ok(answer.exit_code.to_string())
    })
    .await
}
