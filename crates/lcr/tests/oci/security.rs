//! What must not be possible: each test is an attack that has worked on some runtime.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bundle::Bundle;

#[test]
fn a_proc_sys_or_dev_that_is_a_link_is_refused() {
    // CVE-2019-19921, CVE-2023-27561, CVE-2026-41579.
    for name in ["proc", "sys", "dev"] {
        let bundle = Bundle::new("true");
        let outside = bundle.directory.join("outside");
        fs::create_dir(&outside).unwrap();
        fs::remove_dir(bundle.rootfs(name)).unwrap();
        symlink("../outside", bundle.rootfs(name)).unwrap();
        let error = bundle.run().failed();
        let text = format!("/{name}, which is a symbolic link in the image");
        assert!(error.contains(&text), "{error}");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    }
}

#[test]
fn nodes_are_not_made_through_a_link_without_a_mount_either() {
    let mut bundle = Bundle::new("true");
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"].as_str().is_some_and(|path| path == "/proc"));
    fs::remove_dir(bundle.rootfs("dev")).unwrap();
    symlink("/tmp", bundle.rootfs("dev")).unwrap();
    let error = bundle.run().failed();
    assert!(error.contains("/dev, which is a symbolic link"), "{error}");
    assert_eq!(fs::read_dir(bundle.rootfs("tmp")).unwrap().count(), 0);
}

#[test]
fn nothing_is_mounted_over_procfs_whatever_the_links_say() {
    // CVE-2019-16884, CVE-2025-52881.
    let mut bundle = Bundle::new("true");
    fs::write(bundle.directory.join("fake"), "").unwrap();
    symlink("/proc/self/attr", bundle.rootfs("innocent")).unwrap();
    bundle.mount("/innocent/exec", "bind", "fake", &["bind"]);
    let error = bundle.run().failed();
    assert!(error.contains("/innocent/exec, which lies in procfs"), "{error}");

    let mut bundle = Bundle::new("cat /proc/uptime");
    fs::write(bundle.directory.join("fake"), "1.00 1.00\n").unwrap();
    bundle.mount("/proc/uptime", "bind", "fake", &["bind"]);
    assert_eq!(bundle.run().ok(), "1.00 1.00\n", "what lxcfs does is allowed");
}

#[test]
fn a_masked_path_cannot_be_redirected_by_the_image() {
    // CVE-2025-31133: /dev/null of the image is a link to what shall become writable.
    let mut bundle = Bundle::new("echo x > /proc/sys/kernel/core_pattern; cat /proc/keys | wc -c");
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs("/dev/null")).unwrap();
    bundle.set("/linux/maskedPaths", json!(["/proc/keys"]));
    let error = bundle.run().failed();
    assert!(error.contains("cannot make the device /dev/null: file exists"), "{error}");
}

#[test]
fn no_descriptor_of_the_host_is_open() {
    // CVE-2024-21626.
    let bundle = Bundle::new("ls -l /proc/self/fd /proc/1/fd | grep -c ' -> '; ls -l /proc/1/fd");
    let secret = fs::File::open(&bundle.directory).unwrap();
    let leaked = isula_sys::process::duplicate(&secret).unwrap();
    let printed = bundle.run().ok();
    drop(leaked);
    for line in printed.lines().filter(|line| line.contains(" -> ")) {
        let target = line.rsplit(" -> ").next().unwrap();
        let fine = target == "/dev/null" || target.starts_with("pipe:");
        assert!(fine, "{line}");
    }
}

#[test]
fn a_working_directory_outside_is_refused() {
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/1/cwd", "/proc/self/root/../.."] {
        let mut bundle = Bundle::new("pwd; ls ..");
        bundle.set("/process/cwd", json!(cwd));
        let ran = bundle.run();
        // Either there is no such place, or it is one inside.
        if ran.status == 0 {
            assert!(!ran.stdout.contains("usr"), "{cwd}: {ran:?}");
            assert!(ran.stdout.starts_with('/'), "{cwd}: {ran:?}");
        }
    }
}

#[test]
fn the_runtimes_own_file_cannot_be_written_from_inside() {
    // CVE-2019-5736: the program is a script whose interpreter is whatever runs it.
    let mut bundle = Bundle::new("");
    bundle.add_program("/bin/trap", "#!/proc/self/exe\n");
    bundle.set("/process/args", json!(["/bin/trap"]));
    let runtime = env!("CARGO_BIN_EXE_lcr");
    let before = fs::read(runtime).unwrap();
    // It runs a sealed copy of the runtime, which does not know the command.
    let ran = bundle.run();
    assert_ne!(ran.status, 0, "{ran:?}");
    assert_eq!(fs::read(runtime).unwrap(), before);
    let mut bundle = Bundle::new("sleep 1000");
    bundle.set("/process/capabilities", json!({}));
    bundle.run_detached().ok();
    let script = "#!/bin/sh\nreadlink /proc/self/exe; echo x > /proc/self/exe; exit 0\n";
    bundle.add_program("/bin/look", script);
    let ran = bundle.exec(&[], &["/bin/look"]);
    assert!(!ran.stdout.contains("lcr"), "{ran:?}");
}

#[test]
fn a_working_directory_is_never_made_outside() {
    // CVE-2026-55686.
    let mut bundle = Bundle::new("pwd");
    let outside = bundle.directory.join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(outside.to_str().unwrap(), bundle.rootfs("srv")).unwrap();
    bundle.set("/process/cwd", json!("/srv/app"));
    bundle.run().ok();
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn a_passwd_that_is_a_fifo_holds_nothing_up() {
    let bundle = Bundle::new("echo $HOME");
    fs::remove_file(bundle.rootfs("/etc/passwd")).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, bundle.rootfs("/etc/passwd"), kind, mode, 0).unwrap();
    assert_eq!(bundle.run().ok(), "/\n");
}

#[test]
fn the_default_devices_of_the_image_are_not_trusted() {
    let mut bundle = Bundle::new("true");
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    fs::write(bundle.rootfs("/dev/zero"), "not a device").unwrap();
    let error = bundle.run().failed();
    assert!(error.contains("/dev/zero: file exists"), "{error}");
}

#[test]
fn signals_and_session_are_fresh() {
    let mut bundle = Bundle::new("");
    bundle.set("/process/args", json!(["cat", "/proc/1/status", "/proc/1/stat"]));
    let printed = bundle.run().ok();
    for name in ["SigBlk", "SigIgn"] {
        assert!(printed.contains(&format!("{name}:\t0000000000000000")), "{name}: {printed}");
    }
    assert!(
        printed.contains("(cat) R 0 1 1 0 "),
        "it leads a session without a terminal: {printed}"
    );
}
