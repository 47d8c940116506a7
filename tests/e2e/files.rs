//! The files of a container on disk, as the first iSulad laid them out.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::{Context, Result};
use isula_tests::World;
use serde_json::Value;

#[test]
fn the_directory_of_a_container_is_the_one_people_know() -> Result<()> {
    let world = World::new("lcr")?;
    let id = world.ok(&["run", "-itd", "--hostname", "localhost", "busybox", "sh"])?;
    let directory = world.bundle("lcr", &id);
    let mode = |name: &str| -> Result<u32> {
        Ok(fs::metadata(directory.join(name))
            .with_context(|| name.to_owned())?
            .permissions()
            .mode()
            & 0o7777)
    };
    assert_eq!(fs::metadata(&directory)?.permissions().mode() & 0o7777, 0o750);
    // The journal has the record first; its plain files follow within moments.
    let config: Value = loop {
        let text = fs::read(directory.join("config.v2.json")).unwrap_or_default();
        let config = serde_json::from_slice(&text).unwrap_or(Value::Null);
        if config["State"]["Running"] == true && directory.join("hostconfig.json").exists() {
            break config;
        }
        std::thread::yield_now();
    };
    for (name, wanted) in [
        ("config.json", 0o640),
        ("config.v2.json", 0o640),
        ("hostconfig.json", 0o640),
        ("console.log", 0o640),
        ("ocihooks.json", 0o640),
        ("seccomp", 0o640),
        ("hostname", 0o644),
        ("hosts", 0o644),
        ("resolv.conf", 0o644),
        ("mounts", 0o700),
    ] {
        assert_eq!(mode(name)?, wanted, "{name}");
    }
    assert_eq!(fs::read_to_string(directory.join("hostname"))?, "localhost\n");
    assert_eq!(fs::read_to_string(directory.join("ocihooks.json"))?.trim(), "null");

    let spec: Value = serde_json::from_slice(&fs::read(directory.join("config.json"))?)?;
    assert_eq!(spec["hostname"], "localhost");
    assert_eq!(spec["mounts"][0]["destination"], "/dev");
    assert_eq!(spec["mounts"][0]["options"][0], "nosuid");

    let common = &config["CommonConfig"];
    assert_eq!(common["Path"], "sh");
    assert_eq!(common["Config"]["Hostname"], "localhost");
    assert_eq!(common["Config"]["Tty"], true);
    assert_eq!(common["Config"]["OpenStdin"], true);
    assert_eq!(common["Config"]["Cmd"][0], "sh");
    assert_eq!(common["Config"]["LogDriver"], "json-file");
    assert_eq!(common["Image"], "busybox");
    assert_eq!(common["ImageType"], "oci");
    assert_eq!(common["Name"], id.as_str());
    assert_eq!(common["id"], id.as_str());
    assert!(config["Image"].as_str().context("Image")?.starts_with("sha256:"));
    let state = &config["State"];
    assert_eq!(state["Running"], true);
    assert_eq!(state["FinishedAt"], "0001-01-01T00:00:00Z");
    let pid = state["Pid"].as_i64().context("Pid")?;
    let parent = state["PPid"].as_i64().context("PPid")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
    assert_eq!(fields[1], parent.to_string(), "PPid is the shim, parent of the init process");
    assert_eq!(fields[19], state["StartTime"].to_string());
    assert_eq!(fs::read_to_string(format!("/proc/{parent}/comm"))?.trim(), "isulad-shim");
    world.finish()
}

#[test]
fn roots_and_socket_are_closed_to_others() -> Result<()> {
    let world = World::new("lcr")?;
    let mode = |name: &str| -> Result<u32> {
        Ok(fs::metadata(world.path(name))?.permissions().mode() & 0o7777)
    };
    assert_eq!(mode("data")?, 0o700);
    assert_eq!(mode("sock")?, 0o660);
    assert_eq!(mode("state")? & 0o066, 0);
    world.finish()
}
