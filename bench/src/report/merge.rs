//! One report of several runs: `isula-bench --merge OLD.json NEW.json ...`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Figure, Report};
use crate::measure::Cost;

/// Parts and engines in the order of a run.
const PARTS: [&str; 10] =
    ["single", "crowd", "floor", "memory", "scale", "images", "peak", "daemon", "counts", "sizes"];
const ENGINES: [&str; 8] =
    ["isula", "docker", "podman-crun", "podman-runc", "containerd", "lxc", "crun", "runc"];

/// Units of numbers.
const UNITS: [&str; 5] = ["", "ms", "x", "KiB", "MiB"];

impl Report {
    /// Adds what a former run has written; the parts it measured take the place of those here.
    pub fn merge(&mut self, file: &Path) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let run: Value = serde_json::from_str(&text)?;
        let figures = run.get("figures").and_then(Value::as_array).context("no figures")?;
        let part = |figure: &Value| figure.get("part").and_then(Value::as_str).map(str::to_owned);
        self.rows.retain(|row| !figures.iter().any(|one| part(one).as_ref() == Some(&row.part)));
        for (engine, version) in
            run.get("versions").and_then(Value::as_object).into_iter().flatten()
        {
            self.versions.retain(|(known, _)| known != engine);
            let version = version.as_str().unwrap_or_default().to_owned();
            self.versions.push((engine.clone(), version));
        }
        for figure in figures {
            self.add(figure).with_context(|| format!("{}: {figure}", file.display()))?;
        }
        Ok(())
    }

    /// Brings what was merged into the order of a run.
    pub fn arrange(&mut self) {
        let place = |known: &[&str], name: &str| {
            known.iter().position(|one| *one == name).unwrap_or(known.len())
        };
        self.rows.sort_by_key(|row| place(&PARTS, &row.part));
        self.engines.sort_by_key(|name| place(&ENGINES, name));
        self.versions.sort_by_key(|(name, _)| place(&ENGINES, name));
    }

    fn add(&mut self, figure: &Value) -> Result<()> {
        let word = |key: &str| figure.get(key).and_then(Value::as_str);
        let (part, row) = (word("part").context("no part")?, word("row").context("no row")?);
        let engine = word("engine").context("no engine")?;
        let numbers = |key: &str| -> Option<Vec<f64>> {
            Some(figure.get(key)?.as_array()?.iter().filter_map(Value::as_f64).collect())
        };
        if let (Some(walls), Some(cpus)) = (numbers("walls"), numbers("cpus")) {
            for (wall, cpu) in walls.into_iter().zip(cpus) {
                self.time((part, row), engine, Cost { wall, cpu });
            }
        } else if let Some(value) = figure.get("value").and_then(Value::as_f64) {
            let unit = UNITS.into_iter().find(|unit| Some(*unit) == word("unit"));
            self.number((part, row), engine, (value, unit.unwrap_or_default()));
        } else {
            let note = Figure::Note(word("note").context("no figure")?.to_owned());
            self.cells((part, row), engine).insert(engine.to_owned(), note);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{measure::Cost, report::Report};

    #[test]
    fn a_part_of_a_later_run_takes_the_place_of_the_earlier() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, part: &str, wall: f64| {
            let mut report = Report::default();
            report.versions.push(("isula".to_owned(), name.to_owned()));
            report.time((part, "start"), "isula", Cost { wall, cpu: 1.0 });
            report.number(("sizes", "all"), "isula", (3.0, "MiB"));
            report.note(("sizes", "all"), "runc", "has none");
            report.write(&directory.path().join(name)).unwrap();
        };
        write("old", "single", 9.0);
        write("older", "crowd", 5.0);
        write("new", "single", 2.0);
        let mut merged = Report::default();
        for name in ["old", "older", "new"] {
            merged.merge(&directory.path().join(name).join("bench.json")).unwrap();
        }
        let wall = |part: &str| {
            let row = merged.rows.iter().find(|row| row.part == part).unwrap();
            row.cells.get("isula").unwrap().value()
        };
        assert_eq!(
            (wall("single"), wall("crowd"), wall("sizes")),
            (Some(2.0), Some(5.0), Some(3.0))
        );
        assert_eq!(merged.versions, [("isula".to_owned(), "new".to_owned())]);
        assert_eq!(merged.rows.len(), 3);
    }
}
