//! Several runs side by side.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// Values of all runs by part, row and engine.
type Rows = BTreeMap<(String, String), BTreeMap<String, Vec<f64>>>;

/// Prints a table in Markdown of runs whose files are named `ENGINE-ROUND.json`; medians of the rounds.
pub fn print(files: impl Iterator<Item = PathBuf>) -> Result<()> {
    let mut rows = Rows::new();
    for file in files {
        let name = file.file_stem().and_then(|name| name.to_str()?.split('-').next());
        let engine = name.context("a file without a name")?.to_owned();
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let run = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        add(&mut rows, &engine, &run);
    }
    println!("{}", table(&rows));
    Ok(())
}

fn add(rows: &mut Rows, engine: &str, run: &Value) {
    for (part, values) in run.as_object().into_iter().flatten() {
        for (row, value) in values.as_object().into_iter().flatten() {
            let cells = rows.entry((part.clone(), row.clone())).or_default();
            cells.entry(engine.to_owned()).or_default().extend(value.as_f64());
        }
    }
}

fn table(rows: &Rows) -> String {
    let mut text = String::from("| | | isula | containerd | times |\n|---|---|---|---|---|\n");
    for ((part, row), cells) in rows {
        let median = |engine: &str| {
            let mut values = cells.get(engine).cloned().unwrap_or_default();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let (ours, theirs) = (median("isula"), median("containerd"));
        let cell =
            |value: Option<f64>| value.map(|value| format!("{value:.1}")).unwrap_or_default();
        let times = ours.zip(theirs).filter(|(ours, _)| *ours > 0.0);
        let times = cell(times.map(|(ours, theirs)| theirs / ours));
        text += &format!("| {part} | {row} | {} | {} | {times} |\n", cell(ours), cell(theirs));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Rows, add, table};

    #[test]
    fn the_table_has_the_medians_and_their_ratio() {
        let mut rows = Rows::new();
        for (engine, value) in
            [("isula", 1.0), ("isula", 3.0), ("isula", 2.0), ("containerd", 30.0)]
        {
            add(&mut rows, engine, &json!({"one, ms": {"runp": value}}));
        }
        assert!(table(&rows).ends_with("| one, ms | runp | 2.0 | 30.0 | 15.0 |\n"));
    }
}
