//! Where the programs under test are.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The static program `name`, from `ISULA_BIN_DIR` or the release build.
pub fn program(name: &str) -> Result<PathBuf> {
    let directory = match env::var_os("ISULA_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => repository().join("target/x86_64-unknown-linux-musl/release"),
    };
    let path = directory.join(name);
    ensure!(path.exists(), "{} is not built: run `make build`", path.display());
    path.canonicalize().with_context(|| path.display().to_string())
}

/// The daemon with fault points, from `ISULAD_TESTING`.
pub fn daemon_with_faults() -> Result<PathBuf> {
    let path = env::var_os("ISULAD_TESTING")
        .map_or_else(|| repository().join("target/isulad-testing"), PathBuf::from);
    ensure!(path.exists(), "{} is not built: run `make test`", path.display());
    Ok(path)
}

/// A tool that `tools/setup.sh` unpacked, or one of the system's.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let unpacked = repository().join("target/tools/usr/bin").join(name);
    if unpacked.exists() { unpacked } else { PathBuf::from(name) }
}

/// A program that `tools/cri-setup.sh` built from Kubernetes' own libraries.
pub fn kubernetes(name: &str) -> Result<PathBuf> {
    let path = repository().join("target/tools/go/bin").join(name);
    ensure!(path.exists(), "{} is not built: run `make test`", path.display());
    Ok(path)
}

/// Runs a program, which must succeed; gives back its standard output without the white space at its
/// end.
pub fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {told}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
