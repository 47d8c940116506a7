//! Whom processes run as, and what they may do.

use anyhow::{Result, ensure};
use isula_api::runtime::v1;
use isula_tests::{Node, cri::script};
use tonic::Code;

/// Bits of capabilities(7).
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;

fn user(name: &str, uid: i64, capabilities: v1::Capability) -> v1::ContainerConfig {
    // Every user may write to the pod's shared memory.
    let text = format!("grep ^Cap /proc/self/status >/dev/shm/{name}; sleep 1000");
    let mut config = script(name, &text);
    config.linux = Some(v1::LinuxContainerConfig {
        security_context: Some(v1::LinuxContainerSecurityContext {
            run_as_user: Some(v1::Int64Value { value: uid }),
            capabilities: Some(capabilities),
            ..Default::default()
        }),
        ..Default::default()
    });
    config
}

/// The sets of a `/proc/PID/status` by name.
fn sets(text: &str) -> Result<Vec<(String, u64)>> {
    let sets = text.lines().filter_map(|line| line.split_once(":\t"));
    sets.map(|(name, bits)| Ok((name.to_owned(), u64::from_str_radix(bits, 16)?))).collect()
}

#[test]
fn ambient_capabilities_are_had_by_a_user_who_is_not_root() -> Result<()> {
    let node = Node::new()?;
    let pod = node.run_pod(node.pod("a"))?;
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let capabilities = v1::Capability {
        add_ambient_capabilities: names(&["NET_BIND_SERVICE", "CAP_NET_RAW"]),
        drop_capabilities: names(&["ALL"]),
        ..Default::default()
    };
    let id = node.run(&pod, user("ambient", 1000, capabilities.clone()))?;
    let wanted = NET_BIND_SERVICE | NET_RAW;
    // The init process, and one that was added to it.
    for script in [
        "until grep -q CapAmb /dev/shm/ambient; do :; done; cat /dev/shm/ambient",
        "grep ^Cap /proc/self/status",
    ] {
        let sets = sets(&node.shell(&id, script)?)?;
        ensure!(sets.len() == 5, "{sets:?}");
        for (name, bits) in sets {
            ensure!(bits == wanted, "{script}: {name} is {bits:x}");
        }
    }
    ensure!(node.shell(&id, "id -u")? == "1000");
    // With no_new_privs as well, as Kubernetes' restricted pods have it.
    let mut config = user("nnp", 1000, capabilities);
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().no_new_privs = true;
    let id = node.run(&pod, config)?;
    let seen = sets(&node.shell(&id, "grep ^CapEff /proc/self/status")?)?;
    ensure!(seen == [("CapEff".to_owned(), wanted)], "{seen:?}");
    // Who asks for none has none, and what is not there is refused.
    let id = node.run(&pod, user("none", 1000, v1::Capability::default()))?;
    for (name, bits) in
        sets(&node.shell(&id, "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status")?)?
    {
        ensure!(bits == 0, "{name} is {bits:x}");
    }
    let wrong =
        v1::Capability { add_ambient_capabilities: names(&["NO_SUCH"]), ..Default::default() };
    let error = node.create(&pod, user("wrong", 1000, wrong)).unwrap_err();
    ensure!(error.code() == Code::InvalidArgument, "{error:?}");
    ensure!(error.message().contains("add_ambient_capabilities"), "{error:?}");
    node.finish()
}
