//! The report as markdown tables: one a part, one column an engine.

use std::fmt::Write;

use super::{Figure, Report, Row};

/// What each part is about.
const TITLES: [(&str, &str); 10] = [
    ("single", "One client: wall / processor time of the group, ms"),
    ("crowd", "100 clients at once, until the last ends: wall / processor time of the group, ms"),
    ("floor", "Against the kernel's own floor: wall / processor time, ms"),
    ("memory", "Memory, KiB: daemons, and all helpers for each running container"),
    ("scale", "One operation beside so many running containers: wall / processor time, ms"),
    ("images", "Images from a registry on loopback and archives: wall / processor time, ms"),
    ("peak", "The most memory (RSS) that the daemons and the client took meanwhile, MiB"),
    ("daemon", "The daemon"),
    ("counts", "What one operation does: of client, daemons and helpers together"),
    ("sizes", "Programs, MiB"),
];

/// All tables.
pub fn tables(report: &Report) -> String {
    let mut text = String::new();
    let mut done: Vec<&str> = Vec::new();
    for row in &report.rows {
        if done.contains(&row.part.as_str()) {
            continue;
        }
        done.push(&row.part);
        let title = TITLES.iter().find(|(part, _)| *part == row.part);
        let rows: Vec<&Row> = report.rows.iter().filter(|other| other.part == row.part).collect();
        let title = title.map_or(row.part.as_str(), |(_, title)| title);
        text.push_str(&table(title, &rows, &report.engines));
    }
    text
}

fn table(title: &str, rows: &[&Row], engines: &[String]) -> String {
    let used: Vec<&String> = engines
        .iter()
        .filter(|name| rows.iter().any(|row| row.cells.contains_key(*name)))
        .collect();
    let mut text = format!("### {title}\n\n| |");
    for engine in &used {
        text.push_str(&format!(" {engine} |"));
    }
    let timed = used.len() > 1 && rows.iter().any(|row| ratio(row).is_some());
    text.push_str(if timed { " best engine / isula |\n|---|" } else { "\n|---|" });
    text.push_str(&"--:|".repeat(used.len() + usize::from(timed)));
    text.push('\n');
    for row in rows {
        let _ = write!(text, "| {} |", row.name);
        for engine in &used {
            let _ = write!(text, " {} |", row.cells.get(*engine).map(cell).unwrap_or_default());
        }
        if timed {
            let shown = ratio(row).map(|ratio| format!("{ratio:.1}")).unwrap_or_default();
            let _ = write!(text, " {shown} |");
        }
        text.push('\n');
    }
    text + "\n"
}

/// How much longer the fastest of the whole engines takes.
fn ratio(row: &Row) -> Option<f64> {
    let ours = row.cells.get("isula")?.times()?.wall;
    let whole = ["docker", "podman-crun", "podman-runc", "containerd"];
    let theirs = whole.iter().filter_map(|name| Some(row.cells.get(*name)?.times()?.wall));
    Some(theirs.min_by(f64::total_cmp)? / ours)
}

fn cell(figure: &Figure) -> String {
    match figure {
        Figure::Note(text) => text.clone(),
        Figure::Number(value, "") => short(*value),
        Figure::Number(value, unit) => format!("{} {unit}", short(*value)),
        Figure::Times(_) => figure
            .times()
            .map_or_else(String::new, |cost| format!("{} / {}", short(cost.wall), short(cost.cpu))),
    }
}

/// Three digits are all that a person reads.
pub fn short(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::tables;
    use crate::{measure::Cost, report::Report};

    #[test]
    fn a_row_shows_every_engine_and_the_ratio_to_the_best_whole_one() {
        let mut report = Report::default();
        let row = ("single", "start");
        report.time(row, "isula", Cost { wall: 2.0, cpu: 4.25 });
        report.time(row, "docker", Cost { wall: 200.4, cpu: 100.0 });
        report.time(row, "containerd", Cost { wall: 50.0, cpu: 60.0 });
        report.time(row, "runc", Cost { wall: 20.0, cpu: 20.0 });
        report.note(("single", "create"), "runc", "-");
        let text = tables(&report);
        assert!(text.contains("| | isula | docker | containerd | runc | best engine / isula |"));
        assert!(
            text.contains("| start | 2 / 4.2 | 200 / 100 | 50 / 60 | 20 / 20 | 25.0 |"),
            "{text}"
        );
        assert!(text.contains("| create |  |  |  | - |  |"), "{text}");
    }
}
