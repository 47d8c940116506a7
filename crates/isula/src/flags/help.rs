//! The help of a command, in the shape of the seed's.

use super::{Flag, GLOBAL, Kind, Syntax};

/// Usage, purpose and flags of a command.
#[must_use]
pub fn help(syntax: &Syntax) -> String {
    let mut out = format!("USAGE:\n\tisula {} {}\n\n{}\n", syntax.name, syntax.usage, syntax.about);
    let own: Vec<&Flag> = syntax.flags.iter().copied().flatten().collect();
    section(&mut out, "OPTIONS", own);
    section(&mut out, "GLOBAL OPTIONS", GLOBAL.iter().collect());
    out
}

/// The flags under a title, sorted and aligned.
pub fn section(out: &mut String, title: &str, mut flags: Vec<&Flag>) {
    flags.retain(|flag| !matches!(flag.kind, Kind::Alias(_) | Kind::Unsupported));
    if flags.is_empty() {
        return;
    }
    flags.sort_by_key(|flag| flag.long);
    let widest = flags.iter().map(|flag| left(flag).len()).max().unwrap_or(0);
    out.push_str(&format!("\n{title}:\n"));
    for flag in flags {
        out.push_str(&format!("\t{:widest$}\t{}\n", left(flag), flag.about));
    }
}

fn left(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    match flag.kind {
        Kind::Value(word) | Kind::List(word) => format!("{short}--{} {word}", flag.long),
        _ => format!("{short}--{}", flag.long),
    }
}
