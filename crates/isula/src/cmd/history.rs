//! `isula history`: how an image came to be.

use isula_api::v1::{HistoryStep, ImageHistoryRequest};
use jiff::Timestamp;

use super::ps::date;
use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::json::Value;
use crate::output::{self, age, rows, rows::Titles, size};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "history",
        usage: "[OPTIONS] IMAGE",
        about: "Show the history of an image",
        flags: &[&[
            Flag::value("format", None, "template", "Go template, \"table ...\" or \"json\""),
            Flag::switch("human", None, "Sizes and dates for people (default true)"),
            Flag::switch("no-trunc", None, "Do not shorten"),
            Flag::unsupported("platform", None),
            Flag::switch("quiet", Some('q'), "Only the ids"),
        ]],
        least: 1,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

const TABLE: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT: &str = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const TITLES: Titles = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
    ("Tags", "TAGS"),
];

/// Characters of a command that are shown.
const COMMAND_WIDTH: usize = 45;
const MISSING: &str = "<missing>";

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let image = arguments.rest.first().cloned().unwrap_or_default();
    let request = ImageHistoryRequest { image };
    let answer = context.client().await?.storage().image_history(request).await?.into_inner();
    let human = arguments.value("human").is_none_or(|value| value == "true");
    let format = match arguments.text("format") {
        Some(format) => format,
        None if arguments.on("quiet") => "{{.ID}}",
        None if human => TABLE,
        None => EXACT,
    };
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let shown = Shown { whole: arguments.on("no-trunc"), human, now };
    let list: Vec<Value> = answer.steps.iter().map(|step| shown.row(step)).collect();
    output::print(&rows::render(format, TITLES, &list)?)?;
    Ok(0)
}

struct Shown {
    whole: bool,
    human: bool,
    now: i64,
}

impl Shown {
    fn row(&self, step: &HistoryStep) -> Value {
        let id = match (step.id.is_empty(), self.whole) {
            (true, _) => MISSING.to_owned(),
            (false, true) => format!("sha256:{}", step.id),
            (false, false) => output::short(&step.id).to_owned(),
        };
        let command = step.created_by.replace(['\t', '\n'], " ");
        let command = match command.chars().count() > COMMAND_WIDTH && !self.whole {
            true => command.chars().take(COMMAND_WIDTH - 1).chain("…".chars()).collect(),
            false => command,
        };
        let size = match self.human {
            true => size::human(step.size),
            false => step.size.to_string(),
        };
        Value::map([
            ("Comment", step.comment.as_str().into()),
            ("CreatedAt", date(step.created_ns, &output::zone::local()).into()),
            ("CreatedBy", command.into()),
            ("CreatedSince", age::ago(step.created_ns, self.now).into()),
            ("ID", id.into()),
            ("Size", size.into()),
            ("Tags", step.tags.join(",").into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shortened_unless_all_of_it_is_wanted() {
        let step = HistoryStep {
            id: "ab".repeat(32),
            created_by: "x\t".repeat(40),
            size: 1_500_000,
            ..HistoryStep::default()
        };
        let bare = HistoryStep::default();
        let show = |whole, human| {
            let shown = Shown { whole, human, now: 0 };
            let rows = [shown.row(&step), shown.row(&bare)];
            rows::render("{{.ID}}|{{.CreatedBy}}|{{.Size}}", TITLES, &rows).unwrap()
        };
        let short = format!("abababababab|{}…|1.5MB\n<missing>||0B\n", "x ".repeat(22));
        assert_eq!(show(false, true), short);
        let whole =
            format!("sha256:{}|{}|1500000\n<missing>||0\n", "ab".repeat(32), "x ".repeat(40));
        assert_eq!(show(true, false), whole);
    }
}
