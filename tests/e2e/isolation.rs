//! What a container sees of the host: nothing it was not given.

use anyhow::Result;
use isula_tests::World;

both!(
    a_container_is_alone_in_its_namespaces,
    kernel_interfaces_are_masked,
    no_descriptor_of_the_engine_is_open_inside,
);

fn shell(world: &World, script: &str) -> Result<String> {
    world.ok(&["run", "--rm", "busybox", "sh", "-c", script])
}

fn a_container_is_alone_in_its_namespaces(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        let inside = shell(&world, &format!("readlink /proc/self/ns/{kind}"))?;
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}"))?;
        assert_ne!(inside, outside.to_string_lossy(), "{kind}");
    }
    assert_eq!(shell(&world, "echo $$; ps > /tmp/seen; wc -l < /tmp/seen")?, "1\n3");
    // The root file system is the image's, and what lies around it is out of reach.
    assert_eq!(
        shell(&world, "cd /..; ls | tr '\\n' ' '; grep -c ' / overlay ' /proc/mounts")?,
        "bin dev etc home proc root sys tmp 1"
    );
    assert_eq!(
        shell(
            &world,
            "cat /proc/mounts | grep -c -e isula-test -e '/var/lib/isulad/engines' || true"
        )?,
        shell(&world, "grep -c -e isula-test /proc/mounts || true")?
    );
    world.finish()
}

fn kernel_interfaces_are_masked(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    for (script, wanted) in [
        ("head -c 1 /proc/kcore | wc -c", "0"),
        ("cat /proc/keys /proc/timer_list 2>/dev/null | wc -c", "0"),
        ("ls /sys/firmware | wc -l", "0"),
        ("(echo x > /proc/sysrq-trigger) 2>/dev/null; echo $?", "1"),
        ("(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null; echo $?", "1"),
        ("(mkdir /sys/fs/cgroup/memory/x) 2>/dev/null; echo $?", "1"),
        ("mount -t tmpfs x /tmp 2>/dev/null; echo $?", "255"),
        ("grep ' /sys ' /proc/mounts | grep -c -w ro", "1"),
        ("grep ' /proc/sys ' /proc/mounts | grep -c -w ro", "1"),
    ] {
        let found = shell(&world, script)?;
        assert!(found == wanted || (wanted == "255" && found != "0"), "{script}: {found}");
    }
    world.finish()
}

fn no_descriptor_of_the_engine_is_open_inside(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    // ls itself opens the directory as 3.
    assert_eq!(shell(&world, "exec ls /proc/self/fd | tr '\\n' ' '")?, "0 1 2 3 ");
    world.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])?;
    assert_eq!(world.ok(&["exec", "web", "ls", "/proc/self/fd"])?, "0\n1\n2\n3");
    assert_eq!(world.ok(&["exec", "web", "ls", "/proc/1/fd"])?, "0\n1\n2");
    let outcome = world.run(&["run", "--rm", "-w", "/proc/self/fd/7", "busybox", "pwd"])?;
    assert_ne!(outcome.code, 0, "{outcome:#?}");
    world.finish()
}
