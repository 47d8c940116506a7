//! Sessions on a real pseudo terminal: what a person sees and types.

use anyhow::Result;
use isula_tests::{World, terminal::Terminal};

both!(
    a_shell_on_a_terminal_is_a_shell,
    exec_on_a_terminal_is_a_shell,
    the_detach_keys_leave_the_container_running,
    attach_joins_the_same_terminal,
);

fn a_shell_on_a_terminal_is_a_shell(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let run = world.isula(&["run", "-it", "--name", "web", "busybox", "sh"])?;
    let mut terminal = Terminal::start(&run, 33, 111)?;
    terminal.expect("# ")?;
    terminal.send("stty size; tty; echo a$((40 + 2))b\n")?;
    terminal.expect("33 111")?;
    terminal.expect("/dev/")?;
    terminal.expect("a42b")?;
    terminal.resize(50, 132)?;
    // The new size is there when the shell is told of it; a program waits for the signal, as here.
    terminal.send("until [ \"$(stty size)\" = '50 132' ]; do :; done; echo resized\n")?;
    terminal.expect("resized\r\n")?;
    // Ctrl-C goes to the program in front, not to the client.
    terminal.send("echo g''o; cat\n")?;
    terminal.expect("go\r\n")?;
    terminal.send("typed\n")?;
    terminal.expect("typed\r\ntyped")?;
    terminal.send("\x03")?;
    terminal.expect("# ")?;
    terminal.send("echo st''ill here\n")?;
    terminal.expect("still here")?;
    terminal.send("exit 9\n")?;
    assert_eq!(terminal.wait()?.code(), Some(9));
    assert!(terminal.is_cooked()?, "the terminal is left raw");
    world.finish()
}

fn exec_on_a_terminal_is_a_shell(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    world.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])?;
    let exec =
        world.isula(&["exec", "-it", "-e", "A=b", "-w", "/tmp", "-u", "web", "web", "sh"])?;
    let mut terminal = Terminal::start(&exec, 24, 80)?;
    terminal.send("echo $A; pwd; id -un; stty size\n")?;
    terminal.expect("b\r\n/tmp\r\nweb\r\n24 80")?;
    // Before it reads its next line, the terminal itself would take the end of input.
    terminal.expect("$ ")?;
    terminal.send("\x04")?;
    assert_eq!(terminal.wait()?.code(), Some(0));
    assert!(terminal.is_cooked()?);
    world.finish()
}

fn the_detach_keys_leave_the_container_running(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let run = world.isula(&["run", "-it", "--name", "web", "busybox", "sh"])?;
    let mut terminal = Terminal::start(&run, 24, 80)?;
    terminal.send("echo rea''dy\n")?;
    terminal.expect("ready")?;
    terminal.send("\x10\x11")?;
    assert_eq!(terminal.wait()?.code(), Some(0));
    assert!(terminal.is_cooked()?);
    assert_eq!(world.ok(&["inspect", "-f", "{{.State.Running}}", "web"])?, "true");
    let attach = world.isula(&["attach", "--detach-keys", "ctrl-a,x", "web"])?;
    let mut terminal = Terminal::start(&attach, 24, 80)?;
    // The default keys are ordinary ones now.
    terminal.send("echo ag''ain\n")?;
    terminal.expect("again")?;
    terminal.send("\x01x")?;
    assert_eq!(terminal.wait()?.code(), Some(0));
    assert_eq!(world.ok(&["inspect", "-f", "{{.State.Running}}", "web"])?, "true");
    world.finish()
}

fn attach_joins_the_same_terminal(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    world.ok(&["run", "-itd", "--name", "web", "busybox", "sh"])?;
    let attach = world.isula(&["attach", "web"])?;
    let mut first = Terminal::start(&attach, 24, 80)?;
    let mut second = Terminal::start(&attach, 24, 80)?;
    first.send("echo fro''m first\n")?;
    first.expect("from first")?;
    second.expect("from first")?;
    second.send("exit 4\n")?;
    assert_eq!(second.wait()?.code(), Some(4));
    assert_eq!(first.wait()?.code(), Some(4));
    world.finish()
}

#[test]
fn a_terminal_is_asked_for_only_where_there_is_one() -> Result<()> {
    let world = World::new("lcr")?;
    world.refused(&["run", "-it", "busybox", "sh"], 125, "TTY").or_else(|_| {
        // Docker says it with status 1.
        world.refused(&["run", "-it", "busybox", "sh"], 1, "TTY")
    })?;
    assert_eq!(world.ok(&["ps", "-aq"])?, "");
    world.finish()
}
