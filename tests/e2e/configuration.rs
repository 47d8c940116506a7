//! The daemon's configuration file, flags, locks and end.

use std::fs;

use anyhow::Result;
use isula_tests::World;

#[test]
fn a_wrong_configuration_is_refused_with_key_and_line() -> Result<()> {
    let mut world = World::bare(&[])?;
    let file = world.path("daemon.json");
    for (text, words) in [
        (
            "{\n  \"log-level\": \"info\",\n  \"no-such-key\": 1\n}\n",
            vec!["no-such-key", "daemon.json:3:"],
        ),
        ("{\n  \"registry-mirrors\": \"one\"\n}\n", vec!["registry-mirrors", "daemon.json:2:"]),
        ("{\n  \"log-level\": 7\n}\n", vec!["log-level", "daemon.json:2:"]),
        ("{", vec!["daemon.json"]),
    ] {
        fs::write(&file, text)?;
        let (status, said) = world.how().refused()?;
        assert!(!status.success());
        for word in words {
            assert!(said.contains(word), "{text}: {said}");
        }
    }
    // What the shipped file of the first iSulad holds is understood.
    fs::write(
        &file,
        r#"{"group": "isula", "default-runtime": "lcr", "log-level": "ERROR", "log-driver": "stdout",
            "start-timeout": "2m", "storage-driver": "overlay2", "registry-mirrors": [], "insecure-registries": [],
            "pod-sandbox-image": "", "native.umask": "secure", "network-plugin": "", "cni-bin-dir": "", "cni-conf-dir": "",
            "image-layer-check": false, "use-decrypted-key": true, "insecure-skip-verify-enforce": false}"#,
    )?;
    world.start()?;
    world.finish()
}

#[test]
fn a_second_daemon_on_the_same_root_is_refused() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let pid = world.daemon()?.pid().to_string();
    let mut second = world.how().clone();
    second
        .flags
        .extend(["-H".to_owned(), format!("unix://{}", world.path("other.sock").display())]);
    let (status, said) = second.refused()?;
    assert!(!status.success());
    assert!(said.contains(&pid) && said.lines().count() == 1, "{said}");
    assert_eq!(world.ok(&["ps", "-q"])?, "");
    world.finish()
}

#[test]
fn a_client_without_a_daemon_says_so() -> Result<()> {
    let world = World::bare(&[])?;
    world
        .refused(&["ps"], 1, "Cannot connect")
        .or_else(|_| world.refused(&["ps"], 125, "Cannot connect"))?;
    world.refused(&["run", "busybox"], 125, "Cannot connect")
}
