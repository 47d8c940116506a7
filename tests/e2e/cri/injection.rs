//! Values that want to be more than values: kernel parameters, annotations, names.

use std::{collections::HashMap, fs};

use anyhow::{Result, ensure};
use isula_api::runtime::v1;
use isula_tests::{Node, cri::script};
use tonic::Code;

const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

#[test]
fn no_kernel_parameter_of_the_host_can_be_reached() -> Result<()> {
    let node = Node::new()?;
    let before = fs::read_to_string(CORE_PATTERN)?;
    for (key, value) in [
        ("kernel.core_pattern", "|/bin/evil"),
        ("kernel/core_pattern", "|/bin/evil"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/evil"),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern = |/bin/evil"),
        ("kernel.shm_rmid_forced", "1\0"),
        ("kernel.shm_rmid_forced=1\nkernel.core_pattern", "|/bin/evil"),
        ("fs.mqueue/../../kernel/core_pattern", "|/bin/evil"),
        ("fs.mqueue./../../kernel/core_pattern", "|/bin/evil"),
        ("fs.mqueue...kernel.core_pattern", "|/bin/evil"),
        ("net/../kernel/core_pattern", "|/bin/evil"),
        ("net.../kernel/core_pattern", "|/bin/evil"),
        ("/proc/sys/kernel/core_pattern", "|/bin/evil"),
        ("net.ipv4.ip_forward", "1"),
        ("net.core.somaxconn\0", "1"),
        ("kernel.panic", "1"),
        ("kernel.domainname", "evil"),
        ("vm.overcommit_memory", "1"),
        ("fs.file-max", "1"),
        ("user.max_user_namespaces", "0"),
        ("fs.mqueue.", "1"),
        ("", "1"),
        (".", "1"),
        ("..", "1"),
    ] {
        let mut pod = node.pod("evil");
        let linux = pod.linux.get_or_insert_default();
        linux.sysctls = HashMap::from([(key.to_owned(), value.to_owned())]);
        let error = node.run_pod(pod).unwrap_err();
        ensure!(error.code() == Code::InvalidArgument, "{key:?}={value:?}: {error:?}");
        ensure!(error.message().contains("sysctl"), "{key:?}={value:?}: {error:?}");
    }
    ensure!(node.pods()?.is_empty(), "a refused pod is there");
    ensure!(fs::read_to_string(CORE_PATTERN)? == before, "the host was changed");
    // The right ones do reach the pod, and the pod alone.
    let mut pod = node.pod("good");
    let wanted = HashMap::from([("kernel.msgmax".to_owned(), "12345".to_owned())]);
    pod.linux.get_or_insert_default().sysctls = wanted;
    let pod = node.run_pod(pod)?;
    let id = node.run(&pod, script("web", "sleep 1000"))?;
    ensure!(node.shell(&id, "cat /proc/sys/kernel/msgmax")? == "12345");
    ensure!(fs::read_to_string("/proc/sys/kernel/msgmax")?.trim() != "12345");
    node.finish()
}

/// Annotations that some engine obeys, or obeyed.
fn tempting(node: &Node) -> HashMap<String, String> {
    let marker = node.world.path("marker").display().to_string();
    let hooks =
        format!(r#"{{"prestart": [{{"path": "/bin/touch", "args": ["touch", "{marker}"]}}]}}"#);
    [
        ("native.umask", "secure"),
        ("isulad.rootfs.mount", "/"),
        ("rootfs.mount", "/"),
        ("cgroup.dir", "/evil"),
        ("files.limit", "1"),
        ("system.env", "evil"),
        ("io.kubernetes.cri.sandbox-id", "evil"),
        ("io.kubernetes.cri.container-type", "sandbox"),
        ("io.kubernetes.cri-o.userns-mode", "auto"),
        ("io.kubernetes.cri-o.Devices", "/dev/mem:/dev/mem:rwm"),
        ("io.kubernetes.cri-o.UnifiedCgroup.web", "pids.max=1"),
        ("cdi.k8s.io/evil", "vendor.com/device=all"),
        ("run.oci.hooks.stderr", &marker),
        ("run.oci.systemd.subgroup", "evil"),
        ("org.systemd.property.ExecStartPre", "'touch /evil'"),
        ("org.opencontainers.image.stopSignal", "SIGKILL"),
        ("io.katacontainers.config.hypervisor.path", "/bin/evil"),
        ("seccomp.security.alpha.kubernetes.io/pod", "unconfined"),
        ("container.apparmor.security.beta.kubernetes.io/web", "unconfined"),
        ("hooks", &hooks),
        ("oci.hooks", &hooks),
        ("lines", "one\ntwo\r\nthree\n"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[test]
fn annotations_are_shown_and_obeyed_by_nobody() -> Result<()> {
    let node = Node::new()?;
    let annotations = tempting(&node);
    let facts = "umask; id; cat /proc/self/cgroup; ulimit -n; ls /dev; env | sort; \
                 grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status";
    let mut seen = Vec::new();
    for annotations in [HashMap::new(), annotations.clone()] {
        let mut pod = node.pod("a");
        pod.annotations = annotations.clone();
        let pod = node.run_pod(pod)?;
        let mut config = script("web", "sleep 1000");
        config.annotations = annotations.clone();
        let id = node.run(&pod, config)?;
        let spec = fs::read_to_string(node.world.bundle("lcr", &id).join("config.json"))?;
        let spec: serde_json::Value = serde_json::from_str(&spec)?;
        let hooks = spec["hooks"].as_object().is_none_or(serde_json::Map::is_empty);
        ensure!(spec["annotations"].is_null() && hooks, "{spec}");
        let text = spec.to_string();
        // An empty `hooks` is the runtime-spec's own.
        let mut keys = annotations.keys().filter(|key| *key != "hooks");
        let found = keys.find(|key| text.contains(&format!("\"{key}\"")));
        ensure!(found.is_none(), "{found:?}: {text}");
        // What differs from container to container is only its id.
        seen.push(node.shell(&id, facts)?.replace(&id, "ID").replace(&pod, "POD"));
        let status = v1::ContainerStatusRequest { container_id: id.clone(), verbose: false };
        let status = node.ask(|mut cri| async move { cri.container_status(status).await })?;
        ensure!(status.status.unwrap_or_default().annotations == annotations);
        ensure!(node.pods()?[0].annotations == annotations);
        node.remove_pod(&pod)?;
    }
    ensure!(seen[0] == seen[1], "{}\n---\n{}", seen[0], seen[1]);
    ensure!(!node.world.path("marker").exists(), "a hook was run");
    node.finish()
}

#[test]
fn annotations_and_labels_that_are_no_texts_are_refused() -> Result<()> {
    let node = Node::new()?;
    let huge = "x".repeat(2 << 20);
    let many: HashMap<String, String> =
        (0..20_000).map(|number| (format!("key-{number}"), "x".repeat(40))).collect();
    let one = |key: &str, value: &str| HashMap::from([(key.to_owned(), value.to_owned())]);
    let cases = [
        one("key", "a\0b"),
        one("a\0b", "value"),
        one("a\nb", "value"),
        one("a\u{1b}[2Jb", "value"),
        one("", "value"),
        one(&"k".repeat(2000), "value"),
        one("key", &huge),
        many,
    ];
    let pod = node.run_pod(node.pod("good"))?;
    let web = node.run(&pod, script("web", "sleep 1000"))?;
    for wrong in cases {
        let told: String = format!("{wrong:?}").chars().take(60).collect();
        for field in ["annotation", "label"] {
            let (mut pod_config, mut config) = (node.pod("evil"), script("evil", "true"));
            match field {
                "annotation" => {
                    pod_config.annotations = wrong.clone();
                    config.annotations = wrong.clone();
                }
                _ => {
                    pod_config.labels = wrong.clone();
                    config.labels = wrong.clone();
                }
            }
            for error in
                [node.run_pod(pod_config).unwrap_err(), node.create(&pod, config).unwrap_err()]
            {
                ensure!(error.code() == Code::InvalidArgument, "{told}: {error:?}");
                ensure!(error.message().contains(field), "{told}: {error:?}");
                // What is refused for its length is not repeated.
                ensure!(error.message().len() < 4096, "{told}");
            }
        }
        let update = v1::UpdateContainerResourcesRequest {
            container_id: web.clone(),
            annotations: wrong,
            ..Default::default()
        };
        let error = node
            .ask(|mut cri| async move { cri.update_container_resources(update).await })
            .unwrap_err();
        ensure!(error.code() == Code::InvalidArgument, "{told}: {error:?}");
    }
    // Little by little is no way either.
    let refused = (0..40).find_map(|number| {
        let update = v1::UpdateContainerResourcesRequest {
            container_id: web.clone(),
            annotations: one(&format!("key-{number}"), &"x".repeat(32 << 10)),
            ..Default::default()
        };
        node.ask(|mut cri| async move { cri.update_container_resources(update).await }).err()
    });
    ensure!(refused.is_some_and(|error| error.code() == Code::InvalidArgument), "it grows");
    ensure!(node.pods()?.len() == 1, "a refused pod is there");
    node.finish()
}

#[test]
fn names_and_variables_stay_what_they_are() -> Result<()> {
    let node = Node::new()?;
    let pod = node.run_pod(node.pod("good"))?;
    type Change = fn(&mut v1::ContainerConfig);
    let cases: [(&str, Change); 6] = [
        ("command", |c| c.command = vec!["true\0x".to_owned()]),
        ("workdir", |c| c.working_dir = "relative".to_owned()),
        ("workdir", |c| c.working_dir = "/a\nb".to_owned()),
        ("envs", |c| c.envs = vec![key_value("A=B", "c")]),
        ("env", |c| c.envs = vec![key_value("A", "b\0c")]),
        ("container_path", |c| {
            c.mounts = vec![v1::Mount {
                container_path: "/a\nb".to_owned(),
                host_path: "/tmp".to_owned(),
                ..Default::default()
            }];
        }),
    ];
    for (word, change) in cases {
        let mut config = script("evil", "true");
        change(&mut config);
        let error = node.create(&pod, config).unwrap_err();
        ensure!(error.code() == Code::InvalidArgument, "{word}: {error:?}");
        ensure!(error.message().contains(word), "{word}: {error:?}");
    }
    let mut strange = node.pod("strange");
    strange.metadata.get_or_insert_default().namespace = "a\0b".to_owned();
    ensure!(node.run_pod(strange).unwrap_err().code() == Code::InvalidArgument);
    // What looks like a path, or like arguments of a plugin, names a pod and nothing else.
    let mut strange = node.pod("strange");
    strange.metadata.get_or_insert_default().name = "../../x;IP=10.0.0.1".to_owned();
    strange.hostname = "strange".to_owned();
    let strange = node.run_pod(strange)?;
    let mut config = script("../../etc", "sleep 1000");
    config.log_path.clear();
    let id = node.run(&strange, config)?;
    ensure!(node.shell(&id, "echo here")? == "here");
    node.finish()
}

fn key_value(key: &str, value: &str) -> v1::KeyValue {
    v1::KeyValue { key: key.to_owned(), value: value.to_owned().into() }
}
