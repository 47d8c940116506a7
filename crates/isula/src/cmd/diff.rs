//! `isula diff`: what a container changed of its image.

use isula_api::v1::{ChangeKind, ChangesRequest};

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Syntax};
use crate::output;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "diff",
        usage: "CONTAINER",
        about: "Inspect changes to files or directories on a container's filesystem",
        flags: &[],
        least: 1,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let id = arguments.rest.first().cloned().unwrap_or_default();
    let changes = context.client().await?.storage().changes(ChangesRequest { id }).await?;
    let mut text = String::new();
    for change in changes.into_inner().changes {
        let letter = match change.kind() {
            ChangeKind::Changed => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        // A name in a container may hold what drives a terminal.
        let path: String = String::from_utf8_lossy(&change.path)
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        text.push_str(&format!("{letter} {path}\n"));
    }
    output::print(&text)?;
    Ok(0)
}
