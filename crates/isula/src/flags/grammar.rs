//! From the table of flags to clap's command and back: what clap found becomes [`Arguments`], what it
//! refused becomes the line that Docker would print.

use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Arguments, Flag, Kind, Syntax, invalid};
use crate::error::Failure;

/// The id of everything that is no flag; no flag can be called so.
const REST: &str = "ARGUMENTS";

/// Clap's command with the flags that work.
#[must_use]
pub fn command(syntax: &'static Syntax) -> Command {
    let rest = Arg::new(REST).num_args(0..).action(ArgAction::Append).hide(true);
    let works = syntax.all().filter(|flag| flag.kind != Kind::Unsupported);
    Command::new(syntax.name)
        .about(syntax.about)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args(works.filter_map(|flag| argument(syntax, flag)))
        .arg(rest.trailing_var_arg(syntax.stops_at_argument))
}

fn argument(syntax: &'static Syntax, flag: &'static Flag) -> Option<Arg> {
    // Every value is kept in order; who wants one value takes the last.
    let arg = Arg::new(flag.long).long(flag.long).help(flag.about).action(ArgAction::Append);
    let arg = match flag.kind {
        Kind::Alias(_) => return None,
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(truth),
        Kind::Value(word) | Kind::List(word) => {
            arg.num_args(1).value_name(word).allow_hyphen_values(true)
        }
        Kind::Unsupported => arg.num_args(0..=1).default_missing_value("").hide(true),
    };
    // `-h` is help, but where it is a host name.
    let help = flag.long == "help" && !syntax.all().any(|flag| flag.short == Some('h'));
    let mut arg = match flag.short.or(help.then_some('h')) {
        Some(short) => arg.short(short),
        None => arg,
    };
    for alias in syntax.all().filter(|alias| alias.kind == Kind::Alias(flag.long)) {
        arg = arg.alias(alias.long);
        if let Some(short) = alias.short {
            arg = arg.short_alias(short);
        }
    }
    Some(arg)
}

/// The spellings of Go's `strconv.ParseBool`.
fn truth(value: &str) -> Result<String, &'static str> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
        _ => Err(NO_TRUTH),
    }
}

const NO_TRUTH: &str = "it is neither true nor false";

/// Reads the words that follow the command's name.
pub(super) fn parse(syntax: &'static Syntax, words: &[String]) -> Result<Arguments, Failure> {
    let refused = || syntax.all().filter(|flag| flag.kind == Kind::Unsupported);
    let command = command(syntax).args(refused().filter_map(|flag| argument(syntax, flag)));
    let parsed = command.try_get_matches_from(words);
    let given = parsed.map_err(|error| in_dockers_words(syntax, &error, words))?;
    if let Some(flag) = refused().find(|flag| given.contains_id(flag.long)) {
        let spelled = match flag.short {
            Some(short) if !words.iter().any(|word| long_name(word) == Some(flag.long)) => {
                format!("-{short}")
            }
            _ => format!("--{}", flag.long),
        };
        return Err(syntax.fault(format!("{spelled} is not supported in this version")));
    }
    let rest = given.get_many::<String>(REST).into_iter().flatten().cloned().collect();
    Ok(Arguments { syntax, given, rest })
}

fn in_dockers_words(syntax: &'static Syntax, error: &clap::Error, words: &[String]) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let cited = context(ContextKind::InvalidArg);
    let flag = long_name(cited).and_then(|name| syntax.long(name));
    match (error.kind(), flag) {
        (ErrorKind::UnknownArgument, _) => match long_name(cited) {
            Some(name) => syntax.fault(format!("unknown flag: --{name}")),
            None => {
                let letter = cited.trim_start_matches('-');
                let bundles = |word: &&String| !word.starts_with("--") && word.contains(letter);
                let word = words.iter().filter(|word| word.starts_with('-')).find(bundles);
                let word = word.map_or(cited, String::as_str);
                syntax.fault(format!("unknown shorthand flag: '{letter}' in {word}"))
            }
        },
        (ErrorKind::ValueValidation, Some(flag)) => {
            invalid(syntax.name, flag, context(ContextKind::InvalidValue), NO_TRUTH)
        }
        // A value can only be missing where the words end.
        (ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::NoEquals, Some(flag)) => {
            let last = words.last().map(String::as_str).unwrap_or_default();
            let what = match last.chars().last() {
                Some(letter) if !last.starts_with("--") => format!("'{letter}' in {last}"),
                _ => format!("--{}", flag.long),
            };
            syntax.fault(format!("flag needs an argument: {what}"))
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            syntax.fault(line.trim_start_matches("error: ").to_owned())
        }
    }
}

/// The name in `--name`, `--name=value` and clap's `--name <word>`.
fn long_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("--")?;
    name.split(['=', ' ', '[', '<']).next()
}
