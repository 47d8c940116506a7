//! Hooks: order, namespaces, what they are told, what their failure does.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;

fn hook(bundle: &Bundle, name: &str) -> Value {
    let log = bundle.directory.join("log");
    let script = format!(
        "state=$(cat); echo \"{name} $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/mnt) $state\" >> {}",
        log.display()
    );
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
}

#[test]
fn hooks_run_in_their_order_and_namespaces_with_the_state() {
    let mut bundle = Bundle::new("true");
    let mut hooks = json!({});
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        hooks[name] = hook(&bundle, name);
    }
    // This one runs inside: it can only leave its mark there.
    let script = "cat > /tmp/state; readlink /proc/self/ns/net >> /tmp/state; id -u >> /tmp/state";
    hooks["startContainer"] =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
    bundle.set("/hooks", hooks).set("/annotations", json!({"a \"key\"": "value"}));
    bundle.run().ok();
    let log = fs::read_to_string(bundle.directory.join("log")).unwrap();
    let names: Vec<&str> = log.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    let host_mounts = fs::read_link("/proc/self/ns/mnt").unwrap();
    for line in log.lines() {
        let mut fields = line.splitn(4, ' ');
        let name = fields.next().unwrap();
        let inside = name == "createContainer";
        assert_eq!(fields.next() != host.to_str(), inside, "{line}");
        assert_eq!(fields.next() != host_mounts.to_str(), inside, "{line}");
        let state: Value = serde_json::from_str(fields.next().unwrap()).unwrap();
        assert_eq!(state["id"], bundle.id);
        assert_eq!(state["bundle"], bundle.text());
        assert_eq!(state["annotations"]["a \"key\""], "value");
        let status = match name {
            "poststart" => "running",
            "poststop" => "stopped",
            _ => "creating",
        };
        assert_eq!(state["status"], status, "{line}");
        assert_eq!(state.get("pid").is_some(), name != "poststop", "{line}");
    }
    let inside = fs::read_to_string(bundle.rootfs("/tmp/state")).unwrap();
    assert!(inside.contains(r#""status":"created""#), "{inside}");
    assert!(!inside.contains(host.to_str().unwrap()), "{inside}");
}

#[test]
fn a_hook_that_fails_before_the_start_ends_the_container() {
    for name in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let mut bundle = Bundle::new("echo ran");
        let script = "echo because of it >&2; exit 3";
        bundle.set("/hooks", json!({name: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}));
        let ran = bundle.run();
        assert_eq!(ran.status, 125, "{ran:?}");
        assert!(ran.stderr.contains("/bin/sh: it exited with status 3: because of it"), "{ran:?}");
        assert!(!ran.stdout.contains("ran"), "{ran:?}");
        assert!(bundle.cgroups().is_empty());
    }
}

#[test]
fn a_hook_that_fails_later_is_a_warning() {
    for name in ["poststart", "poststop"] {
        let mut bundle = Bundle::new("echo ran");
        bundle.set("/hooks", json!({name: [{"path": "/bin/false"}, {"path": "/no/such/hook"}]}));
        let ran = bundle.run();
        assert!(ran.stderr.contains("warning: cannot run the hook /bin/false"), "{ran:?}");
        assert!(
            ran.stderr.contains("/no/such/hook: it exited with status 127: no such file"),
            "{ran:?}"
        );
        assert_eq!(ran.ok(), "ran\n");
    }
}

#[test]
fn a_hook_that_does_not_end_in_time_is_killed() {
    let mut bundle = Bundle::new("echo ran");
    let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]);
    bundle.set("/hooks", json!({"createRuntime": hook}));
    let error = bundle.run().failed();
    assert!(error.contains("/bin/sleep: it did not end in time"), "{error}");
}

#[test]
fn a_hook_that_is_left_waiting_for_start_runs_at_start() {
    let mut bundle = Bundle::new("true");
    let hooks =
        json!({"poststart": hook(&bundle, "poststart"), "poststop": hook(&bundle, "poststop")});
    bundle.set("/hooks", hooks);
    bundle.create().ok();
    let log = bundle.directory.join("log");
    assert!(!log.exists());
    let pid = bundle.pid();
    bundle.call(&["start", &bundle.id]).ok();
    bundle.wait(pid);
    assert!(fs::read_to_string(&log).unwrap().starts_with("poststart"));
    bundle.call(&["delete", &bundle.id]).ok();
    assert!(fs::read_to_string(&log).unwrap().lines().last().unwrap().starts_with("poststop"));
}
