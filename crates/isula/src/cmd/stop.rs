//! `isula stop`: asks containers to stop, kills them after a while.

use isula_api::v1::StopRequest;

use super::{Command, Context, many};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::parse::{names, number};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "stop",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Stop one or more containers",
        flags: &[&[
            Flag::switch("force", Some('f'), "Kill it at once"),
            Flag::value("signal", Some('s'), "signal", "Signal to send first"),
            Flag::value("time", Some('t'), "seconds", "Time before it is killed, -1 for ever"),
            Flag::alias("timeout", None, "time"),
        ]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (client, timing) = (context.client().await?, request(arguments)?);
    let timing = &timing;
    many::each(&arguments.rest, |name| async move {
        let request = StopRequest { id: name.to_owned(), ..timing.clone() };
        client.containers().stop(request).await?;
        Ok(name.to_owned())
    })
    .await
}

fn request(arguments: &Arguments) -> Result<StopRequest, Failure> {
    let request = timing(arguments)?;
    if !arguments.on("force") {
        return Ok(request);
    }
    if request.timeout_seconds.is_some() {
        return Err(arguments.fault("conflicting options: --force and --time"));
    }
    Ok(StopRequest { timeout_seconds: Some(0), ..request })
}

/// How long to wait and which signal to send, for `stop` and `restart`.
///
/// # Errors
/// Malformed values.
pub(super) fn timing(arguments: &Arguments) -> Result<StopRequest, Failure> {
    let seconds = |text: &str| match number::number::<i32>(text)? {
        seconds if seconds >= -1 => Ok(seconds),
        _ => Err("the time is a number of seconds, or -1".to_owned()),
    };
    Ok(StopRequest {
        id: String::new(),
        timeout_seconds: arguments.parsed("time", seconds)?,
        signal: arguments.parsed("signal", names::signal)?.unwrap_or_default(),
    })
}
