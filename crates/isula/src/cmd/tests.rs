//! The table of commands and the help.

use super::*;
use crate::flags::{Flag, Kind};

#[test]
fn the_overview_has_the_seeds_shape() {
    static TOP: Syntax = Syntax {
        name: "",
        usage: "<command> [args...]",
        about: "",
        flags: &[],
        least: 0,
        most: 0,
        stops_at_argument: true,
    };
    let text = overview(&TOP);
    let start = "USAGE:\n\tisula <command> [args...]\n\nCOMMANDS:\n\tattach \tAttach to a running \
                 container\n\tcreate \tCreate a new container\n\tdiff   \tInspect changes to files or \
                 directories on a container's filesystem\n\texec   \tRun a command in a running \
                 container\n";
    assert!(text.starts_with(start), "{text}");
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.syntax.name).collect();
    assert!(names.is_sorted());
    for name in NOT_AVAILABLE {
        assert!(!text.contains(&format!("\t{name}")), "{name}");
        let failure = find(name).map(|_| ()).unwrap_err();
        assert_eq!(failure.to_string(), format!("isula {name}: not available in this version"));
    }
    let failure = find("nonsense").map(|_| ()).unwrap_err();
    assert_eq!(failure.to_string(), "isula: command \"nonsense\" not found\nSee 'isula --help'.");
}

#[test]
fn no_command_has_two_flags_of_one_name() {
    for Command { syntax, .. } in COMMANDS {
        let flags: Vec<&Flag> = syntax.all().collect();
        for (index, flag) in flags.iter().enumerate() {
            let twice = |other: &&&Flag| {
                other.long == flag.long || (other.short.is_some() && other.short == flag.short)
            };
            let other = flags.iter().skip(index + 1).find(twice);
            assert_eq!(other, None, "isula {}: --{}", syntax.name, flag.long);
            if let Kind::Alias(of) = flag.kind {
                assert!(flags.iter().any(|flag| flag.long == of), "--{} of --{of}", flag.long);
            }
        }
    }
}
