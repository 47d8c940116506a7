//! Commands of two words: `isula image ls`, `isula system df`. Most are other names of commands of one
//! word.

use super::{
    Command, check, df, history, images, import, info, inspect, load, prune, pull, rmi, save, tag,
};
use crate::error::Failure;
use crate::flags;

/// A first word, and what can follow it.
pub struct Group {
    /// The first word.
    pub name: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    commands: &'static [(&'static str, &'static Command)],
}

/// Every group, in the order of the help.
pub static GROUPS: [&Group; 2] = [
    &Group {
        name: "image",
        about: "Manage images",
        commands: &[
            ("history", &history::COMMAND),
            ("import", &import::COMMAND),
            ("inspect", &inspect::IMAGE),
            ("list", &images::COMMAND),
            ("load", &load::COMMAND),
            ("ls", &images::COMMAND),
            ("prune", &prune::IMAGES),
            ("pull", &pull::COMMAND),
            ("rm", &rmi::COMMAND),
            ("save", &save::COMMAND),
            ("tag", &tag::COMMAND),
        ],
    },
    &Group {
        name: "system",
        about: "Manage isula",
        commands: &[("check", &check::COMMAND), ("df", &df::COMMAND), ("info", &info::COMMAND)],
    },
];

/// The group with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Group> {
    GROUPS.iter().copied().find(|group| group.name == name)
}

impl Group {
    /// The command with this second word.
    ///
    /// # Errors
    /// There is none.
    pub fn command(&self, word: &str) -> Result<&'static Command, Failure> {
        let found = self.commands.iter().find(|(name, _)| *name == word);
        let unknown = || Failure::UnknownCommand(format!("{} {word}", self.name));
        found.map(|(_, command)| *command).ok_or_else(unknown)
    }

    /// The help of the group.
    #[must_use]
    pub fn help(&self) -> String {
        let mut out =
            format!("Usage:  isula {} COMMAND\n\n{}\n\nCommands:\n", self.name, self.about);
        let widest = self.commands.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, command) in self.commands {
            out.push_str(&format!("  {name:widest$}   {}\n", command.syntax.about));
        }
        flags::section(&mut out, "GLOBAL OPTIONS", flags::GLOBAL.iter().collect());
        out
    }
}
