//! The fault points of the engine, read from its source.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::Result;
use isula_tests::programs::repository;

/// Every name that stands in a call of `fault::point`, be it one of several.
pub fn all() -> Result<BTreeSet<String>> {
    let mut points = BTreeSet::new();
    let mut waiting: Vec<PathBuf> = vec![repository().join("crates")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let code: String = code.collect::<Vec<_>>().join("\n");
                for call in code.split("fault::point(").skip(1) {
                    // A name, or a choice of names.
                    let call = call.split(';').next().unwrap_or_default();
                    let texts = call.split('"').skip(1).step_by(2).map(str::to_owned);
                    points.extend(texts.filter(|text| text.contains('.')));
                }
            }
        }
    }
    Ok(points)
}
