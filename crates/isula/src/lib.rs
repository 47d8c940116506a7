//! The command line client: flags, the terminal, output. It speaks the API and knows nothing of
//! the engine.
//!
//! A library only so that its parsers can be tested and fuzzed; `main.rs` is the program.

#![forbid(unsafe_code)]

mod archive;
mod client;
mod cmd;
mod create;
mod credentials;
mod error;
mod fetch;
mod flags;
mod interrupt;
pub mod json;
mod output;
mod parse;
mod pull;
mod reader;
mod session;
mod signals;
pub mod template;

use std::ffi::OsString;
use std::process::ExitCode;

use client::{Address, DEFAULT_HOST};
use cmd::{Command, Context};
use error::{Failure, Outcome};
use flags::{Flag, Syntax};

/// Flags before the command.
static TOP: Syntax = Syntax {
    name: "",
    usage: "<command> [args...]",
    about: "",
    flags: &[&[Flag::switch("version", Some('v'), "Print the client's version")]],
    least: 0,
    most: usize::MAX,
    stops_at_argument: true,
};

/// Runs the command that the arguments name; they are those after the program's own name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let default = std::panic::take_hook();
    // A panic aborts: this is the last chance to give the user's terminal back.
    std::panic::set_hook(Box::new(move |panic| {
        isula_sys::terminal::restore();
        default(panic);
    }));
    let mut runs = false;
    let mut debug = false;
    match start(arguments, &mut runs, &mut debug) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            if failure.speaks() {
                output::tell(&failure.to_string());
            }
            if let (true, Failure::Daemon { kind, .. }) = (debug, &failure) {
                output::tell(&format!("DEBUG: kind of error: {kind}"));
            }
            ExitCode::from(failure.status(runs))
        }
    }
}

fn start(arguments: impl Iterator<Item = OsString>, runs: &mut bool, debug: &mut bool) -> Outcome {
    let words = arguments.map(OsString::into_string).collect::<Result<Vec<_>, _>>();
    let words = words
        .map_err(|word| Failure::usage("", format!("argument {word:?} is not valid UTF-8")))?;
    let top = TOP.parse(&words)?;
    if top.on("version") {
        output::print(&format!("isula version {}\n", env!("CARGO_PKG_VERSION")))?;
        return Ok(0);
    }
    let (name, rest) = match top.rest.split_first() {
        Some((name, rest)) if !top.on("help") => (name.as_str(), rest),
        Some((name, _)) => return help(Some(name)),
        None => return help(None),
    };
    if name == "help" {
        return help(rest.first().map(String::as_str));
    }
    let (command, rest) = match (cmd::group::find(name), rest.split_first()) {
        (None, _) => (cmd::find(name)?, rest),
        (Some(group), Some((word, rest))) if !matches!(word.as_str(), "--help" | "-h") => {
            (group.command(word)?, rest)
        }
        (Some(group), _) => {
            output::print(&group.help())?;
            return Ok(0);
        }
    };
    *runs = command.runs_process;
    let arguments = command.syntax.parse(rest)?;
    *debug = top.on("debug") || arguments.on("debug");
    if arguments.on("help") {
        output::print(&arguments.help())?;
        return Ok(0);
    }
    command.syntax.check_count(arguments.rest.len())?;
    let host = arguments.value("host").or(top.value("host")).map(str::to_owned);
    execute(command, &arguments, &address(host)?)
}

fn help(name: Option<&str>) -> Outcome {
    let text = match name {
        Some(name) => match cmd::group::find(name) {
            Some(group) => group.help(),
            None => flags::help(&cmd::find(name)?.syntax),
        },
        None => cmd::overview(&TOP),
    };
    output::print(&text)?;
    Ok(0)
}

fn address(given: Option<String>) -> Result<Address, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = given.or_else(|| variable("ISULAD_HOST")).or_else(|| variable("ISULA_HOST"));
    Address::parse(host.as_deref().unwrap_or(DEFAULT_HOST))
}

fn execute(command: &Command, arguments: &flags::Arguments, address: &Address) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start: {error}")))?;
    let context = Context::new(address.clone());
    let outcome = runtime.block_on((command.run)(&context, arguments));
    // A thread that waits for stdin ends with the process.
    runtime.shutdown_background();
    outcome
}
