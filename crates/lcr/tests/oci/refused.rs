//! Wrong configurations: one line that names the field, and nothing left.

use serde_json::{Value, json};

use crate::bundle::Bundle;

/// Pointer, value, and what the one line must contain.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/ociVersion", json!(""), "ociVersion is required"),
        ("/process", Value::Null, "process is required"),
        ("/root", Value::Null, "root is required"),
        ("/linux", Value::Null, "linux is required"),
        ("/root/path", json!("/"), "root.path: it is the root of the host"),
        ("/root/path", json!("no-such-directory"), "no-such-directory: no such file"),
        ("/process/args", json!([]), "process.args is required"),
        ("/process/args", json!(["a\0b"]), "process.args[0]: it has a zero byte"),
        ("/process/env", json!(["A=\0"]), "process.env[0]: it has a zero byte"),
        ("/process/cwd", json!("relative"), "process.cwd: it is not an absolute path"),
        ("/process/user/uid", json!(4_294_967_295u32), "process.user.uid: it is out of range"),
        ("/process/user/gid", json!(4_294_967_295u32), "process.user.gid: it is out of range"),
        ("/process/user/additionalGids", json!([4_294_967_295u32]), "process.user.additionalGids"),
        ("/process/user/umask", json!(0o1000), "process.user.umask: it is out of range"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj: it is not between"),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "process.ioPriority.priority",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            "process.scheduler.nice",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
            "process.rlimits[0].soft",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]),
            "process.rlimits[1].type: RLIMIT_CPU is there twice",
        ),
        ("/hostname", json!("x".repeat(65)), "hostname: it is longer than 64 bytes"),
        ("/mounts/-", json!({"destination": "data", "type": "tmpfs"}), "mounts[7].destination"),
        (
            "/mounts/-",
            json!({"destination": "/", "type": "tmpfs"}),
            "mounts[7].destination: it is the root",
        ),
        ("/mounts/-", json!({"destination": "/x"}), "mounts[7].type: it is missing"),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "bind"}),
            "mounts[7].source: it is missing",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "nosuchfs"}),
            "cannot mount nosuchfs on /x: no such device",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "tmpfs", "options": ["size=lots"]}),
            "tmpfs on /x",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "bind", "source": "/no/such"}),
            "cannot mount /no/such: no such file",
        ),
        (
            "/mounts/-",
            json!({"destination": "/proc/self/attr", "type": "tmpfs"}),
            "mounts[7].destination",
        ),
        (
            "/mounts/0/type",
            json!("tmpfs"),
            "mounts[0].destination is not supported: /proc can only be procfs",
        ),
        (
            "/linux/namespaces/-",
            json!({"type": "uts"}),
            "linux.namespaces[6]: there are two of type uts",
        ),
        ("/linux/namespaces/0/path", json!("relative"), "linux.namespaces[0].path"),
        (
            "/linux/namespaces/1/path",
            json!("/no/such/file"),
            "cannot enter the namespace /no/such/file: no such file",
        ),
        (
            "/linux/namespaces/1/path",
            json!("/dev/null"),
            "cannot enter the namespace /dev/null: invalid argument",
        ),
        (
            "/linux/namespaces/-",
            json!({"type": "user"}),
            "linux.uidMappings: a new user namespace needs it",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            "linux.uidMappings: there is no user namespace",
        ),
        (
            "/linux/timeOffsets",
            json!({"monotonic": {"secs": 1}}),
            "linux.timeOffsets: there is no new time namespace",
        ),
        ("/linux/devices", json!([{"path": "null", "type": "c"}]), "linux.devices[0].path"),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "a"}]), "linux.devices[0].type"),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": -1}]),
            "linux.devices[0].major",
        ),
        ("/linux/rootfsPropagation", json!("sideways"), "linux.rootfsPropagation"),
        ("/linux/maskedPaths", json!(["relative"]), "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths", json!(["relative"]), "linux.readonlyPaths[0]"),
        ("/linux/cgroupsPath", json!("/../x"), "linux.cgroupsPath: it contains .."),
        (
            "/linux/sysctl",
            json!({"kernel.core_pattern": "|/x"}),
            "linux.sysctl.kernel.core_pattern",
        ),
        (
            "/linux/sysctl",
            json!({"net/../kernel/core_pattern": "|/x"}),
            "linux.sysctl.net/../kernel",
        ),
        ("/hooks", json!({"poststop": [{"path": "relative"}]}), "hooks.poststop[0].path"),
        (
            "/hooks",
            json!({"poststop": [{"path": "/x", "timeout": 0}]}),
            "hooks.poststop[0].timeout",
        ),
    ]
}

#[test]
fn what_means_nothing_is_refused_with_its_name_in_one_line() {
    for (pointer, value, text) in wrong() {
        let mut bundle = Bundle::new("true");
        bundle.set(pointer, value.clone());
        if value.is_null() {
            let name = pointer.trim_start_matches('/');
            bundle.config.as_object_mut().unwrap().remove(name);
        }
        let ran = bundle.run();
        assert_ne!(ran.status, 0, "{pointer} {value}");
        assert!(ran.stderr.contains(text), "{pointer} {value}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{pointer} {value}: {ran:?}");
        assert!(bundle.cgroups().is_empty(), "{pointer} {value} left a group");
        assert!(!bundle.directory.join("state").join(&bundle.id).exists());
    }
}

#[test]
fn parameters_of_a_namespace_that_is_the_hosts_are_refused() {
    for (namespace, key) in [
        ("network", "net.ipv4.ip_forward"),
        ("ipc", "kernel.shmmax"),
        ("ipc", "fs.mqueue.msg_max"),
        ("uts", "kernel.domainname"),
    ] {
        let mut bundle = Bundle::new("true");
        bundle.without_namespace(namespace).set("/linux/sysctl", json!({key: "1"}));
        bundle.config.as_object_mut().unwrap().remove("hostname");
        let error = bundle.run().failed();
        assert!(error.contains(&format!("linux.sysctl.{key} is not supported")), "{error}");
    }
}

#[test]
fn a_host_name_without_a_namespace_is_refused() {
    let mut bundle = Bundle::new("true");
    bundle.without_namespace("uts");
    let error = bundle.run().failed();
    assert!(error.contains("hostname: there is no uts namespace"), "{error}");
}

#[test]
fn a_bundle_or_configuration_that_is_none_is_refused() {
    let bundle = Bundle::new("true");
    let missing = bundle.call(&["run", "-b", "/no/such/bundle", &bundle.id]).failed();
    assert!(missing.contains("cannot find the bundle /no/such/bundle: no such file"), "{missing}");
    for text in ["", "{", "7", "{\"ociVersion\": 1}"] {
        std::fs::create_dir_all(bundle.directory.join("other")).unwrap();
        std::fs::write(bundle.directory.join("other/config.json"), text).unwrap();
        let other = bundle.directory.join("other");
        let error = bundle.call(&["run", "-b", other.to_str().unwrap(), &bundle.id]).failed();
        assert!(error.contains("other/config.json: "), "{text}: {error}");
    }
    for id in ["../x", "", "a/b", "."] {
        let error = bundle.call(&["run", "-b", bundle.text(), id]).failed();
        assert!(error.contains("invalid container id"), "{error}");
    }
}
