//! `isula load`: images from an archive.

use std::io::IsTerminal;

use isula_api::v1::{LoadInput, OpenLoad, load_input::Input, load_progress::Progress as Step};

use super::{Command, Context, import::upload};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::interrupt::or_interrupted;
use crate::output::{self, progress::Progress};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "load",
        usage: "[OPTIONS]",
        about: "Load an image from a tar archive",
        flags: &[&[
            Flag::value("input", Some('i'), "file", "Archive or OCI directory instead of stdin"),
            Flag::unsupported("platform", None),
            Flag::switch("quiet", Some('q'), "Do not tell about progress"),
            Flag::value("tag", None, "name", "Name of the image, if it is the only one"),
            Flag::value("type", Some('t'), "type", "docker or oci (found out), or embedded"),
        ]],
        least: 0,
        most: 0,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

/// Of the other types the archive itself says which it is of.
fn is_embedded(text: &str) -> Result<bool, String> {
    match text {
        "embedded" => Ok(true),
        "docker" | "oci" => Ok(false),
        _ => Err("it is none of docker, oci and embedded".to_owned()),
    }
}

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let file = arguments.text("input").unwrap_or("-");
    if file == "-" && std::io::stdin().is_terminal() {
        return Err(arguments.fault("requested load from stdin, but stdin is a terminal"));
    }
    let tag = arguments.value("tag").unwrap_or_default().to_owned();
    let embedded = arguments.parsed("type", is_embedded)?.unwrap_or(false);
    if embedded && !tag.is_empty() {
        return Err(arguments.fault("an embedded image has the name that its manifest says"));
    }
    let open = LoadInput { input: Some(Input::Open(OpenLoad { tag, embedded })) };
    let client = context.client().await?;
    let mut progress = Progress::new(arguments.on("quiet"));
    or_interrupted(async {
        // Not before: its thread must be born with the signals blocked.
        let (requests, broken) =
            upload(file, open, |bytes| LoadInput { input: Some(Input::Data(bytes)) })?;
        let load = async {
            let mut steps = client.images().load(requests).await?.into_inner();
            while let Some(step) = steps.message().await? {
                match step.progress {
                    Some(Step::Layer(layer)) => progress.layer(&layer),
                    Some(Step::Line(line)) => progress.line(&line),
                    Some(Step::Loaded(_)) => return Ok(()),
                    None => {}
                }
            }
            Err(Failure::local("the daemon ended the load without a result"))
        };
        tokio::select! {
            result = load => result,
            failure = broken => Err(failure),
        }
    })
    .await?;
    progress.clear();
    let name = if file == "-" { "stdin" } else { file };
    output::print(&format!("Load image from \"{name}\" success\n"))?;
    Ok(0)
}
