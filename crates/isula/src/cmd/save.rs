//! `isula save`: an archive of images.

use isula_api::v1::{ArchiveFormat, SaveImagesRequest};

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::interrupt::or_interrupted;
use crate::output::{file::Target, receive::receive};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "save",
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Save one or more images to an archive",
        flags: &[&[
            Flag::value("format", None, "format", "docker-archive (default), oci-archive, oci-dir"),
            Flag::value("output", Some('o'), "file", "File (or directory) instead of stdout"),
            Flag::unsupported("platform", None),
        ]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Docker,
    Oci,
    OciDirectory,
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "docker-archive" => Ok(Form::Docker),
        "oci-archive" => Ok(Form::Oci),
        "oci-dir" => Ok(Form::OciDirectory),
        _ => Err("it is none of docker-archive, oci-archive and oci-dir".to_owned()),
    }
}

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let form = arguments.parsed("format", form)?.unwrap_or(Form::Docker);
    let output = arguments.text("output");
    let format = match form {
        Form::Docker => ArchiveFormat::DockerArchive,
        Form::Oci | Form::OciDirectory => ArchiveFormat::OciArchive,
    };
    if form == Form::OciDirectory && output.is_none() {
        return Err(arguments.fault("--format oci-dir needs a directory: use --output"));
    }
    let request = SaveImagesRequest { images: arguments.rest.clone(), format: format.into() };
    let client = context.client().await?;
    or_interrupted(async {
        let pieces = client.storage().save_images(request).await?.into_inner();
        let target = match (form, output) {
            (Form::OciDirectory, Some(path)) => Target::directory(path)?,
            _ => Target::file(output)?,
        };
        receive(pieces, target).await
    })
    .await?;
    Ok(0)
}
