//! state, list and ps.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Outcome;
use super::report::Failure;
use super::store::{Container, Store};

/// Form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Flags of list.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Form of the list
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    format: Format,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

/// Flags of ps.
#[derive(Debug, Args)]
pub(super) struct PsArgs {
    /// Form of the list
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    format: Format,
    /// Id of the container
    id: String,
    /// Accepted for callers of runc: the columns are fixed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _options: Vec<String>,
}

pub(super) fn state(store: &Store, id: &str) -> Outcome {
    let container = store.open(id)?;
    print(&pretty(&describe(&container)?))
}

fn describe(container: &Container) -> Result<Value, Failure> {
    let record = &container.record;
    let status = container.status()?;
    let pid = if status == super::store::Status::Stopped { 0 } else { record.pid };
    Ok(json!({
        "ociVersion": record.oci_version,
        "id": container.id,
        "pid": pid,
        "status": status.word(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": "",
    }))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

pub(super) fn list(store: &Store, args: &ListArgs) -> Outcome {
    let mut found = Vec::new();
    for id in store.ids()? {
        match store.open(&id).and_then(|container| describe(&container)) {
            Ok(description) => found.push(description),
            // Removed since the directory was read.
            Err(_) if !store.has(&id) => {}
            Err(failure) => eprintln!("lcr: warning: {id}: {failure}"),
        }
    }
    if args.quiet {
        let ids = found.iter().filter_map(|one| one.get("id")?.as_str());
        return print(&ids.map(|id| format!("{id}\n")).collect::<String>());
    }
    if args.format == Format::Json {
        return print(&format!("{}\n", Value::from(found)));
    }
    let rows = found.iter().map(|one| {
        ["id", "pid", "status", "bundle", "created"].map(|key| match one.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        })
    });
    print(&table(["ID", "PID", "STATUS", "BUNDLE", "CREATED"], rows.collect()))
}

pub(super) fn ps(store: &Store, args: &PsArgs) -> Outcome {
    let container = store.open(&args.id)?;
    let mut pids = container.plan()?.cgroup.cgroup().pids()?;
    pids.sort_unstable();
    if args.format == Format::Json {
        return print(&format!("{}\n", json!(pids)));
    }
    let rows = pids.iter().filter_map(|pid| {
        // From the host's /proc alone; a process that has gone meanwhile is left out.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().next().map(str::to_owned)
        };
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
        // What a container wrote may not move the cursor of a terminal.
        let command = command.replace(char::is_control, "?");
        let command = if command.is_empty() { field("Name:")? } else { command };
        Some([field("Uid:")?, pid.to_string(), field("PPid:")?, field("State:")?, command])
    });
    print(&table(["UID", "PID", "PPID", "STAT", "CMD"], rows.collect()))
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    all.iter().map(line).collect()
}

/// Prints a result; a reader that has gone is no error.
pub(super) fn print(text: &str) -> Outcome {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("print the result", error))
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = vec![["longer".to_owned(), "1".to_owned()], ["x".to_owned(), "22".to_owned()]];
        assert_eq!(table(["ID", "PID"], rows), "ID       PID\nlonger   1\nx        22\n");
    }
}
