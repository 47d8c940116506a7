//! `isula rm`: removes containers; prints their full ids.

use isula_api::v1::RemoveRequest;

use super::{Command, Context, many};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "rm",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Remove one or more containers",
        flags: &[&[
            Flag::switch("force", Some('f'), "Kill it first if it runs"),
            Flag::unsupported("link", Some('l')),
            Flag::switch("volumes", Some('v'), "With its anonymous volumes"),
        ]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let client = context.client().await?;
    let (force, volumes) = (arguments.on("force"), arguments.on("volumes"));
    many::each(&arguments.rest, |name| async move {
        let request = RemoveRequest { id: name.to_owned(), force, volumes };
        Ok(client.containers().remove(request).await?.into_inner().id)
    })
    .await
}
