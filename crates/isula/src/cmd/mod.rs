//! The commands: one file each.

mod attach;
mod check;
mod cid_file;
mod completion;
mod confirm;
mod create;
mod df;
mod diff;
mod exec;
mod export;
pub mod group;
mod history;
mod image;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod many;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod start;
mod stop;
mod tag;
mod top;
mod unpause;
mod version;
mod wait;

#[cfg(test)]
mod tests;

use std::pin::Pin;

use tokio::sync::OnceCell;

use crate::client::{Address, Client};
use crate::error::{Failure, Outcome};
use crate::flags::{self, Arguments, Syntax};

/// What a command does with its arguments.
pub type Run =
    for<'a> fn(&'a Context, &'a Arguments) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A command.
pub struct Command {
    /// How it is called.
    pub syntax: Syntax,
    /// Its exit status is that of a process it runs, so its own failures have statuses beyond 124.
    pub runs_process: bool,
    /// What it does.
    pub run: Run,
}

/// What a command works with.
pub struct Context {
    address: Address,
    client: OnceCell<Client>,
}

impl Context {
    /// For the daemon at an address; nothing is opened yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self { address, client: OnceCell::new() }
    }

    /// The connection, opened by the first call.
    ///
    /// # Errors
    /// No daemon answers.
    pub async fn client(&self) -> Result<&Client, Failure> {
        self.client.get_or_try_init(|| Client::connect(&self.address)).await
    }
}

/// Every command, in the order of the help.
pub static COMMANDS: [&Command; 33] = [
    &attach::COMMAND,
    &completion::COMMAND,
    &create::COMMAND,
    &diff::COMMAND,
    &exec::COMMAND,
    &export::COMMAND,
    &history::COMMAND,
    &images::COMMAND,
    &import::COMMAND,
    &info::COMMAND,
    &inspect::COMMAND,
    &kill::COMMAND,
    &load::COMMAND,
    &login::COMMAND,
    &logout::COMMAND,
    &logs::COMMAND,
    &pause::COMMAND,
    &port::COMMAND,
    &ps::COMMAND,
    &pull::COMMAND,
    &rename::COMMAND,
    &restart::COMMAND,
    &rm::COMMAND,
    &rmi::COMMAND,
    &run::COMMAND,
    &save::COMMAND,
    &start::COMMAND,
    &stop::COMMAND,
    &tag::COMMAND,
    &top::COMMAND,
    &unpause::COMMAND,
    &version::COMMAND,
    &wait::COMMAND,
];

/// Commands that the seed lists and this version has not.
const NOT_AVAILABLE: [&str; 4] = ["cp", "events", "stats", "update"];

/// The command with this name.
///
/// # Errors
/// There is none, or not yet.
pub fn find(name: &str) -> Result<&'static Command, Failure> {
    let found = COMMANDS.iter().find(|command| command.syntax.name == name);
    found.copied().ok_or_else(|| {
        if NOT_AVAILABLE.contains(&name) {
            Failure::NotAvailable(name.to_owned())
        } else {
            Failure::UnknownCommand(name.to_owned())
        }
    })
}

/// The help of the program, in the seed's shape.
#[must_use]
pub fn overview(top: &Syntax) -> String {
    let mut out = format!("USAGE:\n\tisula {}\n\nCOMMANDS:\n", top.usage);
    let commands = COMMANDS.iter().map(|command| (command.syntax.name, command.syntax.about));
    let groups = group::GROUPS.iter().map(|group| (group.name, group.about));
    let mut lines: Vec<_> = commands.chain(groups).collect();
    lines.sort_unstable();
    let widest = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, about) in lines {
        out.push_str(&format!("\t{name:widest$}\t{about}\n"));
    }
    flags::section(&mut out, "GLOBAL OPTIONS", top.all().collect());
    out
}
