//! `isula inspect`: everything about containers and images.

use futures_util::{StreamExt, stream};
use isula_api::v1::{InspectImageRequest, InspectRequest};

use super::{Command, Context};
use crate::client::Client;
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::json::Value;
use crate::output;
use crate::template::Template;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "inspect",
        usage: "[OPTIONS] NAME|ID [NAME|ID...]",
        about: "Return low-level information on a container or image",
        flags: &[&[
            Flag::value("format", Some('f'), "template", "Go template or \"json\""),
            Flag::unsupported("size", Some('s')),
            Flag::unsupported("time", Some('t')),
            Flag::value("type", None, "kind", "Only this: container or image"),
        ]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

/// The same for images alone: `isula image inspect`.
pub static IMAGE: Command = Command {
    syntax: Syntax {
        name: "image inspect",
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Display detailed information on one or more images",
        flags: &[&[
            Flag::value("format", Some('f'), "template", "Go template or \"json\""),
            Flag::unsupported("platform", None),
        ]],
        least: 1,
        most: usize::MAX,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(show(context, arguments, Kind::Image)),
};

/// Indentation of the seed's JSON.
const INDENT: usize = 4;
/// Requests that are under way at once.
const AT_ONCE: usize = 16;

/// What may bear the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Container,
    Image,
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "" => Ok(Kind::Any),
        "container" => Ok(Kind::Container),
        "image" => Ok(Kind::Image),
        other => Err(format!("{other:?} is not a valid value for --type")),
    }
}

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let kind = arguments.parsed("type", kind)?.unwrap_or(Kind::Any);
    show(context, arguments, kind).await
}

async fn show(context: &Context, arguments: &Arguments, kind: Kind) -> Outcome {
    let template = match arguments.text("format") {
        None | Some("json") => None,
        Some(format) => {
            Some(Template::parse(format).map_err(|error| arguments.fault(error.to_string()))?)
        }
    };
    let client = context.client().await?;
    let mut answers =
        stream::iter(&arguments.rest).map(|name| find(client, name, kind)).buffered(AT_ONCE);
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(value) => found.push(value),
            Err(failure) => failures.push(failure),
        }
    }
    if let Some(template) = template {
        for value in &found {
            match template.execute(value) {
                Ok(text) => output::print(&format!("{text}\n"))?,
                Err(error) => failures.push(Failure::local(error.to_string())),
            }
        }
    } else {
        let list = Value::List(found);
        let compact = arguments.text("format").is_some();
        output::print(&(if compact { list.compact() } else { list.pretty(INDENT) } + "\n"))?;
    }
    failures.iter().for_each(|failure| output::tell(&failure.to_string()));
    if failures.is_empty() { Ok(0) } else { Err(Failure::Told(1)) }
}

/// A container has priority over an image of the same name.
async fn find(client: &Client, name: &str, kind: Kind) -> Result<Value, Failure> {
    if kind != Kind::Image {
        match client.containers().inspect(InspectRequest { id: name.to_owned() }).await {
            Ok(answer) => return document(&answer.into_inner().json),
            Err(status) => {
                let failure = Failure::from(status);
                if kind == Kind::Container || !failure.is_kind("not-found") {
                    return Err(failure);
                }
            }
        }
    }
    let request = InspectImageRequest { image: name.to_owned() };
    match client.images().inspect_image(request).await {
        Ok(answer) => document(&answer.into_inner().json),
        Err(status) => {
            let failure = Failure::from(status);
            let missing = failure.is_kind("not-found") || failure.is_kind("image-not-found");
            match kind {
                Kind::Any if missing => Err(Failure::local(format!("no such object: {name}"))),
                _ => Err(failure),
            }
        }
    }
}

fn document(json: &[u8]) -> Result<Value, Failure> {
    Value::parse(json)
        .map_err(|error| Failure::local(format!("the daemon's answer is not JSON: {error}")))
}
