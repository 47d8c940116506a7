//! The sizes of programs.

use std::fs;

use anyhow::Result;

use super::Bench;

/// One row for all programs of an engine together, and one for each of ours.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Bench { engines, report, .. } = bench;
    for engine in &*engines {
        engine.place().enter()?;
        report.versions.retain(|(name, _)| name != engine.name());
        report.versions.push((engine.name().to_owned(), engine.version()?));
        let mut whole = 0.0;
        for program in engine.programs() {
            let size = fs::metadata(&program).map_or(0, |found| found.len()) as f64 / 1_048_576.0;
            whole += size;
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            report.number(("sizes", &name), engine.name(), (size, ""));
        }
        report.number(("sizes", "all that is needed"), engine.name(), (whole, ""));
    }
    Ok(())
}
