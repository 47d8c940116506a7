//! `isula export`: the root file system of a container as a tar.

use isula_api::v1::ExportRequest;

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::interrupt::or_interrupted;
use crate::output::{file::Target, receive::receive};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "export",
        usage: "[OPTIONS] CONTAINER",
        about: "Export a container's filesystem as a tar archive",
        flags: &[&[Flag::value("output", Some('o'), "file", "File instead of stdout")]],
        least: 1,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let id = arguments.rest.first().cloned().unwrap_or_default();
    let client = context.client().await?;
    or_interrupted(async {
        let pieces = client.storage().export(ExportRequest { id }).await?.into_inner();
        receive(pieces, Target::file(arguments.text("output"))?).await
    })
    .await?;
    Ok(0)
}
