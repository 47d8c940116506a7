//! `isula import`: an image from the files of a root file system.

use std::fs::File;
use std::io::{IsTerminal, Read};

use bytes::Bytes;
use futures_util::{Stream, stream};
use isula_api::v1::{ImportInput, OpenImport, import_input::Input};
use tokio::sync::oneshot;

use super::{Command, Context};
use crate::archive::Packer;
use crate::error::{Failure, Outcome};
use crate::fetch;
use crate::flags::{Arguments, Flag, Syntax};
use crate::interrupt::or_interrupted;
use crate::{output, reader};

/// Bytes of an archive in one message.
const PIECE: usize = 256 << 10;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "import",
        usage: "[OPTIONS] FILE|http://HOST[:PORT]/PATH|- [REFERENCE]",
        about: "Import the contents from a tarball to create a filesystem image",
        flags: &[&[
            Flag::list(
                "change",
                Some('c'),
                "instruction",
                "Dockerfile instruction (CMD, ENV, ...)",
            ),
            Flag::value("message", Some('m'), "text", "Comment of the image"),
            Flag::unsupported("platform", None),
        ]],
        least: 1,
        most: 2,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let mut words = arguments.rest.iter();
    let file = words.next().map(String::as_str).unwrap_or_default();
    if std::path::Path::new(file).is_dir() {
        return Err(Failure::local(format!("cannot import {file}: it is a directory")));
    }
    if file.starts_with("https://") {
        return Err(arguments.fault("import by https is not supported: fetch it and use stdin"));
    }
    if file == "-" && std::io::stdin().is_terminal() {
        return Err(arguments.fault("requested import from stdin, but stdin is a terminal"));
    }
    let open = OpenImport {
        reference: words.next().cloned().unwrap_or_default(),
        changes: arguments.values("change").map(str::to_owned).collect(),
        message: arguments.value("message").unwrap_or_default().to_owned(),
    };
    let client = context.client().await?;
    let open = ImportInput { input: Some(Input::Open(open)) };
    let imported = or_interrupted(async {
        // Not before: its thread must be born with the signals blocked.
        let (requests, broken) =
            upload(file, open, |bytes| ImportInput { input: Some(Input::Data(bytes)) })?;
        let mut images = client.images();
        tokio::select! {
            answer = images.import(requests) => Ok(answer?.into_inner()),
            failure = broken => Err(failure),
        }
    });
    let id = imported.await?.id;
    output::print(&format!("sha256:{}\n", id.strip_prefix("sha256:").unwrap_or(&id)))?;
    Ok(0)
}

/// The messages of an upload: the opening one, then the file's bytes (`-` is stdin). If the file
/// can't be read to its end the stream never ends, so that the daemon does not take what came for
/// all of it, and the second part says why.
///
/// # Errors
/// The file can't be opened.
pub(super) fn upload<T: Send + 'static>(
    file: &str,
    open: T,
    piece: fn(Bytes) -> T,
) -> Result<(impl Stream<Item = T> + Send + 'static, impl Future<Output = Failure>), Failure> {
    let source: Box<dyn Read + Send> = if file == "-" {
        Box::new(std::io::stdin())
    } else if file.starts_with("http://") {
        Box::new(fetch::get(file)?)
    } else if std::path::Path::new(file).is_dir() {
        let packer = Packer::open(std::path::Path::new(file));
        Box::new(packer.map_err(|error| Failure::local(format!("cannot open {file}: {error}")))?)
    } else {
        let opened = File::open(file);
        Box::new(opened.map_err(|error| Failure::local(format!("cannot open {file}: {error}")))?)
    };
    let pieces = reader::pieces(source, PIECE)
        .map_err(|error| Failure::local(format!("cannot start a thread: {error}")))?;
    let (tell, told) = oneshot::channel();
    let name = file.to_owned();
    let state = (Some(open), pieces, Some(tell));
    let messages = stream::unfold(state, move |(open, mut pieces, mut tell)| {
        let name = name.clone();
        async move {
            if let Some(open) = open {
                return Some((open, (None, pieces, tell)));
            }
            match pieces.recv().await? {
                Ok(bytes) => Some((piece(bytes), (None, pieces, tell))),
                Err(error) => {
                    let failure = Failure::local(format!("cannot read {name}: {error}"));
                    if let Some(tell) = tell.take() {
                        // Nobody listens only if the request is over already.
                        let _ = tell.send(failure);
                    }
                    std::future::pending().await
                }
            }
        }
    });
    let broken = async {
        match told.await {
            Ok(failure) => failure,
            // The stream has ended well.
            Err(_) => std::future::pending().await,
        }
    };
    Ok((messages, broken))
}
