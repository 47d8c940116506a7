//! The command line's grammar: Docker's (that of Go's pflag), so that every script's habits work.
//!
//! `-itd`, `-e A=1`, `-eA=1`, `--env A=1`, `--env=A=1`, `--rm=false`; a command that starts a
//! program stops reading flags at its first argument. A flag that Docker has and this version has
//! not is refused by name. Written by hand because a general parser has another grammar and other
//! messages, and because a flag's row here is all that its parsing, its help and its refusal need.

mod help;

#[cfg(test)]
mod tests;

use crate::error::Failure;

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

/// A flag that was given, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    flag: &'static Flag,
    value: String,
}

/// What the user gave.
#[derive(Debug, Clone)]
pub struct Arguments {
    syntax: &'static Syntax,
    given: Vec<Given>,
    /// What is no flag, in order.
    pub rest: Vec<String>,
}

impl Syntax {
    /// Every flag, the global ones last.
    pub fn all(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().copied().flatten().chain(GLOBAL)
    }

    fn long(&self, name: &str) -> Option<&'static Flag> {
        self.resolve(self.all().find(|flag| flag.long == name))
    }

    fn short(&self, letter: char) -> Option<&'static Flag> {
        let found = self.all().find(|flag| flag.short == Some(letter));
        // `-h` is help, but where it is a host name.
        let help = || (letter == 'h').then(|| GLOBAL.iter().find(|flag| flag.long == "help"))?;
        self.resolve(found.or_else(help))
    }

    fn resolve(&self, flag: Option<&'static Flag>) -> Option<&'static Flag> {
        match flag {
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
        let mut arguments = Arguments { syntax: self, given: Vec::new(), rest: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                arguments.rest.extend(words.by_ref().cloned());
            } else if let Some(long) = word.strip_prefix("--") {
                arguments.given.push(self.parse_long(long, &mut words)?);
            } else if word.len() > 1 && word.starts_with('-') {
                self.parse_short(word, &mut words, &mut arguments.given)?;
            } else {
                arguments.rest.push(word.clone());
                if self.stops_at_argument {
                    arguments.rest.extend(words.by_ref().cloned());
                }
            }
        }
        Ok(arguments)
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

    fn parse_long<'a>(
        &self,
        text: &str,
        words: &mut impl Iterator<Item = &'a String>,
    ) -> Result<Given, Failure> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let flag = self.long(name).ok_or_else(|| self.fault(format!("unknown flag: --{name}")))?;
        let value = match (flag.kind, attached) {
            (Kind::Unsupported, _) => return Err(self.unsupported(&format!("--{name}"))),
            (Kind::Switch, None) => "true".to_owned(),
            (Kind::Switch, Some(value)) => self.truth(flag, value)?,
            (_, Some(value)) => value.to_owned(),
            (_, None) => words
                .next()
                .cloned()
                .ok_or_else(|| self.fault(format!("flag needs an argument: --{name}")))?,
        };
        Ok(Given { flag, value })
    }

    fn parse_short<'a>(
        &self,
        word: &str,
        words: &mut impl Iterator<Item = &'a String>,
        given: &mut Vec<Given>,
    ) -> Result<(), Failure> {
        let letters = word.strip_prefix('-').unwrap_or(word);
        for (at, letter) in letters.char_indices() {
            let after = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            let Some(flag) = self.short(letter) else {
                let message = format!("unknown shorthand flag: '{letter}' in {word}");
                return Err(self.fault(message));
            };
            let attached = after.strip_prefix('=');
            let value = match flag.kind {
                Kind::Unsupported => return Err(self.unsupported(&format!("-{letter}"))),
                Kind::Switch => match attached {
                    None => {
                        given.push(Given { flag, value: "true".to_owned() });
                        continue;
                    }
                    Some(value) => self.truth(flag, value)?,
                },
                _ if after.is_empty() => words.next().cloned().ok_or_else(|| {
                    self.fault(format!("flag needs an argument: '{letter}' in {word}"))
                })?,
                _ => attached.unwrap_or(after).to_owned(),
            };
            given.push(Given { flag, value });
            break;
        }
        Ok(())
    }

    fn unsupported(&self, flag: &str) -> Failure {
        self.fault(format!("{flag} is not supported in this version"))
    }

    /// The spellings of Go's `strconv.ParseBool`.
    fn truth(&self, flag: &Flag, value: &str) -> Result<String, Failure> {
        match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
            _ => Err(invalid(self.name, flag, value, "it is neither true nor false")),
        }
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
        let flag = self.flag(long);
        let same = move |given: &&Given| flag.is_some_and(|flag| flag.long == given.flag.long);
        self.given.iter().filter(same).map(|given| given.value.as_str())
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
