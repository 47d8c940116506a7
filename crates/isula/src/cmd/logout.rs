//! `isula logout`: forgets credentials for a registry.

use super::{Command, Context};
use crate::credentials::{self, AuthFile, HUB};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::output;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "logout",
        usage: "[SERVER]",
        about: "Log out from a registry",
        flags: &[&[Flag::unsupported("all", Some('a'))]],
        least: 0,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(_: &Context, arguments: &Arguments) -> Outcome {
    let registry = credentials::normal(arguments.rest.first().map_or(HUB, String::as_str));
    let mut file = AuthFile::read(credentials::own_file()?)?;
    let helper = file.helper(registry)?;
    if !file.take(registry) {
        output::print(&format!("Not logged in to {registry}\n"))?;
        return Ok(0);
    }
    if let Some(helper) = helper {
        helper.erase(credentials::key(registry)).await?;
    }
    file.write()?;
    output::print(&format!("Removing login credentials for {registry}\n"))?;
    Ok(0)
}
