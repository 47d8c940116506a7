//! The command line's grammar: Docker's (that of Go's pflag), so that every script's habits work.
//!
//! `-itd`, `-e A=1`, `-eA=1`, `--env A=1`, `--env=A=1`, `--rm=false`; a command that starts a
//! program stops reading flags at its first argument. A flag that Docker has and this version has
//! not is refused by name. A flag's row here is all that its parsing, its help, its completion and
//! its refusal need; `grammar` makes clap's command of the rows and says its errors in Docker's
//! words.

mod grammar;
mod help;

#[cfg(test)]
mod tests;

use clap::ArgMatches;

use crate::error::Failure;

pub use grammar::command;
pub use help::{help, section};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true` and `=false`.
    Switch,
    /// One value, the last counts; the word for it in the help.
    Value(&'static str),
    /// A value each time it is given; the word for it in the help.
    List(&'static str),
    /// Another name of the flag with this long name.
    Alias(&'static str),
    /// Docker or iSulad has it, this version has not; with or without a value.
    Unsupported,
}

/// One flag of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// The name after two dashes.
    pub long: &'static str,
    /// The letter after one dash.
    pub short: Option<char>,
    /// What it takes.
    pub kind: Kind,
    /// One line for the help.
    pub about: &'static str,
}

impl Flag {
    /// A flag without a value.
    #[must_use]
    pub const fn switch(long: &'static str, short: Option<char>, about: &'static str) -> Self {
        Self { long, short, kind: Kind::Switch, about }
    }

    /// A flag with one value.
    #[must_use]
    pub const fn value(
        long: &'static str,
        short: Option<char>,
        word: &'static str,
        about: &'static str,
    ) -> Self {
        Self { long, short, kind: Kind::Value(word), about }
    }

    /// A flag that may be given many times.
    #[must_use]
    pub const fn list(
        long: &'static str,
        short: Option<char>,
        word: &'static str,
        about: &'static str,
    ) -> Self {
        Self { long, short, kind: Kind::List(word), about }
    }

    /// Another name of a flag.
    #[must_use]
    pub const fn alias(long: &'static str, short: Option<char>, of: &'static str) -> Self {
        Self { long, short, kind: Kind::Alias(of), about: "" }
    }

    /// A flag that is refused by name.
    #[must_use]
    pub const fn unsupported(long: &'static str, short: Option<char>) -> Self {
        Self { long, short, kind: Kind::Unsupported, about: "" }
    }

    /// As an error cites it: `-m, --memory`.
    #[must_use]
    pub fn cited(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// Flags that every command takes.
pub const GLOBAL: &[Flag] = &[
    Flag::switch("debug", Some('D'), "Say more about errors"),
    Flag::switch("help", None, "Print this help"),
    Flag::list("host", Some('H'), "address", "Daemon to connect to (unix:///path)"),
];

/// How a command is called.
#[derive(Debug, Clone, Copy)]
pub struct Syntax {
    /// `run`.
    pub name: &'static str,
    /// `[OPTIONS] IMAGE [COMMAND] [ARG...]`.
    pub usage: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    /// Its own flags, in groups.
    pub flags: &'static [&'static [Flag]],
    /// Least number of arguments.
    pub least: usize,
    /// Largest number of arguments.
    pub most: usize,
    /// Flags end at the first argument: what follows belongs to the program that is to run.
    pub stops_at_argument: bool,
}

/// What the user gave.
#[derive(Debug, Clone)]
pub struct Arguments {
    syntax: &'static Syntax,
    given: ArgMatches,
    /// What is no flag, in order.
    pub rest: Vec<String>,
}

impl Syntax {
    /// Every flag, the global ones last.
    pub fn all(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().copied().flatten().chain(GLOBAL)
    }

    fn long(&self, name: &str) -> Option<&'static Flag> {
        match self.all().find(|flag| flag.long == name) {
            Some(Flag { kind: Kind::Alias(of), .. }) => self.all().find(|flag| flag.long == *of),
            other => other,
        }
    }

    fn fault(&self, message: impl Into<String>) -> Failure {
        Failure::usage(self.name, message)
    }

    /// Reads the arguments that follow the command's name.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an unknown or unsupported flag, a missing or malformed value.
    pub fn parse(&'static self, words: &[String]) -> Result<Arguments, Failure> {
        grammar::parse(self, words)
    }

    /// Whether so many arguments are right.
    ///
    /// # Errors
    /// [`Failure::Usage`] that says how many are.
    pub fn check_count(&self, count: usize) -> Result<(), Failure> {
        if (self.least..=self.most).contains(&count) {
            return Ok(());
        }
        let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
        let wanted = if self.most == 0 {
            "accepts no arguments".to_owned()
        } else if self.least == self.most {
            format!("requires exactly {} {}", self.least, plural(self.least))
        } else if count < self.least {
            format!("requires at least {} {}", self.least, plural(self.least))
        } else {
            format!("accepts at most {} {}", self.most, plural(self.most))
        };
        Err(self.fault(format!("isula {}: {wanted}", self.name)))
    }
}

fn invalid(command: &str, flag: &Flag, value: &str, reason: &str) -> Failure {
    let cited = flag.cited();
    Failure::usage(command, format!("invalid argument {value:?} for {cited:?} flag: {reason}"))
}

impl Arguments {
    fn flag(&self, long: &str) -> Option<&'static Flag> {
        let flag = self.syntax.long(long);
        debug_assert!(flag.is_some(), "isula {} has no flag --{long}", self.syntax.name);
        flag
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn on(&self, long: &str) -> bool {
        self.value(long) == Some("true")
    }

    /// The last value of a flag.
    #[must_use]
    pub fn value(&self, long: &str) -> Option<&str> {
        self.values(long).last()
    }

    /// Every value of a flag, in order.
    pub fn values<'a>(&'a self, long: &str) -> impl Iterator<Item = &'a str> {
        let id = self.flag(long).map(|flag| flag.long);
        let given = id.and_then(|id| self.given.try_get_many::<String>(id).ok().flatten());
        given.into_iter().flatten().map(String::as_str)
    }

    /// The last value of a flag, if there is one and it is not empty.
    #[must_use]
    pub fn text(&self, long: &str) -> Option<&str> {
        self.value(long).filter(|value| !value.is_empty())
    }

    /// The last value of a flag, parsed.
    ///
    /// # Errors
    /// [`Failure::Usage`] that names the flag and its value.
    pub fn parsed<T, E: ToString>(
        &self,
        long: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        self.value(long).map(|value| self.check(long, value, parse(value))).transpose()
    }

    /// Every value of a flag, parsed.
    ///
    /// # Errors
    /// [`Failure::Usage`] that names the flag and the first value that is wrong.
    pub fn each<T, E: ToString>(
        &self,
        long: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Failure> {
        self.values(long).map(|value| self.check(long, value, parse(value))).collect()
    }

    fn check<T, E: ToString>(
        &self,
        long: &str,
        value: &str,
        parsed: Result<T, E>,
    ) -> Result<T, Failure> {
        parsed.map_err(|error| match self.flag(long) {
            Some(flag) => invalid(self.syntax.name, flag, value, &error.to_string()),
            None => self.fault(error.to_string()),
        })
    }

    /// Wrong use of this command.
    #[must_use]
    pub fn fault(&self, message: impl Into<String>) -> Failure {
        self.syntax.fault(message)
    }

    /// The help of this command.
    #[must_use]
    pub fn help(&self) -> String {
        help(self.syntax)
    }
}
