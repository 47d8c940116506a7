//! `isula top`: the processes of a container.

use isula_api::v1::{TopRequest, TopResponse};

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Syntax};
use crate::output::{self, table::aligned};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "top",
        usage: "CONTAINER",
        about: "Display the running processes of a container",
        flags: &[],
        least: 1,
        most: usize::MAX,
        stops_at_argument: true,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let [id] = arguments.rest.as_slice() else {
        return Err(arguments.fault("options of ps are not supported in this version"));
    };
    let request = TopRequest { id: id.clone() };
    let answer = context.client().await?.containers().top(request).await?.into_inner();
    output::print(&table(&answer))?;
    Ok(0)
}

fn table(answer: &TopResponse) -> String {
    let mut lines = vec![&answer.titles];
    lines.extend(answer.rows.iter().map(|row| &row.cells));
    // A process may call itself anything: no cell may end its line or drive the terminal.
    let clean = |cell: &String| -> String {
        cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    };
    let line = |cells: &Vec<String>| cells.iter().map(clean).collect::<Vec<_>>().join("\t") + "\n";
    aligned(&lines.into_iter().map(line).collect::<String>(), 20, 3)
}

#[cfg(test)]
mod tests {
    use isula_api::v1::TopRow;

    use super::*;

    #[test]
    fn a_process_cannot_write_to_the_terminal_by_its_name() {
        let cells = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        let answer = TopResponse {
            titles: cells(["PID", "CMD"]),
            rows: vec![TopRow { cells: cells(["1", "a\u{1b}[2J\tb\n"]) }],
        };
        assert_eq!(table(&answer), "PID                 CMD\n1                   a?[2J?b?\n");
    }
}
