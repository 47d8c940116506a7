//! The images that tests use, made from Debian's packages and kept below `target/test-images`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::programs::repository;

fn script(name: &str, arguments: &[&Path]) -> Result<()> {
    let output =
        Command::new(repository().join("tests/images").join(name)).args(arguments).output()?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn store() -> Result<PathBuf> {
    let store = repository().join("target/test-images");
    fs::create_dir_all(&store)?;
    Ok(store.canonicalize()?)
}

/// An OCI layout of busybox in two layers, tag `latest`.
pub fn busybox() -> Result<PathBuf> {
    let directory = store()?.join("busybox");
    if !directory.join("index.json").exists() {
        let fresh = directory.with_extension("part");
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        script("busybox.sh", &[&fresh])?;
        fs::rename(fresh, &directory)?;
    }
    Ok(directory)
}

/// Busybox as an archive of `docker save`, tagged `busybox:latest`.
pub fn busybox_docker_archive() -> Result<PathBuf> {
    let file = store()?.join("busybox-docker.tar");
    if !file.exists() {
        convert(&busybox()?, &format!("docker-archive:{}:busybox:latest", file.display()))?;
    }
    Ok(file)
}

/// Busybox as an OCI archive, tagged `latest`.
pub fn busybox_oci_archive() -> Result<PathBuf> {
    let file = store()?.join("busybox-oci.tar");
    if !file.exists() {
        convert(&busybox()?, &format!("oci-archive:{}:latest", file.display()))?;
    }
    Ok(file)
}

fn convert(layout: &Path, target: &str) -> Result<()> {
    let output = Command::new("skopeo")
        .args(["copy", "--quiet", &format!("oci:{}:latest", layout.display()), target])
        .output()?;
    ensure!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The tar of a minimal Debian root file system.
pub fn debian_rootfs() -> Result<PathBuf> {
    let file = store()?.join("debian.tar");
    script("debian.sh", &[&file])?;
    Ok(file)
}

/// A directory with busybox as a prepared root file system, made in `directory`.
pub fn busybox_rootfs(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory.join("bin"))?;
    for empty in ["proc", "sys", "dev", "etc", "tmp"] {
        fs::create_dir_all(directory.join(empty))?;
    }
    fs::copy("/bin/busybox", directory.join("bin/busybox"))?;
    for applet in ["sh", "cat", "sleep", "echo", "id", "ls", "true", "false", "hostname"] {
        let link = directory.join("bin").join(applet);
        if !link.exists() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    Ok(())
}
