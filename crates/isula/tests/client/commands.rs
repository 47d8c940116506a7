//! Commands that ask once: their output, their errors, their statuses.

use super::daemon::{Daemon, Ran};
use super::script::ID;

fn ran(status: i32, out: &str, err: &str) -> Ran {
    Ran { status, out: out.to_owned(), err: err.to_owned() }
}

#[test]
fn commands_on_many_containers_answer_in_order_and_tell_each_error() {
    let daemon = Daemon::start();
    let error = "Error response from daemon: no such container: nosuch\n";
    for command in ["start", "stop", "restart", "kill", "pause", "unpause"] {
        assert_eq!(daemon.run(&format!("{command} a b")), ran(0, "a\nb\n", ""), "{command}");
        let mixed = daemon.run(&format!("{command} a nosuch b"));
        assert_eq!(mixed, ran(1, "a\nb\n", error), "{command}");
    }
    assert_eq!(daemon.run("rm -fv x nosuch"), ran(1, &format!("{ID}\n"), error));
    assert!(daemon.asked().contains(&"rm x true true".to_owned()));
    assert_eq!(daemon.run("wait abc nosuch abcde"), ran(1, "3\n5\n", error));
    let many: Vec<String> = (0..100).map(|index| format!("c{index}")).collect();
    let found = daemon.run(&format!("stop {}", many.join(" ")));
    assert_eq!(found, ran(0, &(many.join("\n") + "\n"), ""));
}

#[test]
fn flags_reach_the_daemon() {
    let daemon = Daemon::start();
    let table = [
        ("stop -t 5 -s TERM a", "stop a Some(5) \"TERM\""),
        ("stop a", "stop a None \"\""),
        ("stop -f a", "stop a Some(0) \"\""),
        ("stop --timeout=-1 a", "stop a Some(-1) \"\""),
        ("kill -s HUP a", "kill a \"HUP\""),
        ("rm a", "rm a false false"),
        ("rename a b", "rename a b"),
        ("ps", "list false [] 0"),
        (
            "ps -a -n 3 --filter name=x -f status=exited",
            "list true [\"name=x\", \"status=exited\"] 3",
        ),
        ("ps -l", "list false [] 1"),
        ("logs --tail 5 -f a", "logs Some(5) true None"),
        ("logs --since 1.5 a", "logs None false Some(1500000000)"),
        ("images -f dangling=true busybox", "images [\"dangling=true\", \"reference=busybox\"]"),
        ("rmi -f x", "rmi x true"),
        ("tag a b:c", "tag a b:c"),
        ("exec -d a b -c", "exec -d [\"b\", \"-c\"]"),
    ];
    for (line, asked) in table {
        assert_eq!(daemon.run(line).status, 0, "{line}");
        assert_eq!(daemon.asked(), [asked], "{line}");
    }
}

#[test]
fn lists_and_records_are_printed() {
    let daemon = Daemon::start();
    let list = daemon.run("ps -a").out;
    assert!(list.starts_with("CONTAINER ID   IMAGE     COMMAND   CREATED       STATUS"), "{list}");
    assert!(list.contains("e91e5359be65   busybox   \"sh\""), "{list}");
    assert_eq!(daemon.run("ps -q").out, "e91e5359be65\n");
    assert_eq!(daemon.run("ps -q --no-trunc").out, format!("{ID}\n"));
    assert_eq!(daemon.run("ps --format {{.Names}}:{{.State}}").out, "web:created\n");
    assert_eq!(daemon.run("images --format {{.Repository}}|{{.Size}}").out, "busybox|4.27MB\n");
    assert_eq!(daemon.run("logs a"), ran(0, "one\n", "two\n"));
    let stamped =
        ran(0, "1970-01-01T00:00:00.000000001Z one\n", "1970-01-01T00:00:00.000000002Z two\n");
    assert_eq!(daemon.run("logs -t a"), stamped);
    assert!(daemon.run("top a").out.starts_with("PID"));
    assert_eq!(daemon.run("info --format {{.Containers}}").out, "3\n");
    let version = daemon.run("version").out;
    assert!(version.starts_with("Client:\n  Version:\t"), "{version}");
    assert!(version.contains("\nOCI config:\n  Version:\t1.2.1\n"), "{version}");
    assert!(version.ends_with("\nServer:\n  Version:\t1.2.3\n"), "{version}");
}

#[test]
fn inspect_finds_containers_and_images() {
    let daemon = Daemon::start();
    let one = daemon.run("inspect web");
    let expected = format!(
        "[\n    {{\n        \"Id\": \"{ID}\",\n        \"Name\": \"web\",\n        \"State\": {{\n            \"Pid\": 1,\n            \"Error\": \"\"\n        }}\n    }}\n]\n"
    );
    assert_eq!(one, ran(0, &expected, ""));
    assert_eq!(daemon.run("inspect -f {{.State.Pid}} a b"), ran(0, "1\n1\n", ""));
    assert!(daemon.run("inspect busybox").out.contains("sha256:8c788f4bfb72"));
    let missing = daemon.run("inspect nosuch -f {{.Id}} web");
    assert_eq!(missing, ran(1, &format!("{ID}\n"), "no such object: nosuch\n"));
    let missing = daemon.run("inspect --type container busybox");
    assert_eq!(missing, ran(1, "[]\n", "Error response from daemon: no such container: busybox\n"));
    let field = daemon.run("inspect -f {{.State.Nope}} web");
    let error = "template: :1:8: executing \"\" at <.State.Nope>: can't evaluate field Nope\n";
    assert_eq!(field, ran(1, "", error));
    assert_eq!(daemon.run("inspect -f {{.X web").status, 125);
}

#[test]
fn wrong_use_is_one_clear_line_and_a_hint() {
    let daemon = Daemon::start();
    let table = [
        ("nonsense", 1, "isula: command \"nonsense\" not found\nSee 'isula --help'.\n"),
        ("cp a b", 1, "isula cp: not available in this version\n"),
        ("stats", 1, "isula stats: not available in this version\n"),
        ("run --nonsense x", 125, "unknown flag: --nonsense\nSee 'isula run --help'.\n"),
        ("ps -x", 125, "unknown shorthand flag: 'x' in -x\nSee 'isula ps --help'.\n"),
        ("ps extra", 125, "isula ps: accepts no arguments\nSee 'isula ps --help'.\n"),
        ("rm", 125, "isula rm: requires at least 1 argument\nSee 'isula rm --help'.\n"),
        ("exec a", 125, "isula exec: requires at least 2 arguments\nSee 'isula exec --help'.\n"),
        (
            "rename a",
            125,
            "isula rename: requires exactly 2 arguments\nSee 'isula rename --help'.\n",
        ),
        ("--nonsense ps", 125, "unknown flag: --nonsense\nSee 'isula --help'.\n"),
        (
            "run --link a x",
            125,
            "--link is not supported in this version\nSee 'isula run --help'.\n",
        ),
        (
            "-H tcp://x:1 ps",
            1,
            "invalid host \"tcp://x:1\": only unix sockets are supported in this version\n",
        ),
    ];
    for (line, status, err) in table {
        assert_eq!(daemon.run(line), ran(status, "", err), "{line}");
    }
    assert_eq!(daemon.asked(), [""; 0], "nothing reached the daemon");
}

#[test]
fn without_a_daemon_the_error_says_so() {
    let daemon = Daemon::start();
    let text =
        "Cannot connect to the isulad daemon at unix:///nonexistent.sock: is isulad running?\n";
    for (line, status) in [("ps", 1), ("run x", 125), ("exec a b", 125), ("inspect a", 1)] {
        let found = daemon.run(&format!("-H unix:///nonexistent.sock {line}"));
        assert_eq!(found, ran(status, "", text), "{line}");
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let after = daemon.run(&format!("{command} --host=unix:///nonexistent.sock {rest}"));
        assert_eq!(after, ran(status, "", text), "{line}");
    }
    let version = daemon.run("-H unix:///nonexistent.sock version");
    assert!(version.status == 1 && version.out.starts_with("Client:\n") && version.err == text);
}

#[test]
fn help_is_on_stdout() {
    let daemon = Daemon::start();
    for line in ["--help", "-h", "help", ""] {
        let found = daemon.run(line);
        assert_eq!((found.status, found.err.as_str()), (0, ""), "{line}");
        assert!(
            found
                .out
                .starts_with("USAGE:\n\tisula <command> [args...]\n\nCOMMANDS:\n\tattach    \t")
        );
    }
    for line in ["help rm", "rm --help", "rm -h", "--help rm"] {
        let found = daemon.run(line);
        assert!(found.out.starts_with("USAGE:\n\tisula rm [OPTIONS] CONTAINER"), "{line}");
    }
    for line in ["-v", "--version"] {
        assert_eq!(daemon.run(line).out, format!("isula version {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_worth_a_word() {
    let daemon = Daemon::start();
    let mut child = daemon
        .command([
            "ps",
            "--format",
            "{{range 100000}}0123456789012345678901234567890123456789{{end}}",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let found = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(found, ran(141, "", ""));
}
