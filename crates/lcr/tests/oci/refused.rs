//! Wrong configurations: one line that names the field, and nothing left.

use serde_json::{Value, json};

use crate::bundle::Bundle;

/// Where, which value, and what the one line must contain.
const WRONG: &str = r#"
/ociVersion | "2.0.0" | ociVersion
/ociVersion | "" | ociVersion is required
/process | null | process is required
/root | null | root is required
/linux | null | linux is required
/root/path | "/" | root.path: it is the root of the host
/root/path | "no-such-directory" | no-such-directory: no such file
/process/args | [] | process.args is required
/process/args | ["a\u0000b"] | process.args[0]: it has a zero byte
/process/env | ["A=\u0000"] | process.env[0]: it has a zero byte
/process/cwd | "relative" | process.cwd: it is not an absolute path
/process/user/uid | 4294967295 | process.user.uid: it is out of range
/process/user/uid | 4294967296 | config.json: invalid value
/process/user/gid | 4294967295 | process.user.gid: it is out of range
/process/user/additionalGids | [4294967295] | process.user.additionalGids
/process/user/umask | 512 | process.user.umask: it is out of range
/process/oomScoreAdj | 1001 | process.oomScoreAdj: it is not between
/process/ioPriority | {"class": "IOPRIO_CLASS_BE", "priority": 8} | process.ioPriority.priority
/process/scheduler | {"policy": "SCHED_OTHER", "nice": 20} | process.scheduler.nice
/process/rlimits | [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}] | process.rlimits[0].soft
/process/rlimits | [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] | process.rlimits[1].type: RLIMIT_CPU is there twice
/hostname | "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" | hostname: it is longer than 64 bytes
/mounts/- | {"destination": "data", "type": "tmpfs"} | mounts[7].destination
/mounts/- | {"destination": "/", "type": "tmpfs"} | mounts[7].destination: it is the root
/mounts/- | {"destination": "/x"} | mounts[7].type: it is missing
/mounts/- | {"destination": "/x", "type": "bind"} | mounts[7].source: it is missing
/mounts/- | {"destination": "/x", "type": "bind", "source": "/tmp", "options": ["mode=1"]} | mounts[7].options: mode means nothing
/mounts/- | {"destination": "/x", "type": "tmpfs", "options": ["remount"]} | mounts[7].options is not supported: remount
/mounts/- | {"destination": "/x", "type": "tmpfs", "options": ["idmap"]} | mounts[7].options is not supported
/mounts/- | {"destination": "/x", "type": "nosuchfs"} | cannot mount nosuchfs on /x: no such device
/mounts/- | {"destination": "/x", "type": "tmpfs", "options": ["size=lots"]} | tmpfs on /x
/mounts/- | {"destination": "/x", "type": "bind", "source": "/no/such"} | cannot mount /no/such: no such file
/mounts/- | {"destination": "/proc/self/attr", "type": "tmpfs"} | mounts[7].destination
/mounts/0/type | "tmpfs" | mounts[0].destination is not supported: /proc can only be procfs
/linux/namespaces/- | {"type": "uts"} | linux.namespaces[6]: there are two of type uts
/linux/namespaces/0/path | "relative" | linux.namespaces[0].path
/linux/namespaces/1/path | "/no/such/file" | cannot enter the namespace /no/such/file: no such file
/linux/namespaces/1/path | "/dev/null" | cannot enter the namespace /dev/null: invalid argument
/linux/namespaces/- | {"type": "user"} | linux.uidMappings: a new user namespace needs it
/linux/uidMappings | [{"containerID": 0, "hostID": 0, "size": 1}] | linux.uidMappings: there is no user namespace
/linux/timeOffsets | {"monotonic": {"secs": 1}} | linux.timeOffsets: there is no new time namespace
/linux/devices | [{"path": "null", "type": "c"}] | linux.devices[0].path
/linux/devices | [{"path": "/dev/x", "type": "a"}] | linux.devices[0].type
/linux/devices | [{"path": "/dev/x", "type": "c", "major": -1}] | linux.devices[0].major
/linux/rootfsPropagation | "sideways" | linux.rootfsPropagation
/linux/maskedPaths | ["relative"] | linux.maskedPaths[0]
/linux/readonlyPaths | ["relative"] | linux.readonlyPaths[0]
/linux/cgroupsPath | "/../x" | linux.cgroupsPath: it contains ..
/linux/sysctl | {"kernel.core_pattern": "/x"} | linux.sysctl.kernel.core_pattern
/linux/sysctl | {"kernel.shm_rmid_forced": "1", "net/../kernel/core_pattern": "/x"} | linux.sysctl.net/../kernel
/hooks | {"poststop": [{"path": "relative"}]} | hooks.poststop[0].path
/hooks | {"poststop": [{"path": "/x", "timeout": 0}]} | hooks.poststop[0].timeout
"#;

#[test]
fn what_means_nothing_is_refused_with_its_name_in_one_line() {
    for line in WRONG.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [pointer, value, text] = fields[..] else { panic!("{line}") };
        let value: Value = serde_json::from_str(value).unwrap();
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
