//! Containers in a user namespace of their own, and in one that they join.

use std::fs;

use serde_json::json;

use crate::bundle::Bundle;

fn mapped(script: &str) -> Bundle {
    let mut bundle = Bundle::new(script);
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.set("/linux/uidMappings", mapping.clone()).set("/linux/gidMappings", mapping);
    bundle.set("/linux/namespaces/-", json!({"type": "user"}));
    // What the image holds is the mapped root's, as an engine would unpack it.
    let chown = std::process::Command::new("chown")
        .args(["-R", "-h", "100000:100000"])
        .arg(bundle.rootfs("/"))
        .status();
    assert!(chown.unwrap().success());
    bundle
}

#[test]
fn root_inside_is_nobody_outside() {
    let mut bundle = mapped(
        "id -u; cat /proc/self/uid_map; stat -c '%u %t,%T' /dev/null; echo x > /dev/null; \
         echo y > /tmp/made; cat /proc/self/oom_score_adj; hostname; touch /run/x; stat -c %u /run/x",
    );
    bundle.set("/process/oomScoreAdj", json!(300));
    bundle.mount("/run", "tmpfs", "tmpfs", &["mode=755"]);
    let printed = bundle.run().ok();
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(
        words,
        ["0", "0", "100000", "65536", "65534", "1,3", "300", "lcr", "0"],
        "{printed}"
    );
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(bundle.rootfs("/tmp/made")).unwrap().uid(), 100_000);
}

#[test]
fn exec_enters_the_user_namespace_too() {
    let bundle = mapped("sleep 1000");
    bundle.run_detached().ok();
    let printed = bundle
        .exec(&["--cwd", "/tmp/new"], &["sh", "-c", "id -u; cat /proc/self/uid_map; pwd"])
        .ok();
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536", "/tmp/new"]);
}

#[test]
fn a_user_namespace_is_joined_before_the_others_are_made() {
    let first = mapped("sleep 1000");
    first.run_detached().ok();
    let pid = first.pid();
    let mut second =
        mapped("echo $$; id -u; readlink /proc/self/ns/user; readlink /proc/self/ns/net; hostname");
    second.set("/linux/uidMappings", json!([])).set("/linux/gidMappings", json!([]));
    for (kind, file) in [("user", "user"), ("network", "net")] {
        let list = second.config["linux"]["namespaces"].as_array_mut().unwrap();
        let one = list.iter_mut().find(|one| one["type"] == kind).unwrap();
        one["path"] = json!(format!("/proc/{pid}/ns/{file}"));
    }
    let printed = second.run().ok();
    let link = |file: &str| fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
    let (user, network) = (link("user"), link("net"));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines, ["1", "0", user.to_str().unwrap(), network.to_str().unwrap(), "lcr"]);
}

#[test]
fn a_network_of_the_host_is_joined_before_the_user_namespace_is_made() {
    let first = Bundle::new("sleep 1000");
    first.run_detached().ok();
    let pid = first.pid();
    let mut second = mapped("echo $$; id -u; readlink /proc/self/ns/net");
    let list = second.config["linux"]["namespaces"].as_array_mut().unwrap();
    let one = list.iter_mut().find(|one| one["type"] == "network").unwrap();
    one["path"] = json!(format!("/proc/{pid}/ns/net"));
    // sysfs shows the network namespace, which is not this user namespace's.
    second.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
    let network = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(second.run().ok(), format!("1\n0\n{}\n", network.display()));
}
