//! `isula pull`: gets an image from a registry.

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::{output, pull};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "pull",
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        about: "Pull an image or a repository from a registry",
        flags: &[&[
            Flag::unsupported("all-tags", Some('a')),
            Flag::unsupported("disable-content-trust", None),
            Flag::value("platform", None, "os/arch[/variant]", "Platform of the image"),
            Flag::switch("quiet", Some('q'), "Print nothing but the reference"),
        ]],
        least: 1,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let reference = arguments.rest.first().map(String::as_str).unwrap_or_default();
    let platform = arguments.value("platform").unwrap_or_default();
    let quiet = arguments.on("quiet");
    let pulled = pull::pull(context.client().await?, reference, platform, quiet).await?;
    if quiet {
        output::print(&format!("{}\n", pulled.reference))?;
    }
    Ok(0)
}
