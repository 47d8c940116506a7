//! `isula tag`: gives an image another name.

use isula_api::v1::TagImageRequest;

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Syntax};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "tag",
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        flags: &[],
        least: 2,
        most: 2,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let [image, reference] = arguments.rest.as_slice() else {
        return Err(arguments.fault("an image and a reference are needed"));
    };
    let request = TagImageRequest { image: image.clone(), reference: reference.clone() };
    context.client().await?.images().tag_image(request).await?;
    Ok(0)
}
