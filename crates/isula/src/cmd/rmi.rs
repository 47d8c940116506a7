//! `isula rmi`: removes images.

use isula_api::v1::RemoveImageRequest;

use super::{Command, Context, many};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "rmi",
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Remove one or more images",
        flags: &[&[
            Flag::switch("force", Some('f'), "Also if stopped containers use it"),
            Flag::unsupported("no-prune", None),
            Flag::unsupported("platform", None),
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
    let force = arguments.on("force");
    many::each(&arguments.rest, |name| async move {
        let request = RemoveImageRequest { image: name.to_owned(), force };
        client.images().remove_image(request).await?;
        Ok(format!("Image \"{name}\" removed"))
    })
    .await
}
