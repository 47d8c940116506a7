//! The fault points of the engine, read from its source.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::Result;
use isula_tests::programs::repository;

/// Every name that stands in a call of `fault::point`.
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
                for line in code {
                    for call in line.split("fault::point(\"").skip(1) {
                        points.insert(call.split('"').next().unwrap_or_default().to_owned());
                    }
                }
            }
        }
    }
    Ok(points)
}
