//! Images that attack the host: nothing outside changes, and what is refused is refused clearly.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
};

use anyhow::{Context, Result};
use isula_tests::World;

/// A tar made by a small program of ours in Python: tar(1) refuses to write such things.
fn hostile_tar(world: &World, body: &str) -> Result<String> {
    let file = world.path("hostile.tar");
    let program = format!(
        "import tarfile, io, sys\n\
         t = tarfile.open(sys.argv[1], 'w')\n\
         def entry(name, kind=tarfile.REGTYPE, link='', data=b'', mode=0o755, **more):\n\
         \x20   i = tarfile.TarInfo(name); i.type = kind; i.linkname = link; i.size = len(data); i.mode = mode\n\
         \x20   for k, v in more.items(): setattr(i, k, v)\n\
         \x20   t.addfile(i, io.BytesIO(data))\n\
         box = open('/bin/busybox', 'rb').read()\n\
         entry('bin', tarfile.DIRTYPE)\n\
         entry('bin/busybox', data=box)\n\
         entry('bin/sh', tarfile.SYMTYPE, 'busybox')\n\
         entry('bin/cat', tarfile.SYMTYPE, 'busybox')\n\
         {body}\n\
         t.close()\n"
    );
    let output =
        Command::new("python3").arg("-c").arg(program).arg(&file).output().context("python3")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(file.display().to_string())
}

#[test]
fn no_entry_of_a_layer_reaches_outside_it() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let target = world.path("target");
    fs::create_dir(&target)?;
    fs::write(target.join("victim"), "untouched")?;
    let outside = target.display();
    for body in [
        format!("entry('../../../../../../../..{outside}/new', data=b'x')"),
        format!("entry('{outside}/new', data=b'x')"),
        format!(
            "entry('out', tarfile.SYMTYPE, '{outside}')\nentry('out/new', data=b'x')\nentry('out/victim', data=b'x')"
        ),
        format!("entry('hard', tarfile.LNKTYPE, '{outside}/victim')\nentry('hard', data=b'x')"),
        format!("entry('hard', tarfile.LNKTYPE, '../../../../../../../..{outside}/victim')"),
        format!("entry('out', tarfile.SYMTYPE, '{outside}')\nentry('out/.wh.victim')"),
        format!("entry('out', tarfile.SYMTYPE, '{outside}')\nentry('out/.wh..wh..opq')"),
        "entry('.wh...')".to_owned(),
        "entry('.wh.')".to_owned(),
    ] {
        let tar = hostile_tar(&world, &body)?;
        // Refused or unpacked harmlessly, as Docker does with an absolute name: both are fine.
        let outcome = world.run(&["import", &tar, "hostile:1"])?;
        assert!(outcome.code == 0 || outcome.stderr.lines().count() == 1, "{body}: {outcome:#?}");
        assert_eq!(fs::read_to_string(target.join("victim"))?, "untouched", "{body}");
        assert_eq!(fs::read_dir(&target)?.count(), 1, "{body}");
    }
    world.finish()
}

#[test]
fn symlinks_in_place_of_system_directories_are_not_followed() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let target = world.path("target");
    fs::create_dir(&target)?;
    for name in ["proc", "sys", "dev"] {
        let tar = hostile_tar(
            &world,
            &format!("entry('{name}', tarfile.SYMTYPE, '{}')", target.display()),
        )?;
        let image = format!("link/{name}:1");
        world.ok(&["import", &tar, &image])?;
        let outcome = world.run(&["run", "--rm", &image, "/bin/cat", "/bin/sh"])?;
        assert_ne!(outcome.code, 0, "{name}: a container ran on a symlinked /{name}");
        assert_eq!(fs::read_dir(&target)?.count(), 0, "{name}");
    }
    world.finish()
}

#[test]
fn special_files_where_text_is_expected_do_not_hang_anything() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    for (number, entry) in [
        "entry('etc', tarfile.DIRTYPE)\nentry('etc/passwd', tarfile.FIFOTYPE)\nentry('etc/group', tarfile.FIFOTYPE)",
        "entry('etc', tarfile.DIRTYPE)\nentry('etc/passwd', tarfile.SYMTYPE, '/dev/zero')",
        "entry('etc', tarfile.DIRTYPE)\nentry('etc/passwd', tarfile.SYMTYPE, '/proc/self/environ')",
        "entry('etc', tarfile.SYMTYPE, '/etc')",
        "entry('etc', tarfile.SYMTYPE, '../../../../../../etc')",
    ]
    .iter()
    .enumerate()
    {
        let tar = hostile_tar(&world, entry)?;
        let image = format!("special:{number}");
        world.ok(&["import", &tar, &image])?;
        // `root` of the host's passwd must not be found through the image.
        let outcome = world.run(&["run", "--rm", "-u", "daemon", &image, "/bin/cat", "/bin/sh"])?;
        assert_eq!(outcome.code, 125, "{entry}: {outcome:#?}");
        world.ok(&["rmi", &image])?;
    }
    world.finish()
}

#[test]
fn files_of_the_engine_are_not_written_through_links_of_the_image() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let target = world.path("target");
    fs::create_dir(&target)?;
    fs::write(target.join("hosts"), "untouched")?;
    let outside = target.display();
    for entry in [
        format!("entry('etc', tarfile.SYMTYPE, '{outside}')"),
        format!(
            "entry('etc', tarfile.DIRTYPE)\nentry('etc/hosts', tarfile.SYMTYPE, '{outside}/hosts')\nentry('etc/mtab', tarfile.SYMTYPE, '{outside}/mtab')"
        ),
    ] {
        let tar = hostile_tar(&world, &entry)?;
        world.ok(&["import", &tar, "links:1"])?;
        let outcome = world.run(&[
            "run",
            "--rm",
            "-w",
            "/etc/deep/down",
            "links:1",
            "/bin/cat",
            "/etc/hosts",
        ])?;
        assert!(!outcome.stdout.contains("untouched"), "{outcome:#?}");
        assert_eq!(fs::read_to_string(target.join("hosts"))?, "untouched");
        assert_eq!(fs::read_dir(&target)?.count(), 1, "{entry}");
    }
    world.finish()
}

#[test]
fn users_that_are_no_numbers_do_not_become_root() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let tar = hostile_tar(
        &world,
        "entry('etc', tarfile.DIRTYPE)\n\
         entry('etc/passwd', data=b'4294967296:x:0:0::/:/bin/sh\\n99999999999:x:0:0::/:/bin/sh\\n')",
    )?;
    for user in ["18446744073709551616", "4294967296", "99999999999", "-1", "0x0:0x0"] {
        let image = "users:1";
        world.ok(&["import", "-c", &format!("USER {user}"), &tar, image])?;
        let outcome = world.run(&["run", "--rm", image, "/bin/cat", "/bin/sh"])?;
        assert_eq!(outcome.code, 125, "{user}: {outcome:#?}");
        world.ok(&["rmi", image])?;
    }
    world.finish()
}

/// A registry on loopback that answers each request by `answer`, until the end of the test.
fn registry(answer: fn(&str, &mut dyn Write, u16) -> std::io::Result<()>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                let mut line = String::new();
                // The first byte of TLS is no text: then nothing is said.
                while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {}
                    // The client hangs up when it has had enough.
                    if answer(&target, &mut &stream, port).is_err() {
                        break;
                    }
                    line.clear();
                }
            });
        }
    });
    Ok(port)
}

fn endless(out: &mut dyn Write) -> std::io::Result<()> {
    out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend([b' '; 0x10000]);
    chunk.extend(b"\r\n");
    loop {
        out.write_all(&chunk)?;
    }
}

/// The most memory a process ever had, in KiB.
fn peak(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn registries_without_measure_take_neither_memory_nor_the_daemon() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let port = registry(|target, out, port| match target {
        target if target.contains("/token/") => {
            write!(
                out,
                "HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/give\"\r\n\
                 Content-Length: 0\r\n\r\n"
            )
        }
        target if target.contains("/loop/") => {
            write!(out, "HTTP/1.1 307 X\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n")
        }
        target if target.contains("/head/") => {
            let line = format!("X: {}\r\n", "y".repeat(1 << 20));
            write!(out, "HTTP/1.1 200 OK\r\n{line}\r\n")
        }
        target if target.contains("/deep/") => {
            let body = "[".repeat(4 << 20);
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        _ => endless(out),
    })?;
    for (name, words) in [
        ("manifest", "more than 4194304 bytes"),
        ("token", "more than 1048576 bytes"),
        ("loop", "redirects"),
        ("head", "broke off"),
        ("deep", "malformed"),
    ] {
        let reference = format!("127.0.0.1:{port}/{name}/x:1");
        let outcome = world.run(&["pull", "-q", &reference])?;
        assert_ne!(outcome.code, 0, "{name}");
        assert_eq!(outcome.told().count(), 1, "{name}: {outcome:#?}");
        assert!(outcome.stderr.contains(words), "{name}: {outcome:#?}");
    }
    let peak = peak(world.daemon()?.pid())?;
    assert!(peak < 40 << 10, "{peak} KiB");
    assert_eq!(world.ok(&["images", "-q"])?, "");
    world.finish()
}

#[test]
fn archives_that_lie_are_refused_in_one_line_and_leave_nothing() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let secret = world.path("secret");
    fs::write(&secret, "secret")?;
    let name = secret.display();
    for body in [
        format!(
            "entry('manifest.json', data=b'[{{\"Config\":\"{name}\",\"RepoTags\":[\"x:1\"],\"Layers\":[]}}]')"
        ),
        format!(
            "entry('c.json', tarfile.SYMTYPE, '{name}')\n\
             entry('manifest.json', data=b'[{{\"Config\":\"c.json\",\"RepoTags\":[\"x:1\"],\"Layers\":[]}}]')"
        ),
        "entry('manifest.json', tarfile.FIFOTYPE)".to_owned(),
        "entry('manifest.json', data=b'[' * 1000000)".to_owned(),
        "entry('oci-layout', data=b'{\"imageLayoutVersion\":\"1.0.0\"}')\nentry('index.json', tarfile.LNKTYPE, '/dev/zero')"
            .to_owned(),
    ] {
        let tar = hostile_tar(&world, &body)?;
        let outcome = world.run(&["load", "-i", &tar])?;
        assert_ne!(outcome.code, 0, "{body}");
        assert_eq!(outcome.told().count(), 1, "{body}: {outcome:#?}");
        assert_eq!(fs::read_dir(world.path("data/storage/tmp"))?.count(), 0, "{body}");
    }
    assert_eq!(world.ok(&["images", "-q"])?, "");
    world.finish()
}
