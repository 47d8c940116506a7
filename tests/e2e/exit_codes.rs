//! The exit status of the client says what happened, as Docker's does.

use anyhow::Result;
use isula_tests::World;

both!(run_ends_with_the_status_of_the_command, exec_ends_with_the_status_of_the_command);

fn run_ends_with_the_status_of_the_command(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    for (command, code) in [
        (vec!["true"], 0),
        (vec!["false"], 1),
        (vec!["sh", "-c", "exit 37"], 37),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["sh", "-c", "kill -TERM $$; sleep 9"], 143),
        (vec!["no-such-command"], 127),
        (vec!["/no/such/command"], 127),
        (vec!["/etc/plain"], 126),
        (vec!["/etc"], 126),
    ] {
        let mut arguments = vec!["run", "--rm", "--init", "busybox"];
        arguments.extend(&command);
        let outcome = world.run(&arguments)?;
        assert_eq!(outcome.code, code, "{command:?}: {outcome:#?}");
        if code == 126 || code == 127 {
            assert_eq!(outcome.stderr.lines().count(), 1, "{command:?}: {outcome:#?}");
        }
    }
    world.refused(&["run", "--rm", "--no-such-flag", "busybox"], 125, "--no-such-flag").ok();
    assert_eq!(world.run(&["run", "--no-such-flag", "busybox"])?.code, 125);
    assert_eq!(world.run(&["run", "--rm", "-w", "relative", "busybox"])?.code, 125);
    // A container whose command could not start stays, as Docker's does, unless --rm was given.
    assert_eq!(world.run(&["run", "--name", "kept", "busybox", "no-such-command"])?.code, 127);
    assert_eq!(world.ok(&["ps", "-aq", "--filter", "name=kept"])?.lines().count(), 1);
    assert_eq!(world.ok(&["ps", "-aq"])?.lines().count(), 1);
    world.finish()
}

fn exec_ends_with_the_status_of_the_command(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    world.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])?;
    for (command, code) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 3"], 3),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["no-such-command"], 127),
        (vec!["/etc/plain"], 126),
    ] {
        let mut arguments = vec!["exec", "web"];
        arguments.extend(&command);
        let outcome = world.run(&arguments)?;
        assert_eq!(outcome.code, code, "{command:?}: {outcome:#?}");
    }
    world.refused(&["exec", "nobody", "true"], 125, "nobody")?;
    world.finish()
}
