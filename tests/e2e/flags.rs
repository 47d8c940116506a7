//! Each flag of `create` and `run` does inside what it says outside.

use std::fs;

use anyhow::Result;
use isula_tests::{World, images};

both!(
    flags_of_the_process,
    flags_of_mounts,
    flags_of_security,
    flags_of_the_network,
    flags_of_devices,
    flags_of_the_client,
);

fn shell(world: &World, flags: &[&str], script: &str) -> Result<String> {
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(flags);
    arguments.extend(["busybox", "sh", "-c", script]);
    world.ok(&arguments)
}

fn flags_of_the_process(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let file = world.path("env");
    fs::write(&file, "# comment\nFROM_FILE=yes\n")?;
    let file = file.display().to_string();
    for (flags, script, wanted) in [
        (vec!["-e", "A=b c"], "echo \"$A\"", "b c"),
        (vec!["--env-file", &file], "echo $FROM_FILE", "yes"),
        (vec!["-w", "/tmp"], "pwd", "/tmp"),
        (vec!["-w", "/made/here"], "pwd", "/made/here"),
        (vec!["-u", "web"], "id -u; id -g; id -G; echo $HOME", "1000\n1000\n1000 2000\n/home/web"),
        (vec!["-u", "1000"], "id -u; id -g", "1000\n1000"),
        (vec!["-u", "1234:5678"], "id -u; id -g; id -G", "1234\n5678\n5678"),
        (vec!["-u", "web", "--group-add", "4000"], "id -G", "1000 2000 4000"),
        (
            vec!["--hostname", "box"],
            "hostname; cat /etc/hostname; grep -c box /etc/hosts",
            "box\nbox\n1",
        ),
        (vec!["--label", "a=b", "--annotation", "c=d"], "echo fine", "fine"),
        (vec!["--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn", "100\n200"),
        (vec!["--init"], "cat /proc/1/comm | grep -v -x sh | wc -l", "1"),
        (
            vec!["--sysctl", "net.ipv4.ip_unprivileged_port_start=99"],
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
            "99",
        ),
        (vec!["--sysctl", "kernel.shmmax=12345678"], "cat /proc/sys/kernel/shmmax", "12345678"),
        (vec!["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
        (vec!["-t", "--log-driver", "none"], "test -t 1 && echo $TERM", "xterm\r"),
        (vec![], "test -t 0 || echo no terminal; echo $PATH | grep -c /usr/bin", "no terminal\n1"),
        (vec!["--uts", "host"], "hostname", hostname().trim()),
    ] {
        assert_eq!(shell(&world, &flags, script)?, wanted, "{flags:?}");
    }
    assert_eq!(world.ok(&["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"])?, "a b");
    assert_eq!(world.ok(&["run", "--rm", "--entrypoint", "", "busybox", "echo", "c"])?, "c");
    world.finish()
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

fn flags_of_mounts(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let host = world.path("host");
    fs::create_dir(&host)?;
    fs::write(host.join("file"), "from the host\n")?;
    let host = host.display().to_string();
    let rw = format!("{host}:/x");
    let ro = format!("{host}:/x:ro");
    let made = format!("{host}/made/now:/y");
    let mount = format!("type=bind,source={host},target=/x,readonly");
    let absent = format!("type=bind,source={host}/absent,target=/x");
    for (flags, script, wanted) in [
        (vec!["-v", rw.as_str()], "cat /x/file; echo new > /x/new; echo $?", "from the host\n0"),
        (
            vec!["-v", &ro],
            "cat /x/file; (echo no > /x/no) 2>/dev/null; echo $?",
            "from the host\n1",
        ),
        (vec!["-v", &made], "touch /y/mark && echo made", "made"),
        (
            vec!["--mount", &mount],
            "cat /x/file; (echo no > /x/no) 2>/dev/null; echo $?",
            "from the host\n1",
        ),
        (
            vec!["--tmpfs", "/t:size=1m,mode=700"],
            "stat -c %a /t; df -k /t | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2",
            "700\n1024",
        ),
        (vec!["--tmpfs", "/t"], "grep ' /t ' /proc/mounts | grep -c noexec", "1"),
        (
            vec!["--read-only"],
            "(touch /x) 2>/dev/null || echo read-only; touch /dev/shm/x && echo shm",
            "read-only\nshm",
        ),
        (
            vec!["--shm-size", "8m"],
            "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2",
            "8192",
        ),
        (vec![], "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2", "65536"),
    ] {
        assert_eq!(shell(&world, &flags, script)?, wanted, "{flags:?}");
    }
    assert_eq!(fs::read_to_string(format!("{host}/new"))?, "new\n");
    world.refused(&["run", "--mount", &absent, "busybox"], 125, "absent")?;
    // A volume outlives its container; an anonymous one leaves with --rm or rm -v.
    shell(&world, &["-v", "stock:/s"], "echo kept > /s/file")?;
    assert_eq!(shell(&world, &["-v", "stock:/s"], "cat /s/file")?, "kept");
    assert!(fs::exists(world.path("data/volumes/stock/_data/file"))?);
    let volumes = || {
        fs::read_dir(world.path("data/volumes"))
            .map(|all| all.flatten().filter(|entry| entry.path().is_dir()).count())
    };
    shell(&world, &["-v", "/anonymous"], "touch /anonymous/x")?;
    assert_eq!(volumes()?, 1);
    world.ok(&["run", "--name", "n", "-v", "/anonymous", "busybox", "true"])?;
    assert_eq!(volumes()?, 2);
    world.ok(&["rm", "-v", "n"])?;
    assert_eq!(volumes()?, 1);
    // A prepared root file system instead of an image.
    let rootfs = world.path("rootfs");
    images::busybox_rootfs(&rootfs)?;
    let rootfs = rootfs.display().to_string();
    assert_eq!(
        world.ok(&["run", "--rm", "--external-rootfs", &rootfs, "none", "/bin/echo", "ours"])?,
        "ours"
    );
    world.finish()
}

fn flags_of_security(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let caps = "grep CapEff /proc/self/status | cut -f 2";
    let profile = world.path("profile.json");
    fs::write(
        &profile,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":30}]}"#,
    )?;
    let profile = format!("seccomp={}", profile.display());
    for (flags, script, wanted) in [
        (vec![], caps, "00000000a80425fb"),
        (vec!["--cap-drop", "ALL"], caps, "0000000000000000"),
        (vec!["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"], caps, "0000000000000400"),
        (vec!["--cap-add", "CAP_SYS_TIME"], caps, "00000000aa0425fb"),
        (vec!["-u", "1000"], caps, "0000000000000000"),
        (
            vec![],
            "grep -E 'CapInh|CapAmb' /proc/self/status | cut -f 2",
            "0000000000000000\n0000000000000000",
        ),
        (
            vec!["--security-opt", "no-new-privileges"],
            "grep NoNewPrivs /proc/self/status | cut -f 2",
            "1",
        ),
        (
            vec![],
            "grep -w Seccomp: /proc/self/status | cut -f 2; unshare -U true 2>&1 | grep -c 'not permitted'",
            "2\n1",
        ),
        (
            vec!["--security-opt", "seccomp=unconfined"],
            "grep -w Seccomp: /proc/self/status | cut -f 2",
            "0",
        ),
        (vec!["--security-opt", &profile], "mkdir /x 2>&1 | grep -c 'Read-only'", "1"),
        (
            vec!["--privileged"],
            "grep -w Seccomp: /proc/self/status | cut -f 2; test -e /dev/vda -o -e /dev/loop-control -o -e /dev/kmsg && echo devices",
            "0\ndevices",
        ),
        (
            vec!["--privileged"],
            "mount -t tmpfs x /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs x /mnt && echo mounted",
            "mounted",
        ),
    ] {
        assert_eq!(shell(&world, &flags, script)?, wanted, "{flags:?}");
    }
    world.finish()
}

fn flags_of_the_network(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let devices = "ls /sys/class/net | tr '\\n' ' '";
    assert_eq!(shell(&world, &["--network", "none"], devices)?, "lo ");
    assert_eq!(
        shell(
            &world,
            &[],
            "ip addr show lo | grep -c LOWER_UP; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up"
        )?,
        "1\nup"
    );
    let host: Vec<String> = fs::read_dir("/sys/class/net")?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let seen = shell(&world, &["--network", "host"], devices)?;
    for name in &host {
        assert!(seen.split(' ').any(|other| other == name), "{seen} lacks {name}");
    }
    world.ok(&[
        "run",
        "-d",
        "--name",
        "server",
        "busybox",
        "sh",
        "-c",
        "echo hello | nc -l -p 8080; sleep 1000",
    ])?;
    let joined = shell(
        &world,
        &["--network", "container:server"],
        "until nc 127.0.0.1 8080 </dev/null; do :; done",
    )?;
    assert_eq!(joined, "hello");
    let namespace = "readlink /proc/self/ns/net";
    assert_eq!(
        shell(&world, &["--network", "container:server"], namespace)?,
        world.ok(&["exec", "server", "sh", "-c", namespace])?
    );
    let processes =
        shell(&world, &["--pid", "container:server"], "ps | grep -c 'sleep 1000\\|nc -l'")?;
    assert_ne!(processes, "0");
    assert_eq!(
        shell(&world, &["--add-host", "db:10.1.2.3"], "grep -w db /etc/hosts | cut -f 1")?,
        "10.1.2.3"
    );
    assert_eq!(
        shell(
            &world,
            &["--dns", "10.9.9.9", "--dns-search", "example.org"],
            "cat /etc/resolv.conf | sort"
        )?,
        "nameserver 10.9.9.9\nsearch example.org"
    );
    world.ok(&["stop", "-t", "0", "server"])?;
    world.refused(&["run", "--rm", "--network", "container:server", "busybox"], 125, "server")?;
    world.finish()
}

fn flags_of_devices(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let nodes = "ls /dev | tr '\\n' ' '";
    let default = shell(&world, &[], nodes)?;
    for name in ["full", "null", "ptmx", "pts", "random", "shm", "stdin", "tty", "urandom", "zero"]
    {
        assert!(default.split(' ').any(|other| other == name), "{default} lacks {name}");
    }
    assert!(!default.contains("kmsg"), "{default}");
    assert_eq!(
        shell(
            &world,
            &["--device", "/dev/loop-control:/dev/k:r"],
            "test -c /dev/k && (: < /dev/k) && echo read; (: > /dev/k) 2>/dev/null || echo not written"
        )?,
        "read\nnot written"
    );
    // A node made by the container is useless unless a rule allows it.
    let make = "mknod /tmp/k c 10 237; (: < /tmp/k) 2>/dev/null && echo opened || echo refused";
    assert_eq!(shell(&world, &[], make)?, "refused");
    assert_eq!(shell(&world, &["--device-cgroup-rule", "c 10:237 r"], make)?, "opened");
    world.finish()
}

fn flags_of_the_client(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let file = world.path("cid").display().to_string();
    let id = world.ok(&["run", "-d", "--cidfile", &file, "busybox", "sleep", "1000"])?;
    assert_eq!(fs::read_to_string(&file)?.trim(), id);
    world.refused(&["run", "-d", "--cidfile", &file, "busybox"], 125, "cid")?;
    assert_eq!(world.ok(&["ps", "-q"])?.lines().count(), 1);
    world.ok(&[
        "run",
        "-d",
        "--label",
        "tier=front",
        "--name",
        "front",
        "busybox",
        "sleep",
        "1000",
    ])?;
    for (filter, count) in [
        ("label=tier=front", 1),
        ("label=tier", 1),
        ("label=tier=back", 0),
        ("name=front", 1),
        ("status=running", 2),
        ("status=exited", 0),
        ("ancestor=busybox", 2),
    ] {
        assert_eq!(
            world.ok(&["ps", "-aq", "--filter", filter])?.lines().count(),
            count,
            "{filter}"
        );
    }
    assert_eq!(world.ok(&["ps", "-q", "--filter", &format!("id={}", &id[..6])])?, id[..12]);
    world.refused(&["ps", "--filter", "nonsense=1"], 1, "nonsense")?;
    let info = world.ok(&["info"])?;
    assert!(info.contains("Running: 2") && info.contains("Server Version:"), "{info}");
    let version = world.ok(&["version"])?;
    assert!(version.contains("Client:") && version.contains("Server:"), "{version}");
    world.finish()
}
