//! Every flag of `create` and `run` has its effect, none is read and forgotten.

use std::ffi::OsString;
use std::path::Path;

use isula_api::v1::CreateRequest;

use super::*;
use crate::flags::{Arguments, Kind, Syntax};

static CREATE: Syntax = Syntax {
    name: "create",
    usage: "",
    about: "",
    flags: &[flags::CREATE, flags::UNSUPPORTED],
    least: 1,
    most: usize::MAX,
    stops_at_argument: true,
};

fn lookup(name: &str) -> Option<OsString> {
    (name == "HOME").then(|| "/root".into())
}

fn read(line: &[&str]) -> Result<CreateRequest, String> {
    let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    let around = Surroundings { directory: Path::new("/work"), lookup: &lookup, selinux: false };
    let parse = || -> Result<CreateRequest, crate::error::Failure> {
        let arguments: Arguments = CREATE.parse(&words)?;
        request(&arguments, &around, false)
    };
    parse().map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// A value for each flag, which must change the request. Flags that concern the client alone are
/// `-`; their effects are tested through the program.
const VALUES: &str = "
    add-host a:1.2.3.4            annotation a=b           blkio-weight 500
    cap-add SYS_ADMIN             cap-drop ALL             cgroup-conf memory.high=1
    cgroup-parent /x              cgroupns host            cidfile -
    cpu-period 50000              cpu-quota 25000          cpu-shares 512
    cpus 1.5                      cpuset-cpus 0-1          cpuset-mems 0
    device /dev/null              device-cgroup-rule =     dns 1.1.1.1
    dns-option ndots:1            dns-search example.com   domainname d
    entrypoint sh                 env A=1                  env-file =
    expose 80                     external-rootfs =        group-add 10
    health-cmd true               health-interval 1s       health-retries 2
    health-start-period 1s        health-timeout 1s        hook-spec =
    hostname h                    hugetlb-limit 2M:4M      init +
    interactive +                 ip 10.83.0.9             ipc host
    label a=b                     mac-address 02:00:00:00:00:01
    publish 8080:80               publish-all +
    label-file =                  log-driver none          log-opt max-size=1m
    memory 64m                    memory-reservation 32m   memory-swap -1
    memory-swappiness 10          mount dst=/x             name n
    network none                  no-healthcheck +         oom-kill-disable +
    oom-score-adj 5               pid host                 pids-limit 10
    privileged +                  pull -                   quiet -
    read-only +                   restart always           rm +
    runtime runc                  security-opt no-new-privileges
    shm-size 1m                   stop-signal TERM         stop-timeout 5
    storage-opt size=1g           sysctl net.a=1           tmpfs /run
    tty +                         ulimit nofile=5          user 1:1
    uts host                      volume /a:/b             workdir /x
";

#[test]
fn every_flag_changes_the_request() {
    let plain = read(&["image", "cmd"]).unwrap();
    let mut words = VALUES.split_whitespace();
    let mut seen = Vec::new();
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        seen.push(flag);
        let long = format!("--{flag}");
        let changed = match value {
            "-" | "=" => continue,
            "+" => read(&[&long, "image", "cmd"]),
            value => read(&[&long, value, "image", "cmd"]),
        };
        assert_ne!(changed.as_ref(), Ok(&plain), "{long}");
        assert!(changed.is_ok(), "{long}: {changed:?}");
    }
    let mut known: Vec<&str> = flags::CREATE
        .iter()
        .filter(|flag| !matches!(flag.kind, Kind::Alias(_)))
        .map(|flag| flag.long)
        .collect();
    known.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, known, "the grid has every flag");
}

#[test]
fn files_are_read_by_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let env = file("env", "# x\nA=1\nHOME\nNOT_SET\n");
    let labels = file("labels", "a=1\nb\n");
    let hooks = file("hooks", "{\"prestart\": [{\"path\": \"/bin/true\"}]}");
    let seccomp = file("seccomp", "{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}");
    let seccomp = format!("seccomp={seccomp}");
    let line = [
        "--env-file",
        &env,
        "-e",
        "A=2",
        "--label-file",
        &labels,
        "-l",
        "a=3",
        "--hook-spec",
        &hooks,
        "--security-opt",
        &seccomp,
        "image",
    ];
    let request = read(&line).unwrap();
    let (config, host) = (request.config.unwrap(), request.host.unwrap());
    assert_eq!(config.env, ["A=1", "HOME=/root", "A=2"]);
    assert_eq!(config.labels["a"], "3");
    assert_eq!(config.labels["b"], "");
    assert_eq!(&host.hooks_json[..], b"{\"prestart\":[{\"path\":\"/bin/true\"}]}");
    assert_eq!(host.security_opt, ["seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"]);

    let large = file("large", "");
    std::fs::File::create(&large).unwrap().set_len(LARGEST_FILE + 1).unwrap();
    for flag in ["--env-file", "--label-file", "--hook-spec"] {
        let missing = read(&[flag, "/nonexistent/file", "image"]).unwrap_err();
        assert!(missing.contains("cannot read /nonexistent/file"), "{missing}");
        assert!(read(&[flag, &large, "image"]).unwrap_err().contains("larger than 4 MiB"));
    }
    let bad = file("bad", "[1]");
    assert!(read(&["--hook-spec", &bad, "image"]).is_err());
    let bad = format!("seccomp={}", file("bad2", "{"));
    assert!(read(&["--security-opt", &bad, "image"]).is_err());
}

#[test]
fn what_the_flags_mean_reaches_the_request() {
    let line = [
        "-it",
        "--rm",
        "-m",
        "1.5g",
        "--cpus",
        ".5",
        "--shm-size=64m",
        "--entrypoint",
        "",
        "-v",
        "./x:/x:ro",
        "--tmpfs",
        "/run:size=1m",
        "--mount",
        "type=tmpfs,dst=/t",
        "--ulimit",
        "nofile=1:2",
        "--device-cgroup-rule",
        "c 1:3 r",
        "--no-healthcheck",
        "--stop-timeout",
        "7",
        "image",
        "-x",
        "--rm",
    ];
    let request = read(&line).unwrap();
    assert_eq!(request.image, "image");
    let (config, host) = (request.config.unwrap(), request.host.unwrap());
    assert!(config.tty && config.open_stdin && config.stdin_once && host.auto_remove);
    assert_eq!(config.cmd, ["-x", "--rm"]);
    assert_eq!(config.entrypoint.unwrap().values, [""; 0]);
    assert_eq!(config.healthcheck.unwrap().test, ["NONE"]);
    assert_eq!(config.stop_timeout_seconds, Some(7));
    let resources = host.resources.unwrap();
    assert_eq!((resources.memory, resources.nano_cpus), (Some(3 << 29), Some(500_000_000)));
    assert_eq!(host.shm_size, Some(64 << 20));
    assert_eq!((host.mounts[0].source.as_str(), host.mounts[0].readonly), ("/work/x", true));
    assert_eq!(host.tmpfs.iter().map(|t| t.target.as_str()).collect::<Vec<_>>(), ["/run", "/t"]);
    assert_eq!((host.ulimits[0].soft, host.ulimits[0].hard), (1, 2));

    let request = read(&["--external-rootfs", "fs", "none", "sh"]).unwrap();
    assert_eq!((request.image.as_str(), request.external_rootfs.as_str()), ("", "/work/fs"));
}

#[test]
fn what_is_wrong_is_named() {
    let table: [(&[&str], &str); 13] = [
        (&["-m", "x", "i"], "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
        (
            &["--restart", "sometimes", "i"],
            "invalid argument \"sometimes\" for \"--restart\" flag: unknown policy 'sometimes'",
        ),
        (
            &["--rm", "--restart", "always", "i"],
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (
            &["--cpus", "1", "--cpu-quota", "5", "i"],
            "conflicting options: --cpus and --cpu-period or --cpu-quota",
        ),
        (
            &["--no-healthcheck", "--health-cmd", "x", "i"],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (
            &["--network", "a", "--net", "b", "i"],
            "a container has one network in this version: a, b",
        ),
        (
            &["-p", "80:x", "i"],
            "invalid argument \"80:x\" for \"-p, --publish\" flag: invalid port: \"x\"",
        ),
        (&["--link", "a", "i"], "--link is not supported in this version"),
        (&["--userns", "host", "i"], "--userns is not supported in this version"),
        (&["--nonsense", "i"], "unknown flag: --nonsense"),
        (
            &["-w", "x", "i"],
            "invalid argument \"x\" for \"-w, --workdir\" flag: the working directory must be absolute",
        ),
        (&["--external-rootfs", "/x", "i"], "with --external-rootfs the image must be \"none\""),
        (
            &["--stop-signal", "SIGNONSENSE", "i"],
            "invalid argument \"SIGNONSENSE\" for \"--stop-signal\" flag: invalid signal: SIGNONSENSE",
        ),
    ];
    for (line, expected) in table {
        assert_eq!(read(line).unwrap_err(), expected, "{line:?}");
    }
}
