//! `isula completion`: the script that completes the client's commands and flags in a shell.

use clap_complete::Shell;

use super::{COMMANDS, Command, Context};
use crate::error::Outcome;
use crate::flags::{self, Arguments, Syntax};
use crate::output;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "completion",
        usage: "SHELL",
        about: "Print the completion script for a shell (bash, zsh, fish, elvish)",
        flags: &[],
        least: 1,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(_: &Context, arguments: &Arguments) -> Outcome {
    let shell = match arguments.rest.first().map(String::as_str) {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        Some("elvish") => Shell::Elvish,
        other => {
            let name = other.unwrap_or_default();
            let message = format!("no completion for shell {name:?}: bash, zsh, fish or elvish");
            return Err(arguments.fault(message));
        }
    };
    output::print(&script(shell))?;
    Ok(0)
}

fn script(shell: Shell) -> String {
    let mut root = clap::Command::new("isula")
        .disable_help_subcommand(true)
        .subcommands(COMMANDS.iter().map(|command| flags::command(&command.syntax)));
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut root, "isula", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_its_flags_are_completed_in_every_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish] {
            let text = script(shell);
            for wanted in ["completion", "rename", "memory-swappiness", "entrypoint"] {
                assert!(text.contains(wanted), "{shell}: {wanted}");
            }
            assert!(!text.contains("isolation"), "{shell}: a flag that is refused");
        }
    }
}
