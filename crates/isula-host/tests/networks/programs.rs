//! Plugins that are programs: what they are given, what they say, and what becomes of those that
//! misbehave.

use std::{fs, time::Duration};

use isula_core::{
    error::ErrorKind,
    ports::{NetworkDns, Networks, PortMapping, Protocol},
};
use serde_json::{Value, json};

use crate::world::{BRIDGE, World, on_a_host};

/// A network of two programs.
const TWO: &str = r#"{"cniVersion": "1.1.0", "name": "net", "plugins": [
    {"type": "first", "capabilities": {"portMappings": true, "dns": true}},
    {"type": "second", "own": 7}]}"#;

/// Notes how it is called, knows all versions, and prints a result.
const RECORDER: &str = r#"
input=$(cat)
if [ "$CNI_COMMAND" = VERSION ]; then
    echo '{"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}'; exit
fi
printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$CNI_COMMAND" "${0##*/}" "$CNI_IFNAME" "$CNI_ARGS" "$CNI_NETNS" "$input" >> "${0%/*}/../calls"
if [ "$CNI_COMMAND" = ADD ]; then
    echo '{"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/n", "mtu": 9000}],
        "ips": [{"address": "10.0.0.9/8", "interface": 0}], "dns": {"nameservers": ["10.0.0.1"]}}'
fi
"#;

/// How plugins were called: command, plugin, and what they were given.
fn calls(world: &World) -> Vec<(String, String, Vec<String>, Value)> {
    let text = fs::read_to_string(world.root.join("calls")).unwrap_or_default();
    let call = |line: &str| {
        let fields: Vec<String> = line.splitn(6, '\t').map(str::to_owned).collect();
        let conf = serde_json::from_str(&fields[5]).unwrap();
        (fields[0].clone(), fields[1].clone(), fields[2..5].to_vec(), conf)
    };
    text.lines().map(call).collect()
}

fn order(world: &World) -> Vec<String> {
    calls(world).into_iter().map(|(command, plugin, ..)| format!("{command} {plugin}")).collect()
}

fn recorders(world: &World) {
    world.plugin("first", RECORDER);
    world.plugin("second", RECORDER);
}

#[test]
fn each_plugin_is_given_what_the_one_before_it_did() {
    on_a_host(TWO, |world| async move {
        recorders(&world);
        let pod = world.pod(1).await;
        let mut request = pod.request();
        request.args.push(("K8S_POD_NAME".to_owned(), "web".to_owned()));
        request.capabilities.port_mappings = vec![PortMapping {
            host_port: 80,
            container_port: 8080,
            protocol: Protocol::Tcp,
            host_ip: None,
        }];
        request.capabilities.dns =
            Some(NetworkDns { search: vec!["a".to_owned()], ..NetworkDns::default() });
        request.capabilities.mac = Some("0a:00:00:00:00:01".to_owned());
        let attached = world.networks.attach(&request).await.unwrap();
        assert_eq!(attached.dns.nameservers, ["10.0.0.1"]);
        world.networks.check(&request).await.unwrap();
        world.networks.status().await.unwrap();
        world.networks.detach(&pod.request()).await.unwrap();
        world.networks.collect(std::slice::from_ref(&pod.id)).await.unwrap();
        assert_eq!(
            order(&world),
            [
                "ADD first",
                "ADD second",
                "CHECK first",
                "CHECK second",
                "STATUS first",
                "STATUS second",
                "DEL second",
                "DEL first",
                "GC first",
                "GC second",
            ]
        );
        let calls = calls(&world);
        let (_, _, environment, first) = &calls[0];
        let path = pod.path.to_str().unwrap();
        assert_eq!(environment[..], ["eth0", "IgnoreUnknown=1;K8S_POD_NAME=web", path]);
        let runtime = &first["runtimeConfig"];
        assert_eq!(runtime["dns"]["searches"], json!(["a"]));
        assert_eq!(runtime["portMappings"][0]["hostPort"], 80);
        assert_eq!(runtime.get("mac"), None);
        assert_eq!(first.get("prevResult"), None);
        let second = &calls[1].3;
        assert_eq!((&second["name"], &second["own"]), (&json!("net"), &json!(7)));
        assert_eq!(second["prevResult"]["interfaces"][0]["mtu"], 9000);
        // DEL is given what ADD was, though it is asked for with less.
        let del = &calls[7];
        assert_eq!(del.2[1], "IgnoreUnknown=1;K8S_POD_NAME=web");
        assert_eq!(del.3["runtimeConfig"], first["runtimeConfig"]);
        assert!(del.3["prevResult"]["ips"].is_array());
        assert_eq!(calls[8].3["cni.dev/valid-attachments"], json!([]));
        world.networks.remove_namespace(&pod.id).await.unwrap();
        world.assert_nothing_left();
    });
}

#[test]
fn a_failed_plugin_is_quoted_and_those_before_it_are_undone() {
    on_a_host(TWO, |world| async move {
        recorders(&world);
        let broken = RECORDER.replace(
            "if [ \"$CNI_COMMAND\" = ADD ]; then",
            "if [ \"$CNI_COMMAND\" = ADD ]; then
             printf '%s' '{\"cniVersion\": \"1.0.0\", \"code\": 11, \"msg\": \"no room\\n\", \"details\": \"ask later\"}'; exit 1",
        );
        world.plugin("second", &broken);
        let pod = world.pod(1).await;
        let error = world.networks.attach(&pod.request()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "network plugin second failed (ADD): no room : ask later");
        assert_eq!(order(&world), ["ADD first", "ADD second", "DEL second", "DEL first"]);
        assert_eq!(world.kept().len(), 0);
    });
}

#[test]
fn a_detachment_goes_on_after_a_failure_and_can_be_repeated() {
    on_a_host(TWO, |world| async move {
        recorders(&world);
        let pod = world.pod(1).await;
        pod.attach(&world).await;
        let failing =
            RECORDER.replace("if [ \"$CNI_COMMAND\" = ADD ]", "echo busy >&2; exit 3\nif false");
        world.plugin("second", &failing);
        let error = world.networks.detach(&pod.request()).await.unwrap_err().to_string();
        assert_eq!(error, "network plugin second failed (DEL): exit status: 3: busy");
        assert_eq!(order(&world)[2..], ["DEL second", "DEL first"]);
        assert_eq!(world.kept().len(), 1);
        recorders(&world);
        world.networks.detach(&pod.request()).await.unwrap();
        assert_eq!(world.kept().len(), 0);
    });
}

#[test]
fn what_misbehaves_is_ended_with_all_that_it_started() {
    let one = r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "first"}]}"#;
    on_a_host(one, |world| async move {
        let quick = world.with(|settings| settings.timeout = Duration::from_millis(1500));
        let misbehaving = |body: &str| {
            let del = "if [ \"$CNI_COMMAND\" = DEL ]; then exit; fi";
            RECORDER.replace(
                "if [ \"$CNI_COMMAND\" = ADD ]; then",
                &format!("{del}\n{body}\nif false; then"),
            )
        };
        let marker = world.root.join("child");
        for (body, kind, words) in [
            (
                format!("sleep 987 & echo $! > {}; wait", marker.display()),
                ErrorKind::DeadlineExceeded,
                "network plugin first did not end in time (ADD)",
            ),
            ("yes".to_owned(), ErrorKind::Internal, "it printed more than 1048576 bytes"),
            ("echo nonsense".to_owned(), ErrorKind::InvalidInput, "it printed no JSON"),
            ("echo '{\"ips\": 7}'".to_owned(), ErrorKind::InvalidInput, "ips is no list"),
            ("exit 9".to_owned(), ErrorKind::Internal, "exit status: 9: it said nothing"),
            ("kill -9 $$".to_owned(), ErrorKind::Internal, "signal: 9"),
        ] {
            world.plugin("first", &misbehaving(&body));
            let pod = quick.pod(1).await;
            let error = quick.networks.attach(&pod.request()).await.unwrap_err();
            assert!(error.to_string().contains(words), "{body}: {error}");
            assert_eq!(error.kind(), kind, "{body}");
            assert_eq!(quick.kept().len(), 0, "{body}");
            quick.networks.remove_namespace(&pod.id).await.unwrap();
        }
        let child = fs::read_to_string(&marker).unwrap();
        let state = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        // It is gone, or dead and waits for whoever inherits it.
        assert!(state.is_err() || state.unwrap().contains(") Z "), "{child}");
    });
}

#[test]
fn a_plugin_that_holds_its_pipes_open_is_not_waited_for() {
    let one = r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "first"}]}"#;
    on_a_host(one, |world| async move {
        let marker = world.root.join("child");
        let leaving = RECORDER.replace(
            "if [ \"$CNI_COMMAND\" = ADD ]; then",
            &format!("if [ $CNI_COMMAND = ADD ]; then sleep 987 & echo $! > {}", marker.display()),
        );
        world.plugin("first", &leaving);
        let pod = world.pod(1).await;
        let attached = pod.attach(&world).await;
        assert_eq!(attached.addresses.len(), 1);
        pod.end(&world).await;
        let child = fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
        let child = rustix::process::Pid::from_raw(child).unwrap();
        rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    });
}

#[test]
fn a_plugin_of_another_age_is_refused_by_name() {
    on_a_host(TWO, |world| async move {
        recorders(&world);
        let old = RECORDER.replace(r#", "1.0.0", "1.1.0"]"#, "]");
        world.plugin("first", &old);
        let pod = world.pod(1).await;
        let error = world.networks.attach(&pod.request()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let words = "network plugin first does not know CNI version 1.1.0, only 0.3.1, 0.4.0";
        assert!(error.to_string().starts_with(words), "{error}");
        // Replaced, it is asked again.
        fs::remove_file(world.root.join("bin/first")).unwrap();
        recorders(&world);
        world.networks.detach(&pod.request()).await.unwrap();
        pod.attach(&world).await;
    });
}

#[test]
fn the_status_says_what_is_missing() {
    on_a_host(TWO, |world| async move {
        let error = world.networks.status().await.unwrap_err().to_string();
        assert!(error.starts_with("network plugin first is not in /"), "{error}");
        recorders(&world);
        world.networks.status().await.unwrap();
        let unwell = RECORDER.replace(
            "if [ \"$CNI_COMMAND\" = ADD ]; then",
            "if [ $CNI_COMMAND = STATUS ]; then
             echo '{\"code\": 50, \"msg\": \"not yet\"}'; exit 1; fi\nif false; then",
        );
        world.plugin("second", &unwell);
        let error = world.networks.status().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "network plugin second failed (STATUS): not yet");
        fs::remove_file(world.root.join("net.d/10-test.conflist")).unwrap();
        let error = world.networks.status().await.unwrap_err().to_string();
        assert!(error.starts_with("no network is configured in"), "{error}");
        assert!(world.networks.list().is_empty());
    });
}

#[test]
fn an_option_that_the_built_in_plugin_lacks_is_left_to_the_program() {
    let conflist = BRIDGE.replace("\"ipMasq\": true", "\"macspoofchk\": true");
    on_a_host(&conflist, |world| async move {
        let pod = world.pod(1).await;
        let error = world.networks.attach(&pod.request()).await.unwrap_err().to_string();
        assert!(error.contains("the built-in one says: macspoofchk is not supported"), "{error}");
        world.plugin("bridge", RECORDER);
        pod.attach(&world).await;
        assert_eq!(order(&world), ["ADD bridge"]);
        pod.end(&world).await;
        let off = world.with(|settings| settings.native = false);
        world.configure("10-test.conflist", BRIDGE);
        off.plugin("portmap", RECORDER);
        let pod = off.pod(2).await;
        pod.attach(&off).await;
        // By the plugins that attached it.
        pod.end(&world).await;
        assert_eq!(
            order(&world),
            ["ADD bridge", "DEL bridge", "ADD bridge", "ADD portmap", "DEL portmap", "DEL bridge"]
        );
        world.assert_nothing_left();
    });
}
