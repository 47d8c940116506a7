//! Devices of the Container Device Interface, over CRI and the client's `--device`.

use std::fs;

use anyhow::{Result, ensure};
use isula_api::runtime::v1;
use isula_tests::{Node, cri::script};
use tonic::Code;

/// What a container shows of the devices that it has.
const FACTS: &str = "echo $FROM-$SHARED; ls -ln /dev/card /dev/renamed | tr -s ' '; cat /lib/vendor/file; \
     id -G; head -c 3 /dev/renamed | wc -c; touch /lib/vendor/file 2>&1 | grep -o Read-only";

fn with(names: &[&str]) -> v1::ContainerConfig {
    let mut config = script("web", "sleep 1000");
    let device = |name: &&str| v1::CdiDevice { name: (*name).to_owned() };
    config.cdi_devices = names.iter().map(device).collect();
    config
}

#[test]
fn devices_of_cdi_are_given_and_unknown_ones_named() -> Result<()> {
    let directory = tempfile::Builder::new().prefix("isula-cdi.").tempdir()?;
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("etc"))?;
    fs::create_dir_all(at("run"))?;
    fs::write(at("file"), "of the vendor\n")?;
    let hooked = at("hooked").display().to_string();
    fs::write(
        at("etc/vendor.json"),
        format!(
            r#"{{"cdiVersion": "0.7.0", "kind": "vendor.com/card",
                "containerEdits": {{"env": ["SHARED=yes"]}},
                "devices": [{{"name": "one", "containerEdits": {{
                    "env": ["FROM=json"],
                    "deviceNodes": [
                        {{"path": "/dev/card", "type": "c", "major": 1, "minor": 7, "fileMode": 432, "uid": 5, "gid": 6}},
                        {{"path": "/dev/renamed", "hostPath": "/dev/zero", "permissions": "r"}}],
                    "mounts": [{{"hostPath": "{}", "containerPath": "/lib/vendor/file", "options": ["ro", "nosuid", "bind"]}}],
                    "hooks": [{{"hookName": "createRuntime", "path": "/bin/touch", "args": ["touch", "{hooked}"]}}],
                    "additionalGids": [4242]}}}}]}}"#,
            at("file").display()
        ),
    )?;
    let yaml = fs::read_to_string(at("etc/vendor.json"))?;
    // JSON is YAML; and one as people write it.
    fs::write(at("run/vendor.yaml"), yaml.replace("vendor.com/card", "vendor.com/yaml"))?;
    fs::write(at("run/broken.yaml"), "kind: [")?;
    fs::write(
        at("run/small.yaml"),
        "cdiVersion: 0.6.0\nkind: vendor.com/small\ndevices:\n- name: one\n  containerEdits:\n    env:\n    - FROM=small\n\
         - name: rdt\n  containerEdits:\n    intelRdt:\n      closID: x\n",
    )?;
    let node = Node::with(&format!(
        r#"{{"cdi-spec-dirs": ["{}", "{}"]}}"#,
        at("etc").display(),
        at("run").display()
    ))?;
    let pod = node.run_pod(node.pod("a"))?;
    for name in ["vendor.com/card=one", "vendor.com/yaml=one"] {
        let id = node.run(&pod, with(&[name, "vendor.com/small=one"]))?;
        // What comes last counts.
        let facts = node.shell(&id, FACTS)?;
        let lines: Vec<_> = facts.lines().collect();
        ensure!(lines[0] == "small-yes", "{facts}");
        ensure!(lines[1].starts_with("crw-rw---- 1 5 6 1, 7 "), "{facts}");
        ensure!(lines[2].contains(" 1, 5 ") && lines[2].ends_with("/dev/renamed"), "{facts}");
        ensure!(lines[3] == "of the vendor", "{facts}");
        ensure!(lines[4].split(' ').any(|group| group == "4242"), "{facts}");
        ensure!(lines[5] == "3" && lines[6] == "Read-only", "{facts}");
        ensure!(fs::remove_file(&hooked).is_ok(), "the hook did not run");
        node.remove(&id)?;
    }
    for (name, code, words) in [
        ("vendor.com/card=two", Code::InvalidArgument, "unknown CDI device vendor.com/card=two"),
        ("vendor.com/nope=one", Code::InvalidArgument, "broken.yaml can't be used"),
        ("vendor.com/small=rdt", Code::Unimplemented, "intelRdt is not supported"),
        ("/dev/null", Code::InvalidArgument, "CDI device"),
    ] {
        let error = node.create(&pod, with(&[name])).unwrap_err();
        ensure!(error.code() == code && error.message().contains(words), "{name}: {error:?}");
    }
    // One that is gone by the start is named then.
    let id = node.create(&pod, with(&["vendor.com/small=one"]))?;
    fs::remove_file(at("run/small.yaml"))?;
    let error = node.start(&id).unwrap_err();
    ensure!(error.message().contains("vendor.com/small=one"), "{error:?}");
    node.remove(&id)?;
    // The client's flag names them as well.
    let run = [
        "run",
        "--rm",
        "--device",
        "vendor.com/card=one",
        "busybox",
        "sh",
        "-c",
        "echo $FROM; ls /dev/card",
    ];
    ensure!(node.world.ok(&run)? == "json\n/dev/card");
    ensure!(fs::remove_file(&hooked).is_ok());
    node.world.refused(
        &["run", "--rm", "--device", "vendor.com/card=two", "busybox", "true"],
        125,
        "unknown CDI device vendor.com/card=two",
    )?;
    node.finish()
}

#[test]
fn devices_of_cdi_can_be_switched_off() -> Result<()> {
    let node = Node::with(r#"{"enable-cdi": false}"#)?;
    let pod = node.run_pod(node.pod("a"))?;
    let error = node.create(&pod, with(&["vendor.com/card=one"])).unwrap_err();
    ensure!(error.code() == Code::Unimplemented, "{error:?}");
    ensure!(error.message().contains("enable-cdi"), "{error:?}");
    node.finish()
}
