//! create, start, state, kill, delete, run, exec and their kin.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;

#[test]
fn a_created_container_runs_its_program_only_when_it_is_started() {
    let bundle = Bundle::new("echo started; echo done > /tmp/done");
    bundle.create().ok();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], bundle.text());
    assert_eq!(state["id"], bundle.id);
    assert_eq!(state["ociVersion"], "1.2.0");
    assert!(!bundle.rootfs("/tmp/done").exists());
    let pid = bundle.pid();
    bundle.call(&["start", &bundle.id]).ok();
    bundle.wait(pid);
    assert_eq!(bundle.state()["status"], "stopped");
    assert_eq!(bundle.state()["pid"], 0);
    assert_eq!(bundle.printed(), "started\n");
    let again = bundle.call(&["start", &bundle.id]).failed();
    assert!(again.contains("it is stopped"), "{again}");
    bundle.call(&["delete", &bundle.id]).ok();
    let gone = bundle.call(&["state", &bundle.id]).failed();
    assert!(gone.contains("does not exist"), "{gone}");
}

#[test]
fn a_running_container_is_signalled_and_deleted_when_it_has_stopped() {
    let bundle =
        Bundle::new("trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.01; done");
    bundle.run_detached().ok();
    let pid = bundle.pid();
    assert_eq!(bundle.state()["status"], "running");
    let refused = bundle.call(&["delete", &bundle.id]).failed();
    assert!(refused.contains("it is running"), "{refused}");
    let twice = bundle.call(&["run", "--bundle", bundle.text(), &bundle.id]).failed();
    assert!(twice.contains("exists already"), "{twice}");
    while !bundle.printed().contains("ready") {
        std::thread::yield_now();
    }
    bundle.call(&["kill", &bundle.id, "USR1"]).ok();
    bundle.wait(pid);
    assert!(bundle.printed().ends_with("caught\n"));
    let late = bundle.call(&["kill", &bundle.id, "KILL"]).failed();
    assert!(late.contains("container not running"), "{late}");
    bundle.call(&["delete", &bundle.id]).ok();
    assert!(bundle.cgroups().is_empty());
}

#[test]
fn a_forced_delete_ends_everything_and_is_content_with_nothing() {
    let mut bundle = Bundle::new("sleep 1000 & sleep 1000");
    // Without a pid namespace nothing but the control group holds the processes together.
    bundle.without_namespace("pid");
    bundle.run_detached().ok();
    let pids: Vec<i32> =
        serde_json::from_str(&bundle.call(&["ps", "--format", "json", &bundle.id]).ok()).unwrap();
    bundle.call(&["delete", "--force", &bundle.id]).ok();
    for pid in pids {
        bundle.wait(pid);
    }
    bundle.call(&["delete", "--force", &bundle.id]).ok();
    bundle.call(&["delete", &bundle.id]).failed();
}

#[test]
fn the_exit_status_is_the_programs() {
    for (script, status) in [("exit 0", 0), ("exit 37", 37), ("kill -9 $$; kill -15 $$; exit 1", 1)]
    {
        let bundle = Bundle::new(script);
        assert_eq!(bundle.run().status, status, "{script}");
        assert!(!bundle.directory.join("state").join(&bundle.id).exists());
    }
    let bundle = Bundle::new("sleep 1000");
    let mut child = bundle.lcr(&["run", "--bundle", bundle.text(), &bundle.id]).spawn().unwrap();
    while bundle.call(&["state", &bundle.id]).status != 0 {
        std::thread::yield_now();
    }
    bundle.call(&["kill", &bundle.id, "KILL"]).ok();
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn what_cannot_run_has_the_status_and_the_message_of_a_shell() {
    for (program, status, text) in [
        ("no-such-program", 127, "cannot run no-such-program: no such file or directory"),
        ("/no/such/program", 127, "no such file or directory"),
        ("/etc/passwd", 126, "cannot run /etc/passwd: permission denied"),
        ("/etc", 126, "is a directory"),
        ("/bin/garbage", 126, "exec format error"),
    ] {
        let mut bundle = Bundle::new("");
        bundle.add_program("/bin/garbage", "\0\0\0garbage");
        bundle.set("/process/args", json!([program]));
        let ran = bundle.run();
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.stderr.contains(text), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(bundle.cgroups().is_empty(), "nothing is left");
        assert!(!bundle.directory.join("state").join(&bundle.id).exists(), "nothing is left");
    }
}

#[test]
fn exec_runs_in_the_namespaces_the_root_and_the_group_of_the_container() {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.set("/hostname", json!("inside"));
    bundle.run_detached().ok();
    let pid = bundle.pid();
    let script = "hostname; for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; \
                  cat /proc/self/cgroup; grep -E 'Cap(Inh|Amb|Eff)|NoNew' /proc/self/status";
    let printed = bundle.exec(&[], &["sh", "-c", script]).ok();
    assert!(printed.starts_with("inside\n"), "{printed}");
    for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert!(printed.contains(link.to_str().unwrap()), "{kind}: {printed}");
    }
    let groups: Vec<&str> = printed.lines().filter(|line| line.contains(":/")).collect();
    assert!(!groups.is_empty() && groups.iter().all(|line| line.ends_with(":/")), "{printed}");
    assert!(printed.contains("CapInh:\t0000000000000000"), "{printed}");
    assert!(printed.contains("CapEff:\t0000000020000420"), "{printed}");
    assert!(printed.contains("NoNewPrivs:\t1"), "{printed}");
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(fs::read_link("/proc/self/ns/pid_for_children").unwrap(), own);
}

#[test]
fn exec_takes_user_environment_directory_and_capabilities() {
    let bundle = Bundle::new("sleep 1000");
    bundle.run_detached().ok();
    let script = "id -u; id -g; id -G; pwd; echo $A; grep CapBnd /proc/self/status";
    let flags = ["--user", "7:8", "-g", "9", "--env", "A=b", "--cwd", "/tmp", "--cap", "CAP_CHOWN"];
    let printed = bundle.exec(&flags, &["sh", "-c", script]).ok();
    assert_eq!(printed, "7\n8\n8 9\n/tmp\nb\nCapBnd:\t0000000020000421\n");
    assert_eq!(bundle.exec(&[], &["sh", "-c", "exit 5"]).status, 5);
    assert_eq!(bundle.exec(&[], &["missing"]).status, 127);
    assert_eq!(bundle.exec(&[], &["/etc/passwd"]).status, 126);
    let process = bundle.directory.join("process.json");
    let text = json!({"args": ["echo", "from a file"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    fs::write(&process, text.to_string()).unwrap();
    let ran = bundle.call(&["exec", "--process", process.to_str().unwrap(), &bundle.id]);
    assert_eq!(ran.ok(), "from a file\n");
}

#[test]
fn exec_can_be_left_alone_and_writes_its_pid() {
    let bundle = Bundle::new("sleep 1000");
    bundle.run_detached().ok();
    let file = bundle.directory.join("exec.pid");
    let flags = ["--pid-file", file.to_str().unwrap()];
    bundle.exec_detached(&flags, &["sleep", "1000"]).ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(command, "sleep\x001000\0");
    let listed = bundle.call(&["ps", &bundle.id]).ok();
    assert!(listed.contains(&pid.to_string()) && listed.contains("sleep 1000"), "{listed}");
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let bundle = Bundle::new("sleep 1000");
    bundle.run_detached().ok();
    bundle.call(&["pause", &bundle.id]).ok();
    assert_eq!(bundle.state()["status"], "paused");
    let refused = bundle.exec(&[], &["true"]).failed();
    assert!(refused.contains("it is paused"), "{refused}");
    bundle.call(&["pause", &bundle.id]).failed();
    bundle.call(&["resume", &bundle.id]).ok();
    assert_eq!(bundle.state()["status"], "running");
    bundle.call(&["resume", &bundle.id]).failed();
    bundle.exec(&[], &["true"]).ok();
    // A forced delete ends a frozen container too.
    bundle.call(&["pause", &bundle.id]).ok();
    bundle.call(&["delete", "--force", &bundle.id]).ok();
}

#[test]
fn limits_can_be_changed_while_it_runs() {
    let bundle = Bundle::new("sleep 1000");
    bundle.run_detached().ok();
    bundle.call(&["update", "--memory", "96m", "--pids-limit", "44", &bundle.id]).ok();
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max \
                  || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";
    assert_eq!(bundle.exec(&[], &["sh", "-c", script]).stdout, "100663296\n44\n");
    let resources = bundle.directory.join("resources.json");
    fs::write(&resources, r#"{"pids": {"limit": 55}}"#).unwrap();
    bundle.call(&["update", "--resources", resources.to_str().unwrap(), &bundle.id]).ok();
    assert!(bundle.exec(&[], &["sh", "-c", script]).stdout.ends_with("55\n"));
}

#[test]
fn containers_are_listed_for_people_and_programs() {
    let bundle = Bundle::new("sleep 1000");
    assert_eq!(bundle.call(&["list", "--quiet"]).ok(), "");
    bundle.run_detached().ok();
    assert_eq!(bundle.call(&["list", "--quiet"]).ok(), format!("{}\n", bundle.id));
    let table = bundle.call(&["list"]).ok();
    assert!(table.starts_with("ID ") && table.contains("running"), "{table}");
    let list: Value = serde_json::from_str(&bundle.call(&["list", "-f", "json"]).ok()).unwrap();
    assert_eq!(list[0]["status"], "running");
}

#[test]
fn the_pid_file_and_the_log_are_written() {
    let mut bundle = Bundle::new("sleep 1000");
    let (pid, log) = (bundle.directory.join("pid"), bundle.directory.join("log"));
    let (pid_text, log_text) = (pid.to_str().unwrap(), log.to_str().unwrap());
    let args = ["run", "-d", "--pid-file", pid_text, "-b", bundle.text(), &bundle.id];
    let mut command = bundle.lcr(&args);
    let null = || std::process::Stdio::null();
    assert!(command.stdout(null()).stderr(null()).status().unwrap().success());
    assert_eq!(fs::read_to_string(&pid).unwrap(), bundle.pid().to_string());
    bundle.call(&["delete", "-f", &bundle.id]).ok();

    bundle.set("/process/args", json!(["missing"]));
    let args = ["--log", log_text, "--log-format", "json", "run", "-b", bundle.text(), &bundle.id];
    bundle.call(&args).failed();
    let entry: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().unwrap().contains("cannot run missing"), "{entry}");
}

#[test]
fn descriptors_are_inherited_only_when_asked_for() {
    use std::os::unix::process::CommandExt;
    let bundle = Bundle::new("ls /proc/self/fd | tr '\\n' ' '; cat <&3");
    fs::write(bundle.directory.join("given"), "given").unwrap();
    let given = fs::File::open(bundle.directory.join("given")).unwrap();
    // A shell puts the file where the flag expects it.
    let mut command = std::process::Command::new("/bin/sh");
    let state = bundle.directory.join("state");
    bundle.lcr(&[]);
    command.arg0("sh").args(["-c", "exec \"$0\" \"$@\" 3<&0 0</dev/null"]);
    command.arg(env!("CARGO_BIN_EXE_lcr")).arg("--root").arg(state);
    command.args(["run", "--preserve-fds", "1", "-b", bundle.text(), &bundle.id]);
    let output = command.stdin(given).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("0 1 2 3 ") && text.ends_with("given"), "{text}");
}

#[test]
fn features_are_valid_and_name_the_commands_abilities() {
    let bundle = Bundle::new("");
    let features: Value = serde_json::from_str(&bundle.call(&["features"]).ok()).unwrap();
    let _: oci_spec::runtime::Features = serde_json::from_value(features.clone()).unwrap();
    assert_eq!(features["linux"]["cgroup"]["systemd"], false);
    let systemd = bundle.call(&["--systemd-cgroup", "list"]).failed();
    assert!(systemd.contains("--systemd-cgroup is not supported"), "{systemd}");
}
