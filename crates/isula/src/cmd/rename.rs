//! `isula rename`: gives a container another name.

use isula_api::v1::RenameRequest;

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Syntax};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "rename",
        usage: "CONTAINER NEW_NAME",
        about: "Rename a container",
        flags: &[],
        least: 2,
        most: 2,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let [id, name] = arguments.rest.as_slice() else {
        return Err(arguments.fault("a container and a name are needed"));
    };
    let request = RenameRequest { id: id.clone(), name: name.clone() };
    context.client().await?.containers().rename(request).await?;
    Ok(0)
}
