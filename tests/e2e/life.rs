//! create, start, stop, kill, restart, pause, wait, rename, ps, rm: the life of a container.

use anyhow::Result;
use isula_tests::World;

both!(
    a_container_lives_from_create_to_rm,
    stop_sends_the_signal_and_kills_after_the_time,
    rm_refuses_a_running_container,
    names_and_prefixes_find_a_container,
    a_removed_container_leaves_with_its_end,
    many_containers_start_at_once,
);

fn state(world: &World, name: &str) -> Result<String> {
    world.ok(&["inspect", "-f", "{{.State.Status}}", name])
}

fn a_container_lives_from_create_to_rm(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let id = world.ok(&["create", "--name", "web", "busybox", "sleep", "1000"])?;
    assert_eq!(id.len(), 64);
    assert_eq!(state(&world, "web")?, "created");
    assert_eq!(world.ok(&["ps", "-q"])?, "");
    assert_eq!(world.ok(&["start", "web"])?, "web");
    assert_eq!(state(&world, "web")?, "running");
    world.ok(&["start", "web"])?;
    assert_eq!(world.ok(&["ps", "-q", "--no-trunc"])?, id);
    let line =
        world.ok(&["ps", "--format", "{{.ID}}|{{.Image}}|{{.Command}}|{{.Names}}|{{.State}}"])?;
    assert_eq!(line, format!("{}|busybox|\"sleep 1000\"|web|running", &id[..12]));
    assert!(world.ok(&["ps"])?.contains("Up "), "{}", world.ok(&["ps"])?);

    assert_eq!(world.ok(&["pause", "web"])?, "web");
    assert_eq!(state(&world, "web")?, "paused");
    assert!(world.ok(&["ps"])?.contains("(Paused)"));
    assert_eq!(world.ok(&["unpause", "web"])?, "web");
    assert_eq!(state(&world, "web")?, "running");

    assert_eq!(world.ok(&["rename", "web", "shop"])?, "");
    assert_eq!(world.ok(&["kill", "shop"])?, "shop");
    assert_eq!(world.ok(&["wait", "shop"])?, "137");
    assert_eq!(state(&world, "shop")?, "exited");
    assert!(world.ok(&["ps", "-a"])?.contains("Exited (137)"));

    assert_eq!(world.ok(&["restart", "-t", "0", "shop"])?, "shop");
    assert_eq!(state(&world, "shop")?, "running");
    assert_eq!(world.ok(&["stop", "-t", "0", "shop"])?, "shop");
    assert_eq!(world.ok(&["rm", "shop"])?, id);
    assert_eq!(world.ok(&["ps", "-aq"])?, "");
    world.finish()
}

fn stop_sends_the_signal_and_kills_after_the_time(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let polite = "trap 'echo bye; exit 5' TERM; echo ready; while true; do sleep 0.1; done";
    let other = "trap 'exit 6' USR1; echo ready; while true; do sleep 0.1; done";
    let deaf = "trap '' TERM; echo ready; while true; do sleep 0.1; done";
    for (name, flags, script, code) in [
        ("polite", vec![], polite, "5"),
        ("other", vec!["--stop-signal", "SIGUSR1"], other, "6"),
        ("deaf", vec![], deaf, "137"),
    ] {
        let mut arguments = vec!["run", "-d", "--name", name];
        arguments.extend(flags);
        arguments.extend(["busybox", "sh", "-c", script]);
        world.ok(&arguments)?;
        ready(&world, name)?;
        let seconds = if name == "deaf" { "1" } else { "30" };
        assert_eq!(world.ok(&["stop", "-t", seconds, name])?, name);
        assert_eq!(world.ok(&["inspect", "-f", "{{.State.ExitCode}}", name])?, code, "{name}");
    }
    assert_eq!(world.ok(&["logs", "polite"])?, "ready\nbye");
    world.finish()
}

/// Waits for the first line of a container's log.
pub fn ready(world: &World, name: &str) -> Result<()> {
    use std::io::{BufRead, BufReader};
    let mut follow = world.isula(&["logs", "-f", name])?;
    let mut follow = follow.stdout(std::process::Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = follow.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    follow.kill()?;
    follow.wait()?;
    assert!(!line.is_empty(), "{name} said nothing");
    Ok(())
}

fn rm_refuses_a_running_container(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let id = world.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])?;
    world.refused(&["rm", "web"], 1, "running")?;
    assert_eq!(state(&world, "web")?, "running");
    assert_eq!(world.ok(&["rm", "-f", "web"])?, id);
    // Several at once: each is tried, and the status tells that one failed.
    world.ok(&["create", "--name", "a", "busybox"])?;
    world.ok(&["create", "--name", "b", "busybox"])?;
    let outcome = world.run(&["rm", "a", "nobody", "b"])?;
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:#?}");
    assert!(outcome.stderr.contains("nobody"), "{outcome:#?}");
    world.finish()
}

fn names_and_prefixes_find_a_container(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let id = world.ok(&["create", "busybox"])?;
    assert_eq!(world.ok(&["inspect", "-f", "{{.Id}}", &id[..8]])?, id);
    // Without a name of its own a container is named by its id.
    let name = world.ok(&["ps", "-a", "--no-trunc", "--format", "{{.Names}}"])?;
    assert_eq!(name, id);
    // A name wins over the prefix of an id.
    let named = world.ok(&["create", "--name", &id[..4], "busybox"])?;
    assert_eq!(world.ok(&["inspect", "-f", "{{.Id}}", &id[..4]])?, named);
    world.refused(&["start", "ffffffffffff"], 1, "ffffffffffff")?;
    world.finish()
}

fn a_removed_container_leaves_with_its_end(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    assert_eq!(world.ok(&["run", "--rm", "busybox", "echo", "hello"])?, "hello");
    assert_eq!(world.ok(&["ps", "-aq"])?, "");
    let id = world.ok(&["run", "-d", "--rm", "--name", "brief", "busybox", "sleep", "1000"])?;
    let mut waiter = world.isula(&["wait", &id])?;
    let waiter = waiter.stdout(std::process::Stdio::piped()).spawn()?;
    world.ok(&["stop", "-t", "0", "brief"])?;
    assert!(waiter.wait_with_output()?.status.success());
    assert_eq!(world.ok(&["run", "--name", "brief", "--rm", "busybox", "echo", "again"])?, "again");
    world.finish()
}

fn many_containers_start_at_once(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let mut clients = Vec::new();
    for number in 0..30 {
        let name = format!("n{number}");
        let mut client =
            world.isula(&["run", "-d", "--name", &name, "busybox", "sleep", "1000"])?;
        clients.push(client.stdout(std::process::Stdio::piped()).spawn()?);
    }
    for client in clients {
        assert!(client.wait_with_output()?.status.success());
    }
    assert_eq!(world.ok(&["ps", "-q"])?.lines().count(), 30);
    let ids = world.ok(&["ps", "-q"])?;
    let mut arguments = vec!["rm", "-f"];
    arguments.extend(ids.lines());
    assert_eq!(world.ok(&arguments)?.lines().count(), 30);
    world.finish()
}
