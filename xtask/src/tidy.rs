//! The limits of the code's shape: length and documentation of files, direction of crates, cycles
//! of modules, and what the domain must not touch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Lines a file may have above its tests.
const FILE_LIMIT: usize = 400;

/// Which crates of ours a crate may name.
const ARROWS: [(&str, &[&str]); 10] = [
    ("isula-sys", &[]),
    ("isula-core", &[]),
    ("isula-api", &[]),
    ("lcr", &["isula-sys"]),
    ("isulad-shim", &["isula-sys", "lcr"]),
    ("isula-engine", &["isula-core"]),
    ("isula-image", &["isula-core", "isula-sys"]),
    ("isula-host", &["isula-core", "isula-sys", "isulad-shim", "lcr"]),
    ("isula", &["isula-api", "isula-sys"]),
    (
        "isulad",
        &["isula-api", "isula-core", "isula-engine", "isula-host", "isula-image", "isula-sys"],
    ),
];

/// What the domain must not know.
const NOT_IN_CORE: [&str; 5] =
    ["std::fs", "std::process", "tokio", "SystemTime::now", "Timestamp::now"];

/// Every fault of the tree below `root`, in words.
pub fn run(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (name, allowed) in ARROWS {
        crate_arrows(root, name, allowed, &mut faults)?;
        let source = root.join("crates").join(name).join("src");
        let files = rust_files(&source)?;
        for file in &files {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            shape(file, &text, &mut faults);
            wire_only(name, file, &text, &mut faults);
            if name == "isula-core" {
                domain(file, &text, &mut faults);
            }
        }
        cycles(name, &source, &files, &mut faults)?;
    }
    for extra in ["xtask/src", "tests", "bench"] {
        for file in rust_files(&root.join(extra))? {
            let text = fs::read_to_string(&file)?;
            shape(&file, &text, &mut faults);
        }
    }
    Ok(faults)
}

fn crate_arrows(root: &Path, name: &str, allowed: &[&str], faults: &mut Vec<String>) -> Result<()> {
    let manifest = root.join("crates").join(name).join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim().to_owned();
            continue;
        }
        if section != "[dependencies]" {
            continue;
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let ours = ARROWS.iter().any(|(known, _)| *known == dependency);
        if ours && !allowed.contains(&dependency) {
            faults.push(format!("{}: {name} must not know {dependency}", manifest.display()));
        }
    }
    Ok(())
}

/// Length above the tests, and the sentence every file opens with.
fn shape(file: &Path, text: &str, faults: &mut Vec<String>) {
    if !text.starts_with("//!") {
        faults.push(format!("{}: does not open with //!", file.display()));
    }
    let is_test = file.components().any(|part| part.as_os_str() == "tests")
        || file.file_name().is_some_and(|name| name == "tests.rs");
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("mod tests {"))
        .count();
    if lines > FILE_LIMIT && !is_test {
        faults.push(format!("{}: {lines} lines, {FILE_LIMIT} at most", file.display()));
    }
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") && code.contains("TODO") && !code.contains("TODO(#") {
            faults.push(format!("{}:{}: TODO without an issue", file.display(), number + 1));
        }
    }
}

/// Only `isulad/src/wire.rs` names the adaptors.
fn wire_only(name: &str, file: &Path, text: &str, faults: &mut Vec<String>) {
    if name != "isulad" || file.file_name().is_some_and(|file| file == "wire.rs") {
        return;
    }
    for adaptor in ["isula_image", "isula_host"] {
        if code_above_tests(text).any(|line| line.contains(adaptor)) {
            faults.push(format!("{}: only wire.rs may name {adaptor}", file.display()));
        }
    }
}

fn domain(file: &Path, text: &str, faults: &mut Vec<String>) {
    if file.components().any(|part| part.as_os_str() == "testing") {
        return;
    }
    for word in NOT_IN_CORE {
        if code_above_tests(text).any(|line| line.contains(word)) {
            faults.push(format!("{}: the domain must not know {word}", file.display()));
        }
    }
}

fn code_above_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// Top-level modules of a crate use each other in one direction only.
fn cycles(name: &str, source: &Path, files: &[PathBuf], faults: &mut Vec<String>) -> Result<()> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let Some(module) = top_module(source, file) else { continue };
        let text = fs::read_to_string(file)?;
        let named = uses.entry(module.clone()).or_default();
        for line in code_above_tests(&text) {
            for part in line.split("crate::").skip(1) {
                let word: String =
                    part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !word.is_empty() && word != module {
                    named.insert(word);
                }
            }
        }
    }
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for named in uses.values_mut() {
        named.retain(|word| modules.contains(word));
    }
    for start in &modules {
        if let Some(path) = way_back(start, &uses) {
            // Each cycle is told once, from its first module in the alphabet.
            if path.iter().min() == Some(start) {
                faults.push(format!("{name}: modules form a cycle: {}", path.join(" -> ")));
            }
        }
    }
    Ok(())
}

fn way_back(start: &str, uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut paths = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop() {
        let last = path.last()?;
        for next in uses.get(last).into_iter().flatten() {
            let mut longer = path.clone();
            longer.push(next.clone());
            if next == start {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                paths.push(longer);
            }
        }
    }
    None
}

/// `src/foo/bar.rs` and `src/foo.rs` belong to `foo`; `lib.rs` and `main.rs` to none.
fn top_module(source: &Path, file: &Path) -> Option<String> {
    let relative = file.strip_prefix(source).ok()?;
    let first = relative.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(module, "lib" | "main")).then(|| module.to_owned())
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{shape, way_back};
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::Path,
    };

    #[test]
    fn a_long_or_undocumented_file_is_a_fault_and_its_tests_do_not_count() {
        let mut faults = Vec::new();
        let body = "//! x\n".to_owned() + &"fn a() {}\n".repeat(399);
        shape(Path::new("a.rs"), &(body.clone() + "#[cfg(test)]\n" + &body), &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        shape(Path::new("a.rs"), &(body + "fn b() {}\n"), &mut faults);
        shape(Path::new("a.rs"), "fn main() {}\n", &mut faults);
        assert_eq!(faults, ["a.rs: 401 lines, 400 at most", "a.rs: does not open with //!"]);
    }

    #[test]
    fn a_cycle_of_modules_is_found() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let mut uses = BTreeMap::from([
            ("a".to_owned(), set(&["b"])),
            ("b".to_owned(), set(&["c"])),
            ("c".to_owned(), set(&[])),
        ]);
        assert_eq!(way_back("a", &uses), None);
        uses.insert("c".to_owned(), set(&["a"]));
        assert_eq!(way_back("a", &uses).unwrap(), ["a", "b", "c", "a"]);
    }
}
