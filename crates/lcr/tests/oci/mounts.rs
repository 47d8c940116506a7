//! Mounts: kinds, attributes, propagation, mount points that are missing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::bundle::Bundle;

/// The options that a mount has inside.
fn options_of(mountinfo: &str, path: &str) -> String {
    let line = mountinfo.lines().rev().find(|line| line.split(' ').nth(4) == Some(path));
    let line = line.unwrap_or_else(|| panic!("{path} is not mounted: {mountinfo}"));
    line.split(' ').nth(5).unwrap().to_owned()
}

#[test]
fn attributes_are_set_on_every_kind_of_mount() {
    let mut bundle = Bundle::new("cat /proc/self/mountinfo");
    let source = bundle.directory.join("data");
    fs::create_dir(&source).unwrap();
    let source = source.to_str().unwrap().to_owned();
    let cases: [(&str, &str, &[&str], &str); 8] = [
        (
            "/a",
            "bind",
            &["rbind", "ro", "nosuid", "nodev", "noexec"],
            "ro,nosuid,nodev,noexec,relatime",
        ),
        ("/b", "bind", &["bind", "noatime"], "rw,noatime"),
        ("/c", "bind", &["rbind", "rro", "nosymfollow"], "ro,relatime,nosymfollow"),
        ("/d", "bind", &["bind", "ro", "rw"], "rw,relatime"),
        ("/e", "tmpfs", &["nodiratime", "nodev", "size=64k"], "rw,nodev,relatime"),
        ("/f", "tmpfs", &["ro", "rnosuid", "strictatime"], "ro,nosuid"),
        ("/g", "ramfs", &["noexec"], "rw,noexec,relatime"),
        ("/h", "sysfs", &["ro"], "ro,relatime"),
    ];
    for (destination, kind, options, _) in cases {
        let source = if kind == "bind" { source.as_str() } else { kind };
        bundle.mount(destination, kind, source, options);
    }
    let found = bundle.run().ok();
    for (destination, _, _, expected) in cases {
        let options = options_of(&found, destination);
        let wanted: Vec<&str> = expected.split(',').collect();
        for one in &wanted {
            assert!(options.split(',').any(|found| found == *one), "{destination}: {options}");
        }
        for one in ["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"] {
            let there = options.split(',').any(|found| found == one);
            assert_eq!(there, wanted.contains(&one), "{destination}: {one} in {options}");
        }
    }
}

#[test]
fn files_and_directories_are_bound_and_missing_mount_points_made() {
    let mut bundle =
        Bundle::new("cat /new/dir/file /new/other/a; ls /new/other; echo w >> /new/dir/file");
    fs::create_dir(bundle.directory.join("data")).unwrap();
    fs::write(bundle.directory.join("data/a"), "in a directory\n").unwrap();
    fs::write(bundle.directory.join("file"), "a file\n").unwrap();
    // Relative sources start at the bundle.
    bundle.mount("/new/dir/file", "bind", "file", &["bind"]);
    bundle.mount("/new/other", "bind", "data", &["rbind", "ro"]);
    assert_eq!(bundle.run().ok(), "a file\nin a directory\na\n");
    assert_eq!(fs::read_to_string(bundle.directory.join("file")).unwrap(), "a file\nw\n");
}

#[test]
fn a_bind_takes_what_is_mounted_below_only_if_it_is_recursive() {
    let mut bundle = Bundle::new("ls /deep/fs/cgroup | wc -l; ls /flat/fs/cgroup | wc -l");
    bundle.mount("/deep", "bind", "/sys", &["rbind", "ro"]);
    bundle.mount("/flat", "bind", "/sys", &["bind", "ro"]);
    let printed = bundle.run().ok();
    let counts: Vec<u32> = printed.lines().map(|line| line.parse().unwrap()).collect();
    assert!(counts[0] > 0 && counts[1] == 0, "{counts:?}");
}

#[test]
fn a_tmpfs_takes_up_what_it_covers_when_asked_to() {
    let mut bundle =
        Bundle::new("cat /data/file; stat -c %a /data /plain; ls /plain; echo x > /data/new");
    for name in ["data", "plain"] {
        fs::create_dir(bundle.rootfs(name)).unwrap();
        fs::set_permissions(bundle.rootfs(name), fs::Permissions::from_mode(0o751)).unwrap();
        fs::write(bundle.rootfs(name).join("file"), "copied\n").unwrap();
    }
    bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    bundle.mount("/plain", "tmpfs", "tmpfs", &["mode=1700"]);
    assert_eq!(bundle.run().ok(), "copied\n751\n1700\n");
    assert!(!bundle.rootfs("/data/new").exists());
}

#[test]
fn the_root_can_be_read_only_with_everything_still_made_in_it() {
    let mut bundle = Bundle::new("touch /x; pwd; touch /dev/x; ls -d /new");
    bundle.set("/root/readonly", json!(true)).set("/process/cwd", json!("/made/before"));
    bundle.mount("/new", "tmpfs", "tmpfs", &["ro"]);
    let position = bundle.config["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .position(|m| m["destination"] == "/dev")
        .unwrap();
    bundle.set(&format!("/mounts/{position}/options/-"), json!("ro"));
    let ran = bundle.run();
    assert_eq!(ran.stderr.matches("Read-only file system").count(), 2, "{ran:?}");
    assert_eq!(ran.stdout, "/made/before\n/new\n");
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_cannot_be_written() {
    let mut bundle = Bundle::new(
        "cat /secret; ls /hidden /also | wc -w; echo x > /hidden/x; echo x > /secret; \
         echo x > /kept/file; cat /kept/file; cat /proc/kcore | wc -c",
    );
    for directory in ["hidden", "also", "kept"] {
        fs::create_dir(bundle.rootfs(directory)).unwrap();
        fs::write(bundle.rootfs(directory).join("file"), "contents\n").unwrap();
    }
    fs::write(bundle.rootfs("secret"), "secret\n").unwrap();
    bundle.set(
        "/linux/maskedPaths",
        json!(["/secret", "/hidden", "/also", "/missing", "/proc/kcore"]),
    );
    bundle.set("/linux/readonlyPaths", json!(["/kept", "/also/missing", "/proc/sys"]));
    let ran = bundle.run();
    assert_eq!(ran.stderr.matches("Read-only file system").count(), 2, "{ran:?}");
    // The names of the two directories are all that ls prints of them.
    assert_eq!(ran.stdout, "2\ncontents\n0\n", "{ran:?}");
    assert_eq!(fs::read_to_string(bundle.rootfs("secret")).unwrap(), "secret\n");
}

#[test]
fn mounts_are_private_unless_sharing_is_asked_for() {
    let mut bundle = Bundle::new("cat /proc/self/mountinfo");
    fs::create_dir(bundle.directory.join("data")).unwrap();
    bundle.mount("/private", "bind", "data", &["rbind"]);
    bundle.mount("/shared", "bind", "data", &["rbind", "rshared"]);
    bundle.mount("/slave", "bind", "data", &["rbind", "rslave"]);
    bundle.mount("/unbindable", "bind", "data", &["rbind", "unbindable"]);
    let found = bundle.run().ok();
    let tags = |path: &str| {
        let line = found.lines().find(|line| line.split(' ').nth(4) == Some(path)).unwrap();
        line.split(' ').skip(6).take_while(|field| *field != "-").collect::<Vec<_>>().join(" ")
    };
    assert_eq!(tags("/"), "");
    assert_eq!(tags("/private"), "");
    assert!(tags("/shared").starts_with("shared:"), "{found}");
    // A slave of nothing is private: the directory is not shared on the host.
    assert!(matches!(tags("/slave").split(':').next(), Some("" | "master")), "{found}");
    assert_eq!(tags("/unbindable"), "unbindable");
}

#[test]
fn the_propagation_of_the_root_is_set() {
    for (propagation, tag) in [("shared", "shared:"), ("private", ""), ("unbindable", "unbindable")]
    {
        let mut bundle = Bundle::new(
            "grep ' / / \\| / [^ ]* / ' /proc/self/mountinfo; cat /proc/self/mountinfo",
        );
        bundle.set("/linux/rootfsPropagation", json!(propagation));
        let found = bundle.run().ok();
        let line = found.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        let tags = line.split(' ').nth(6).unwrap();
        assert!(tags.starts_with(if tag.is_empty() { "-" } else { tag }), "{propagation}: {line}");
    }
}

#[test]
fn nothing_is_mounted_on_the_host() {
    let bundle = Bundle::new("sleep 1000");
    bundle.run_detached().ok();
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(bundle.text()), "{host}");
    let inside = bundle.exec(&[], &["cat", "/proc/self/mountinfo"]).ok();
    assert!(inside.lines().all(|line| line.split(' ').nth(4).unwrap().starts_with('/')));
    assert!(!inside.contains(" /tmp "), "the host's mounts are gone: {inside}");
}

#[test]
fn links_in_the_image_lead_nowhere_outside() {
    let mut bundle = Bundle::new("cat /etc/resolv.conf /data/file; ls -l /etc/resolv.conf");
    let outside = bundle.directory.join("outside");
    fs::create_dir(&outside).unwrap();
    // As Debian's images have it: dangling, and absolute.
    symlink("/run/resolve/stub.conf", bundle.rootfs("/etc/resolv.conf")).unwrap();
    symlink(outside.to_str().unwrap(), bundle.rootfs("/data")).unwrap();
    fs::write(bundle.directory.join("resolv"), "nameserver\n").unwrap();
    fs::write(bundle.directory.join("file"), "file\n").unwrap();
    bundle.mount("/etc/resolv.conf", "bind", "resolv", &["bind", "ro"]);
    bundle.mount("/data/file", "bind", "file", &["bind", "ro"]);
    let printed = bundle.run().ok();
    assert!(printed.starts_with("nameserver\nfile\n"), "{printed}");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn a_root_without_pivot_is_a_root_all_the_same() {
    let bundle = Bundle::new("ls / | tr '\\n' ' '");
    let args = ["run", "--no-pivot", "--bundle", bundle.text(), &bundle.id];
    assert_eq!(bundle.call(&args).ok(), "bin dev etc proc root sys tmp ");
}

#[test]
fn an_idmapped_mount_shows_other_owners() {
    let mut bundle = Bundle::new("stat -c '%u %g' /data/file");
    fs::create_dir(bundle.directory.join("data")).unwrap();
    fs::write(bundle.directory.join("data/file"), "").unwrap();
    let mapping = json!([{"containerID": 0, "hostID": 5000, "size": 1000}]);
    bundle.set(
        "/mounts/-",
        json!({
            "destination": "/data", "type": "bind", "source": "data", "options": ["bind", "idmap"],
            "uidMappings": mapping, "gidMappings": mapping
        }),
    );
    assert_eq!(bundle.run().ok(), "5000 5000\n");
}
