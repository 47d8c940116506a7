//! Counts the instructions of a program with valgrind's cachegrind: the same program with the same
//! input executes nearly the same number of them on every machine.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// How many instructions `command` executes; `None` when valgrind cannot tell.
pub fn of(command: &Command, log: &Path) -> Result<Option<u64>> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(command.get_program())
        .args(command.get_args());
    let output = match valgrind.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let text = fs::read_to_string(log).unwrap_or_default();
    // What valgrind does not know of this processor or kernel is its fault, not the program's.
    if !text.contains("I   refs:") && !text.contains("I refs:") {
        return Ok(None);
    }
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find(|line| line.contains("refs:")).context("no figure")?;
    let figure = line.rsplit(' ').next().context("no figure")?.replace(',', "");
    Ok(Some(figure.parse().with_context(|| line.to_owned())?))
}
