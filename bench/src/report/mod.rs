//! What was measured: figures by part, row and engine. Shown as JSON, as a table and as a plot.

mod markdown;
mod merge;
mod plot;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::Result;
use serde_json::{Value, json};

use crate::measure::Cost;

/// What stands in one cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// Times of several rounds.
    Times(Vec<Cost>),
    /// One number, with its unit.
    Number(f64, &'static str),
    /// Why there is no number.
    Note(String),
}

impl Figure {
    /// The medians of wall and processor time.
    pub fn times(&self) -> Option<Cost> {
        let Self::Times(costs) = self else { return None };
        let wall = median(costs.iter().map(|cost| cost.wall).collect())?;
        Some(Cost { wall, cpu: median(costs.iter().map(|cost| cost.cpu).collect())? })
    }

    /// The number a plot shows.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Number(value, _) => Some(*value),
            _ => self.times().map(|cost| cost.wall),
        }
    }
}

/// The median; nothing of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied()?;
    let lower = values.get((values.len() - 1) / 2).copied()?;
    Some((lower + upper) / 2.0)
}

/// One row of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The part.
    pub part: String,
    /// The row's name.
    pub name: String,
    /// The cells, by engine.
    pub cells: BTreeMap<String, Figure>,
}

/// All that was measured, rows and engines in the order in which they first appeared.
#[derive(Default)]
pub struct Report {
    /// The rows.
    pub rows: Vec<Row>,
    /// The engines.
    pub engines: Vec<String>,
    /// What they say about their versions.
    pub versions: Vec<(String, String)>,
    /// Whether a figure of ours could not be had.
    pub failed: bool,
}

impl Report {
    /// Adds the cost of one round.
    pub fn time(&mut self, (part, name): (&str, &str), engine: &str, cost: Cost) {
        let cells = self.cells((part, name), engine);
        match cells.get_mut(engine) {
            Some(Figure::Times(costs)) => costs.push(cost),
            _ => drop(cells.insert(engine.to_owned(), Figure::Times(vec![cost]))),
        }
    }

    /// Sets a number.
    pub fn number(&mut self, row: (&str, &str), engine: &str, (value, unit): (f64, &'static str)) {
        self.cells(row, engine).insert(engine.to_owned(), Figure::Number(value, unit));
    }

    /// Says why there is no figure, where there is none yet.
    pub fn note(&mut self, row: (&str, &str), engine: &str, text: impl Into<String>) {
        let note = Figure::Note(text.into());
        self.cells(row, engine).entry(engine.to_owned()).or_insert(note);
    }

    /// A figure that could not be had.
    pub fn failure(&mut self, row: (&str, &str), engine: &str, error: &anyhow::Error) {
        eprintln!("bench: {}, {}: {engine}: {error:#}", row.0, row.1);
        self.failed |= engine == "isula";
        self.cells(row, engine).insert(engine.to_owned(), Figure::Note("failed".to_owned()));
    }

    fn cells(&mut self, (part, name): (&str, &str), engine: &str) -> &mut BTreeMap<String, Figure> {
        if !self.engines.iter().any(|known| known == engine) {
            self.engines.push(engine.to_owned());
        }
        let here = |row: &Row| row.part == part && row.name == name;
        let at = self.rows.iter().position(here).unwrap_or(self.rows.len());
        if at == self.rows.len() {
            let (part, name) = (part.to_owned(), name.to_owned());
            self.rows.push(Row { part, name, cells: BTreeMap::new() });
        }
        #[expect(clippy::indexing_slicing, reason = "`at` was found, or is that of the row above")]
        &mut self.rows[at].cells
    }

    /// Writes `bench.json`, `bench.md` and `bench.svg`.
    pub fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        let json = serde_json::to_string_pretty(&self.json())?;
        fs::write(directory.join("bench.json"), json + "\n")?;
        fs::write(directory.join("bench.md"), self.markdown())?;
        fs::write(directory.join("bench.svg"), plot::plot(self))?;
        Ok(())
    }

    /// The tables, with what they were measured on.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}.\n\n", machine());
        for (engine, version) in &self.versions {
            text.push_str(&format!("* {engine}: {version}\n"));
        }
        text + "\n" + &markdown::tables(self)
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().flat_map(row_json).collect();
        let versions: serde_json::Map<_, _> =
            self.versions.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        json!({ "machine": machine(), "versions": versions, "figures": rows })
    }
}

fn row_json(row: &Row) -> Vec<Value> {
    let cell = |(engine, figure): (&String, &Figure)| {
        let mut value = json!({ "part": row.part, "row": row.name, "engine": engine });
        let more = match figure {
            Figure::Number(number, unit) => json!({ "value": number, "unit": unit }),
            Figure::Note(text) => json!({ "note": text }),
            Figure::Times(costs) => json!({
                "unit": "ms",
                "wall": figure.times().map(|cost| cost.wall),
                "cpu": figure.times().map(|cost| cost.cpu),
                "walls": costs.iter().map(|cost| cost.wall).collect::<Vec<_>>(),
                "cpus": costs.iter().map(|cost| cost.cpu).collect::<Vec<_>>(),
            }),
        };
        if let (Some(value), Some(more)) = (value.as_object_mut(), more.as_object()) {
            value.extend(more.clone());
        }
        value
    };
    row.cells.iter().map(cell).collect()
}

/// Cores, memory, kernel and date.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "{cores} cores, {} GiB, Linux {}, {}",
        kib.unwrap_or_default() >> 20,
        kernel.trim(),
        date.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::{Figure, Report};
    use crate::measure::Cost;

    #[test]
    fn a_figure_of_several_rounds_is_their_median() {
        let cost = |wall| Cost { wall, cpu: wall * 2.0 };
        let three = Figure::Times([3.0, 1.0, 2.0].map(cost).to_vec());
        assert_eq!(three.times(), Some(cost(2.0)));
        let two = Figure::Times([3.0, 1.0].map(cost).to_vec());
        assert_eq!(two.times(), Some(cost(2.0)));
        assert_eq!(Figure::Times(Vec::new()).times(), None);
    }

    #[test]
    fn a_failure_of_ours_is_remembered_and_stands_in_the_cell() {
        let mut report = Report::default();
        report.failure(("single", "start"), "docker", &anyhow::anyhow!("no"));
        assert!(!report.failed);
        report.failure(("single", "start"), "isula", &anyhow::anyhow!("no"));
        assert!(report.failed);
        let row = report.rows.first().unwrap();
        assert_eq!(row.cells.get("isula"), Some(&Figure::Note("failed".to_owned())));
    }

    #[test]
    fn the_json_has_every_round() {
        let mut report = Report::default();
        report.time(("single", "start"), "isula", Cost { wall: 1.0, cpu: 2.0 });
        report.time(("single", "start"), "isula", Cost { wall: 3.0, cpu: 4.0 });
        let json = report.json();
        assert_eq!(json.pointer("/figures/0/wall").unwrap(), 2.0);
        assert_eq!(json.pointer("/figures/0/cpus/1").unwrap(), 4.0);
    }
}
