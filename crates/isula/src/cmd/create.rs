//! `isula create`: a container that does not run yet.

use isula_api::v1::CreateRequest;

use super::cid_file::CidFile;
use super::image::with_image;
use super::{Command, Context};
use crate::create::{Surroundings, flags, request};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Syntax};
use crate::output;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "create",
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create a new container",
        flags: &[flags::CREATE, flags::UNSUPPORTED],
        least: 1,
        most: usize::MAX,
        stops_at_argument: true,
    },
    runs_process: true,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let request = from_here(arguments, false)?;
    let mut cid_file = arguments.text("cidfile").map(CidFile::create).transpose()?;
    let client = context.client().await?;
    let create = || async {
        let request = request.clone();
        Ok(client.containers().create(request).await?.into_inner())
    };
    let created = with_image(client, arguments, &request.image, create).await?;
    if let Some(file) = &mut cid_file {
        file.write(&created.id)?;
    }
    output::warn(&created.warnings);
    output::print(&format!("{}\n", created.id))?;
    Ok(0)
}

/// The request of the arguments, read against this process's own surroundings.
///
/// # Errors
/// The arguments are wrong, or the process has no working directory.
pub(super) fn from_here(arguments: &Arguments, detached: bool) -> Result<CreateRequest, Failure> {
    let directory = std::env::current_dir()
        .map_err(|error| Failure::local(format!("no working directory: {error}")))?;
    let around = Surroundings {
        directory: &directory,
        lookup: &|name| std::env::var_os(name),
        selinux: std::path::Path::new("/sys/fs/selinux/enforce").exists(),
    };
    request(arguments, &around, detached)
}
