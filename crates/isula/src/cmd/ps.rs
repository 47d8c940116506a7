//! `isula ps`: the list of containers.

use isula_api::v1::{ContainerSummary, ListRequest};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::json::{Method, Value};
use crate::output::{self, age, rows, rows::Titles};
use crate::parse::{names, number};
use crate::template::quote;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "ps",
        usage: "[OPTIONS]",
        about: "List containers",
        flags: &[&[
            Flag::switch("all", Some('a'), "Also those that do not run"),
            Flag::list("filter", Some('f'), "key=value", "Only those that fit"),
            Flag::value("format", None, "template", "Go template, \"table ...\" or \"json\""),
            Flag::value("last", Some('n'), "number", "Only so many, newest first"),
            Flag::switch("latest", Some('l'), "Only the newest"),
            Flag::switch("no-trunc", None, "Do not shorten"),
            Flag::switch("quiet", Some('q'), "Only the ids"),
            Flag::unsupported("size", Some('s')),
        ]],
        least: 0,
        most: 0,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

const TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t\
                     {{.Ports}}\t{{.Names}}";

const TITLES: Titles = &[
    ("Command", "COMMAND"),
    ("Created", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("ExitCode", "EXIT CODE"),
    ("FinishAt", "FINISHED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("ImageID", "IMAGE ID"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Pid", "PID"),
    ("Ports", "PORTS"),
    ("RestartCount", "RESTARTS"),
    ("RunningFor", "CREATED"),
    ("Runtime", "RUNTIME"),
    ("StartAt", "STARTED AT"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

/// Characters of a command that are shown.
const COMMAND_WIDTH: usize = 22;
/// Characters of a mount that are shown.
const MOUNT_WIDTH: usize = 15;

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let last = arguments.parsed("last", number::number::<i32>)?.unwrap_or(0);
    let request = ListRequest {
        all: arguments.on("all"),
        filters: arguments.each("filter", names::filter)?,
        last: if arguments.on("latest") { 1 } else { u32::try_from(last).unwrap_or(0) },
    };
    let containers = context.client().await?.containers().list(request).await?.into_inner();
    let whole = arguments.on("no-trunc");
    let format = match arguments.text("format") {
        Some(format) => format,
        None if arguments.on("quiet") => "{{.ID}}",
        None => TABLE,
    };
    let now = Timestamp::now();
    // Nobody lives before 1970 or after 2262; clocks that say so show odd ages, no more.
    let now = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
    let zone = output::zone::local();
    let rows: Vec<Value> =
        containers.containers.iter().map(|one| row(one, whole, now, &zone)).collect();
    output::print(&rows::render(format, TITLES, &rows)?)?;
    Ok(0)
}

fn row(container: &ContainerSummary, whole: bool, now: i64, zone: &TimeZone) -> Value {
    let mut labels: Vec<(String, String)> =
        container.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.sort();
    let label_text: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let id = if whole { &container.id } else { output::short(&container.id) };
    let image = if container.image.is_empty() { "none" } else { &container.image };
    let cut =
        |text: &str, width, mark| if whole { text.to_owned() } else { cut(text, width, mark) };
    let mounts: Vec<String> =
        container.mounts.iter().map(|mount| cut(mount, MOUNT_WIDTH, "…")).collect();
    Value::map([
        ("Command", quote(&cut(&container.command, COMMAND_WIDTH, "...")).into()),
        ("Created", age::ago(container.created_ns, now).into()),
        ("CreatedAt", date(container.created_ns, zone).into()),
        ("ExitCode", i64::from(container.exit_code).into()),
        ("FinishAt", rfc3339(container.finished_ns).into()),
        ("ID", id.into()),
        ("Image", image.into()),
        ("ImageID", container.image_id.as_str().into()),
        ("Label", Value::Method(Method::Label(labels))),
        ("Labels", label_text.join(",").into()),
        ("Mounts", mounts.join(",").into()),
        ("Names", container.name.as_str().into()),
        ("Networks", container.network.as_str().into()),
        ("Pid", i64::from(container.pid).into()),
        ("Ports", container.ports.join(", ").into()),
        ("RestartCount", i64::from(container.restarts).into()),
        ("RunningFor", age::ago(container.created_ns, now).into()),
        ("Runtime", container.runtime.as_str().into()),
        ("StartAt", rfc3339(container.started_ns).into()),
        ("State", container.state.as_str().into()),
        ("Status", age::status(container, now).into()),
    ])
}

fn cut(text: &str, width: usize, mark: &str) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => text.get(..end).unwrap_or(text).to_owned() + mark,
        None => text.to_owned(),
    }
}

/// Docker's form: `2026-11-23 10:00:00 +0100 CET`.
pub(super) fn date(nanoseconds: i64, zone: &TimeZone) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) => {
            ZonedDateTime::new(time, zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
        }
        Err(_) => String::new(),
    }
}

/// The seed's form of a time in a record; a time that never was is year 1.
fn rfc3339(nanoseconds: i64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) if nanoseconds > 0 => time.to_string(),
        _ => "0001-01-01T00:00:00Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn list(format: &str, whole: bool) -> String {
        let id = "e91e5359be653f534312bc2b4703dcc6c4ca0436ac7819e09e1ff0e75ee1d733";
        let seed = ContainerSummary {
            id: id.to_owned(),
            name: id.to_owned(),
            image: "openeuler/openeuler:20.09".to_owned(),
            command: "/bin/bash".to_owned(),
            created_ns: 1_600_000_000 * SECOND,
            started_ns: 1_600_000_026 * SECOND,
            state: "running".to_owned(),
            ..ContainerSummary::default()
        };
        let long = ContainerSummary {
            id: "6c1d81467d3367a90dd6e388a16c80411d4ba76316d86b6f56463699306e1394".to_owned(),
            name: "web".to_owned(),
            command: "sh -c while true; do echo \"hello\"; sleep 1; done".to_owned(),
            labels: [("a.b-c".to_owned(), "1".to_owned())].into(),
            state: "exited".to_owned(),
            finished_ns: 1_600_000_027 * SECOND,
            ports: vec!["80/tcp".to_owned(), "443/tcp".to_owned()],
            mounts: vec!["/a-rather-long-path".to_owned()],
            exit_code: 137,
            ..seed.clone()
        };
        let rows: Vec<Value> = [seed, long]
            .iter()
            .map(|one| row(one, whole, 1_600_000_030 * SECOND, &TimeZone::UTC))
            .collect();
        rows::render(format, TITLES, &rows).unwrap()
    }

    #[test]
    fn the_list_looks_like_the_seeds_with_computed_widths() {
        let expected = "\
CONTAINER ID   IMAGE                       COMMAND                     CREATED          STATUS                       PORTS             NAMES
e91e5359be65   openeuler/openeuler:20.09   \"/bin/bash\"                 30 seconds ago   Up 4 seconds                                   e91e5359be653f534312bc2b4703dcc6c4ca0436ac7819e09e1ff0e75ee1d733
6c1d81467d33   openeuler/openeuler:20.09   \"sh -c while true; do e...\" 30 seconds ago   Exited (137) 3 seconds ago   80/tcp, 443/tcp   web
";
        let found = list(TABLE, false);
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&found), squeezed(expected));
        let starts: Vec<Option<usize>> = found
            .lines()
            .zip(["STATUS", "Up 4", "Exited"])
            .map(|(line, word)| line.find(word))
            .collect();
        assert!(starts.iter().all(|start| *start == starts[0] && start.is_some()), "{found}");
    }

    #[test]
    fn every_field_can_be_asked_for() {
        let table = [
            ("{{.ID}}", "e91e5359be65\n6c1d81467d33\n"),
            ("{{.Label \"a.b-c\"}}|{{.Labels}}", "|\n1|a.b-c=1\n"),
            ("{{.State}} {{.ExitCode}}", "running 0\nexited 137\n"),
            ("{{.Mounts}}", "\n/a-rather-long-…\n"),
            (
                "{{.CreatedAt}} {{.FinishAt}}",
                "2020-09-13 12:26:40 +0000 UTC 0001-01-01T00:00:00Z\n\
                 2020-09-13 12:26:40 +0000 UTC 2020-09-13T12:27:07Z\n",
            ),
        ];
        for (format, expected) in table {
            assert_eq!(list(format, false), expected, "{format}");
        }
        let command = list("{{.Command}}", true);
        assert!(command.ends_with("\"sh -c while true; do echo \\\"hello\\\"; sleep 1; done\"\n"));
        for (field, title) in TITLES {
            let found = list(&format!("table {{{{.{field}}}}}"), false);
            assert!(found.starts_with(title), "{field}: {found}");
        }
    }
}
