//! The report as one drawing: bars on a logarithmic scale, readable on light and on dark paper.

use std::fmt::Write;

use super::{Report, Row, markdown::short};

const WIDTH: f64 = 960.0;
/// Where bars begin and end.
const LEFT: f64 = 170.0;
const RIGHT: f64 = 880.0;
const BAR: f64 = 9.0;
const GAP: f64 = 2.0;
/// Between two groups of bars.
const SPACE: f64 = 12.0;
const MARGIN: f64 = 24.0;

/// Engines in the order of their bars, with the class of their colour.
const ENGINES: [(&str, &str); 9] = [
    ("isula", "ours"),
    ("lxc", "lxc"),
    ("crun", "crun"),
    ("runc", "runc"),
    ("containerd", "containerd"),
    ("podman-crun", "podman"),
    ("podman-runc", "podman2"),
    ("docker", "docker"),
    ("floor", "floor"),
];

/// Title, part, rows and unit of each panel.
const PANELS: [(&str, &str, &[&str], &str); 4] = [
    (
        "One container, one client",
        "single",
        &["create", "start", "exec", "stop", "rm", "run -d", "run --rm"],
        "ms",
    ),
    (
        "100 clients at once, until the last ends",
        "crowd",
        &["create", "start", "exec", "stop -t 0", "rm", "run -d", "run --rm"],
        "ms",
    ),
    (
        "Memory (proportional set size)",
        "memory",
        &[
            "daemons, 0 running",
            "daemons, 100 running",
            "daemons, 1000 running",
            "helpers of each, 100 running",
            "helpers of each, 1000 running",
        ],
        "KiB",
    ),
    (
        "Images",
        "images",
        &[
            "pull, 300 MiB in 5 layers",
            "pull, 50,000 files in 50 layers",
            "load, 300 MiB in 5 layers",
        ],
        "ms",
    ),
];

const STYLE: &str = "\
text{font:12px system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;fill:#1f2328}\
.title{font-size:19px;font-weight:600}.panel{font-size:14px;font-weight:600}\
.soft{fill:#656d76;font-size:11px}.figure{font-size:9.5px;fill:#424a53}.best{font-weight:700;fill:#0b57d0}\
.paper{fill:#ffffff}.grid{stroke:#d8dee4;stroke-width:1}\
.ours{fill:#0b57d0}.lxc{fill:#6c8f32}.crun{fill:#b8bec6}.runc{fill:#8b949e}.containerd{fill:#1b9e91}\
.podman{fill:#8250df}.podman2{fill:#b592ec}.docker{fill:#e08a1e}.floor{fill:#d1242f}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.figure{fill:#b7bdc8}\
.best{fill:#79b0ff}.paper{fill:#0d1117}.grid{stroke:#2a313c}.ours{fill:#4493f8}.crun{fill:#59616c}\
.runc{fill:#7d8590}.docker{fill:#e3963e}.podman{fill:#a371f7}.podman2{fill:#6e4bb0}}";

/// The drawing.
pub fn plot(report: &Report) -> String {
    let mut body = String::new();
    let mut top = MARGIN + 18.0;
    text(&mut body, (MARGIN, top), "title", "Life of a container: isula and its peers");
    top += 18.0;
    let about =
        format!("{}. Logarithmic scales: each line is ten times the one before.", super::machine());
    text(&mut body, (MARGIN, top), "soft", &about);
    top = legend(&mut body, report, top + 22.0);
    for (title, part, rows, unit) in PANELS {
        let named =
            |name: &&str| report.rows.iter().find(|row| row.part == part && row.name == *name);
        let rows: Vec<&Row> = rows.iter().filter_map(named).collect();
        if !rows.is_empty() {
            top = panel(&mut body, &format!("{title}, {unit}"), &rows, top + 30.0);
        }
    }
    let height = top + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\">\n<title>Measurements of container \
         engines</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" rx=\"8\"/>\n{body}</svg>\n"
    )
}

/// The engines that have a bar somewhere, in their order.
fn shown<'a>(rows: &'a [&'a Row]) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    let has = |name: &str| rows.iter().any(|row| row.cells.contains_key(name));
    ENGINES.into_iter().filter(move |(name, _)| has(name))
}

fn legend(body: &mut String, report: &Report, top: f64) -> f64 {
    let rows: Vec<&Row> = report.rows.iter().collect();
    let mut left = MARGIN;
    let drawn = PANELS.map(|(_, part, ..)| part);
    let rows: Vec<&Row> =
        rows.into_iter().filter(|row| drawn.contains(&row.part.as_str())).collect();
    for (name, class) in shown(&rows).filter(|(name, _)| *name != "floor") {
        let _ = writeln!(
            body,
            "<rect class=\"{class}\" x=\"{left:.0}\" y=\"{:.1}\" width=\"10\" height=\"10\" rx=\"2\"/>",
            top - 9.0
        );
        text(body, (left + 15.0, top), "", name);
        left += 33.0 + 6.6 * name.len() as f64;
    }
    top
}

fn panel(body: &mut String, title: &str, rows: &[&Row], top: f64) -> f64 {
    text(body, (MARGIN, top), "panel", title);
    let values = || {
        rows.iter()
            .flat_map(|row| ENGINES.iter().filter_map(|(name, _)| row.cells.get(*name)?.value()))
    };
    let positive = || values().filter(|value| *value > 0.0);
    let (Some(least), Some(most)) =
        (positive().min_by(f64::total_cmp), positive().max_by(f64::total_cmp))
    else {
        return top;
    };
    let scale = Logarithmic::over(least, most);
    let first = top + 26.0;
    let mut bars = String::new();
    let mut at = first;
    for row in rows {
        at = group(&mut bars, row, &scale, at) + SPACE;
    }
    for (value, place) in scale.lines() {
        let _ = writeln!(
            body,
            "<line class=\"grid\" x1=\"{place:.1}\" y1=\"{:.1}\" x2=\"{place:.1}\" y2=\"{:.1}\"/>",
            first - 8.0,
            at - SPACE / 2.0
        );
        let label = short(value);
        text(body, (place - 3.0 * label.len() as f64, first - 11.0), "soft", &label);
    }
    body.push_str(&bars);
    at
}

/// The bars of one row; gives back where the next may begin.
fn group(body: &mut String, row: &Row, scale: &Logarithmic, top: f64) -> f64 {
    let mut at = top;
    let rows = [row];
    for (name, class) in shown(&rows) {
        let Some(value) = row.cells.get(name).and_then(super::Figure::value) else { continue };
        let end = scale.place(value);
        let _ = writeln!(
            body,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{at:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"1.5\">\
             <title>{name}: {}</title></rect>",
            end - LEFT,
            short(value)
        );
        let kind = if class == "ours" { "figure best" } else { "figure" };
        text(body, (end + 4.0, at + BAR - 1.0), kind, &short(value));
        at += BAR + GAP;
    }
    let middle = (top + at) / 2.0 + 3.0;
    let _ = writeln!(
        body,
        "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>",
        LEFT - 10.0,
        escaped(&row.name)
    );
    at
}

fn text(body: &mut String, (x, y): (f64, f64), class: &str, text: &str) {
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escaped(text)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A scale from a power of ten to another.
struct Logarithmic {
    from: i32,
    to: i32,
}

impl Logarithmic {
    fn over(least: f64, most: f64) -> Self {
        let from = least.log10().floor();
        let to = most.log10().ceil().max(from + 1.0);
        #[expect(clippy::cast_possible_truncation, reason = "exponents of numbers are small")]
        Self { from: from as i32, to: to as i32 }
    }

    fn place(&self, value: f64) -> f64 {
        let whole = f64::from(self.to - self.from);
        let part = (value.log10() - f64::from(self.from)) / whole;
        // A bar that has no length could not be seen.
        LEFT + part.clamp(0.004, 1.0) * (RIGHT - LEFT)
    }

    fn lines(&self) -> Vec<(f64, f64)> {
        let value = |exponent| 10f64.powi(exponent);
        (self.from..=self.to)
            .map(|exponent| {
                let whole = f64::from(self.to - self.from);
                let part = f64::from(exponent - self.from) / whole;
                (value(exponent), LEFT + part * (RIGHT - LEFT))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{LEFT, Logarithmic, RIGHT, plot};
    use crate::{measure::Cost, report::Report};

    #[test]
    fn a_scale_spans_whole_powers_of_ten() {
        let scale = Logarithmic::over(2.0, 300.0);
        assert_eq!((scale.from, scale.to), (0, 3));
        assert!((scale.place(1000.0) - RIGHT).abs() < 0.01);
        assert!((scale.place(10.0) - (LEFT + (RIGHT - LEFT) / 3.0)).abs() < 0.01);
        assert_eq!(scale.lines().len(), 4);
        assert_eq!(Logarithmic::over(1.0, 1.0).to, 1);
    }

    #[test]
    fn every_engine_of_a_row_has_a_bar_and_a_figure() {
        let mut report = Report::default();
        for (engine, wall) in [("isula", 4.0), ("docker", 240.0)] {
            report.time(("single", "start"), engine, Cost { wall, cpu: wall });
        }
        let drawing = plot(&report);
        assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
        assert_eq!(drawing.matches("<title>").count(), 3);
        assert!(drawing.contains("docker: 240"));
    }
}
