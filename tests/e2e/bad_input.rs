//! Bad input gives one clear line and the right exit status, and leaves nothing half made.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use isula_tests::{World, images};

fn nothing_half_made(world: &World) -> Result<()> {
    assert_eq!(world.ok(&["ps", "-aq"])?, "");
    for directory in ["data/storage/tmp", "data/storage/snapshots"] {
        let left: Vec<_> = fs::read_dir(world.path(directory))?.flatten().collect();
        assert!(left.is_empty(), "{directory}: {left:?}");
    }
    Ok(())
}

#[test]
fn each_bad_request_is_refused_in_one_line() -> Result<()> {
    let mut world = World::new("lcr")?;
    let registry = world.registry()?.address().to_owned();
    let missing = format!("{registry}/no/such:image");
    let absent = format!("{registry}/busybox@sha256:{}", "0".repeat(64));
    for (arguments, code, words) in [
        (vec!["run", "--pull", "never", "nosuchimage"], 125, "nosuchimage"),
        (vec!["pull", missing.as_str()], 1, "no/such"),
        (vec!["pull", absent.as_str()], 1, "busybox"),
        (vec!["run", "UPPER:x"], 125, "lower"),
        (vec!["run", "busybox@sha256:abc"], 125, "digest"),
        (vec!["run", "--runtime", "nosuch", "busybox"], 125, "nosuch"),
        (vec!["run", "--name", "../x", "busybox"], 125, "name"),
        (vec!["run", "--name", "-x", "busybox"], 125, "name"),
        (vec!["run", "-m", "12parsecs", "busybox"], 125, "12parsecs"),
        (vec!["run", "-v", "relative/../../x:/y:zz", "busybox"], 125, ""),
        (vec!["run", "--cap-add", "CAP_NONSENSE", "busybox"], 125, "NONSENSE"),
        (vec!["run", "--security-opt", "nonsense=1", "busybox"], 125, "nonsense"),
        (vec!["run", "--sysctl", "kernel.core_pattern=x", "busybox"], 125, "kernel.core_pattern"),
        (vec!["run", "--user", "4294967296", "busybox"], 125, "4294967296"),
        (vec!["run", "--user", "stranger", "busybox"], 125, "stranger"),
        (vec!["run", "--network", "container:nobody", "busybox"], 125, "nobody"),
        (vec!["run", "--cpuset-cpus", "0-2147483647", "busybox"], 125, "cpus"),
        (vec!["run", "--stop-signal", "SIGNOPE", "busybox"], 125, "SIGNOPE"),
        (vec!["run", "--device", "/dev/nosuchdevice", "busybox"], 125, "/dev/nosuchdevice"),
        (vec!["run", "-p", "80:x", "busybox"], 125, "80:x"),
        (vec!["run", "--network", "nowhere", "busybox"], 125, "nowhere"),
        (vec!["run", "--network", "none", "-p", "80:80", "busybox"], 125, "publish"),
        (vec!["start", "nobody"], 1, "nobody"),
        (vec!["stop", "nobody"], 1, "nobody"),
        (vec!["rm", "nobody"], 1, "nobody"),
        (vec!["logs", "nobody"], 1, "nobody"),
        (vec!["inspect", "nobody"], 1, "nobody"),
        (vec!["rmi", "nosuchimage"], 1, "nosuchimage"),
        (vec!["tag", "nosuchimage", "x:1"], 1, "nosuchimage"),
        (vec!["kill", "-s", "NOPE", "nobody"], 125, "NOPE"),
    ] {
        let outcome = world.run(&arguments)?;
        let lines = outcome.told();
        // `run` says first that it looks for an image that is not there.
        let told =
            lines.filter(|line| !line.starts_with("Unable to find") && !line.ends_with("pulling"));
        assert_eq!(told.count(), 1, "{arguments:?}: {outcome:#?}");
        assert!(outcome.stderr.contains(words), "{arguments:?}: {outcome:#?}");
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:#?}");
        nothing_half_made(&world).with_context(|| format!("after {arguments:?}"))?;
    }
    world.finish()
}

#[test]
fn a_name_that_is_taken_is_refused_and_its_owner_stays() -> Result<()> {
    let world = World::new("lcr")?;
    let id = world.ok(&["create", "--name", "web", "busybox"])?;
    world.refused(&["create", "--name", "web", "busybox"], 125, "web")?;
    world.refused(&["run", "-d", "--name", "web", "busybox"], 125, &id[..12])?;
    assert_eq!(world.ok(&["ps", "-aq", "--no-trunc"])?, id);
    world.finish()
}

#[test]
fn a_truncated_archive_is_refused_at_any_length() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let whole = fs::read(images::busybox_docker_archive()?)?;
    let oci = fs::read(images::busybox_oci_archive()?)?;
    for archive in [&whole, &oci] {
        for part in
            [0, 1, 511, 512, 700, archive.len() / 3, archive.len() / 2, archive.len() * 9 / 10]
        {
            let outcome = world.run_with(&["load"], &archive[..part])?;
            assert_eq!(outcome.code, 1, "{part} bytes: {outcome:#?}");
            assert_eq!(outcome.stderr.lines().count(), 1, "{part} bytes: {outcome:#?}");
            nothing_half_made(&world)?;
        }
    }
    assert_eq!(world.ok(&["images", "-q"])?, "");
    let garbage = world.path("garbage");
    fs::write(&garbage, "this is no archive")?;
    world.refused(&["load", "-i", &garbage.display().to_string()], 1, "archive")?;
    world.refused(&["import", &garbage.display().to_string(), "x:1"], 1, "")?;
    world.finish()
}

/// A small file system of its own for the daemon's data, unmounted at the end in any case.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: std::path::PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)?;
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "small"])
            .arg(&path)
            .status()?;
        assert!(status.success());
        Ok(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: in a test that failed the daemon still has it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_is_told_and_harms_nothing_that_was_there() -> Result<()> {
    let mut world = World::bare(&[])?;
    let disk = SmallDisk::mount(world.path("data"))?;
    world.start()?;
    world.ok(&["load", "-i", &images::busybox_docker_archive()?.display().to_string()])?;
    world.ok(&["create", "--name", "before", "busybox", "echo", "still here"])?;
    // An image that does not fit.
    let tar = images::debian_rootfs()?.display().to_string();
    let outcome = world.run(&["import", &tar, "debian:12"])?;
    assert_eq!(outcome.code, 1, "{outcome:#?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
    assert!(outcome.stderr.contains("No space left"), "{outcome:#?}");
    assert_eq!(world.ok(&["images", "--format", "{{.Repository}}"])?, "busybox");
    // Not one block more.
    let filler = world.path("data/filler");
    drop(
        Command::new("dd")
            .args(["if=/dev/zero", "bs=4096"])
            .arg(format!("of={}", filler.display()))
            .output()?,
    );
    let outcome = world.run(&["create", "--name", "after", "busybox"])?;
    assert_eq!(outcome.code, 125, "{outcome:#?}");
    assert!(outcome.stderr.contains("No space left"), "{outcome:#?}");
    assert_eq!(world.ok(&["ps", "-a", "--format", "{{.Names}}"])?, "before");
    fs::remove_file(filler)?;
    assert_eq!(world.ok(&["start", "-a", "before"])?, "still here");
    world.ok(&["create", "--name", "after", "busybox"])?;
    world.ok(&["rm", "before", "after"])?;
    world.take_daemon()?.stop()?;
    drop(disk);
    // The rest of the promise needs a daemon again, on an empty root.
    world.start()?;
    world.finish()
}
