//! `isula run`: a container that runs, with our streams or without.

use std::cell::RefCell;

use isula_api::v1::{CreateRequest, OpenRun, Opened, Streams, session_input::Input};

use super::cid_file::CidFile;
use super::create::from_here;
use super::image::with_image;
use super::{Command, Context};
use crate::client::Client;
use crate::create::flags;
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Syntax};
use crate::output;
use crate::parse::keys;
use crate::session::{self, Session, check_terminal, terminal_size};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "run",
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Run a command in a new container",
        flags: &[flags::CREATE, flags::RUN, flags::UNSUPPORTED],
        least: 1,
        most: usize::MAX,
        stops_at_argument: true,
    },
    runs_process: true,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let detached = arguments.on("detach");
    let mut request = from_here(arguments, detached)?;
    let streams = streams(arguments, &mut request)?;
    if !detached {
        check_terminal(streams.stdin, arguments.on("tty"))?;
    }
    let detach_keys = detach_keys(arguments)?;
    let cid_file = arguments.text("cidfile").map(CidFile::create).transpose()?;
    let client = context.client().await?;
    if detached {
        return in_background(client, arguments, &request, cid_file).await;
    }
    let cid_file = RefCell::new(cid_file);
    let opened = |opened: &Opened| {
        if let Some(file) = cid_file.borrow_mut().as_mut() {
            file.write(&opened.container_id)?;
        }
        if !streams.stdout && !streams.stderr {
            output::print(&format!("{}\n", opened.container_id))?;
        }
        Ok(())
    };
    let attempt = || {
        let open = OpenRun { create: Some(request.clone()), streams: Some(streams) };
        let session = Session {
            open: Input::Run(open),
            streams,
            detach_keys: detach_keys.clone(),
            proxies_signals: arguments.value("sig-proxy") != Some("false"),
        };
        session::run(client, session, opened)
    };
    Ok(with_image(client, arguments, &request.image, attempt).await?.status())
}

/// The keys that leave the container.
///
/// # Errors
/// They are malformed.
pub(super) fn detach_keys(arguments: &Arguments) -> Result<Vec<u8>, Failure> {
    match arguments.parsed("detach-keys", keys::sequence)? {
        Some(keys) => Ok(keys),
        None => keys::sequence(keys::DEFAULT).map_err(Failure::local),
    }
}

async fn in_background(
    client: &Client,
    arguments: &Arguments,
    request: &CreateRequest,
    mut cid_file: Option<CidFile>,
) -> Outcome {
    let run = || async {
        let request = request.clone();
        Ok(client.containers().run(request).await?.into_inner())
    };
    let created = with_image(client, arguments, &request.image, run).await?;
    if let Some(file) = &mut cid_file {
        file.write(&created.id)?;
    }
    output::warn(&created.warnings);
    output::print(&format!("{}\n", created.id))?;
    Ok(0)
}

/// Our streams that are joined: those of `--attach`, or stdout and stderr, and stdin with `-i`.
fn streams(arguments: &Arguments, request: &mut CreateRequest) -> Result<Streams, Failure> {
    let mut streams = Streams { stdin: arguments.on("interactive"), ..Streams::default() };
    let mut named = false;
    for stream in arguments.values("attach") {
        named = true;
        match stream.to_ascii_lowercase().as_str() {
            "stdin" => streams.stdin = true,
            "stdout" => streams.stdout = true,
            "stderr" => streams.stderr = true,
            _ => return Err(arguments.fault("valid streams are STDIN, STDOUT and STDERR")),
        }
    }
    if named && arguments.on("detach") {
        let message = "conflicting options: cannot specify both --attach and --detach";
        return Err(arguments.fault(message));
    }
    if !named {
        (streams.stdout, streams.stderr) = (true, true);
    }
    if let Some(config) = &mut request.config {
        config.open_stdin |= streams.stdin;
        config.stdin_once |= streams.stdin && !arguments.on("detach");
        streams.size = if config.tty { terminal_size() } else { None };
    }
    Ok(streams)
}
