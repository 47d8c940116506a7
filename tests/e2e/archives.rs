//! Archives that other tools wrote are loaded, and what is written here other tools read.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use isula_tests::{
    World, images,
    programs::{succeed, tool},
};

fn skopeo(arguments: &[&str]) -> Result<String> {
    succeed(Command::new("skopeo").args(arguments))
}

/// Podman or buildah on a store of its own that nobody else sees.
pub fn containers_tool(name: &str, home: &Path, arguments: &[&str]) -> Result<String> {
    let libraries =
        isula_tests::programs::repository().join("target/tools/usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(tool(name));
    command
        .env("LD_LIBRARY_PATH", libraries)
        .env("TMPDIR", home)
        .env("HOME", home)
        .arg("--root")
        .arg(home.join("root"))
        .arg("--runroot")
        .arg(home.join("run"))
        .args(["--storage-driver", "vfs"]);
    if name == "podman" {
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command.args(["--runtime", "runc", "--conmon"]).arg(tool("conmon"));
    }
    succeed(command.args(arguments))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn what_save_writes_is_read_by_skopeo_umoci_and_podman_under_the_same_id() -> Result<()> {
    let world = World::new("lcr")?;
    let id = world.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    world.ok(&["tag", "busybox", "team/other:2"])?;
    let docker = text(&world.path("docker.tar"));
    world.ok(&["save", "-o", &docker, "busybox", "team/other:2"])?;
    let oci = text(&world.path("oci.tar"));
    world.ok(&["save", "--format", "oci-archive", "-o", &oci, "busybox"])?;
    let layout = text(&world.path("layout"));
    world.ok(&["save", "--format=oci-dir", "--output", &layout, "busybox"])?;

    for source in [
        format!("docker-archive:{docker}:team/other:2"),
        format!("oci-archive:{oci}:latest"),
        format!("oci:{layout}:latest"),
    ] {
        let config = skopeo(&["inspect", "--config", "--raw", &source])?;
        let sum = succeed(
            Command::new("sh")
                .arg("-c")
                .arg(format!("skopeo inspect --config --raw {source} | sha256sum")),
        )?;
        ensure!(id.ends_with(sum.split(' ').next().unwrap_or_default()), "{source}: {config}");
        // Copying verifies each layer against its digest and diff id.
        let copy = text(&world.path("copy"));
        skopeo(&["copy", "--quiet", &source, &format!("dir:{copy}")])?;
        fs::remove_dir_all(copy)?;
    }
    let bundle = text(&world.path("bundle"));
    succeed(Command::new("umoci").args([
        "unpack",
        "--image",
        &format!("{layout}:latest"),
        &bundle,
    ]))?;
    ensure!(world.path("bundle/rootfs/bin/busybox").exists());

    let home = world.path("podman");
    fs::create_dir(&home)?;
    for archive in [&docker, &oci] {
        let loaded = containers_tool("podman", &home, &["load", "-q", "-i", archive])?;
        ensure!(loaded.contains("busybox"), "{loaded}");
        let found = containers_tool("podman", &home, &["images", "-q", "--no-trunc", "busybox"])?;
        assert_eq!(found, id);
        containers_tool("podman", &home, &["rmi", "-fa"])?;
    }
    world.finish()
}

#[test]
fn archives_of_podman_and_buildah_are_loaded() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let home = world.path("home");
    fs::create_dir(&home)?;
    let source = format!("oci:{}:latest", images::busybox()?.display());
    containers_tool("podman", &home, &["pull", "-q", &source])?;
    let image = containers_tool("podman", &home, &["images", "-q", "--no-trunc"])?;
    containers_tool("podman", &home, &["tag", &image, "example.com/made/by:podman"])?;
    for format in ["docker-archive", "oci-archive"] {
        let file = text(&world.path(format));
        let save = ["save", "-q", "--format", format, "-o", &file, "example.com/made/by:podman"];
        containers_tool("podman", &home, &save)?;
        world.ok(&["load", "-q", "-i", &file])?;
        assert_eq!(world.ok(&["images", "-q", "--no-trunc"])?, image);
        let run = ["run", "--rm", "example.com/made/by:podman", "echo", "hello"];
        assert_eq!(world.ok(&run)?, "hello");
        world.ok(&["rmi", "example.com/made/by:podman"])?;
    }
    let file = format!("docker-archive:{}:built/by:buildah", text(&world.path("buildah.tar")));
    let made = containers_tool("buildah", &home, &["from", "example.com/made/by:podman"])?;
    containers_tool("buildah", &home, &["config", "--cmd", "echo built", &made])?;
    containers_tool("buildah", &home, &["commit", "-q", &made, &file])?;
    world.ok(&["load", "-q", "-i", &text(&world.path("buildah.tar"))])?;
    assert_eq!(world.ok(&["run", "--rm", "built/by:buildah"])?, "built");
    world.finish()
}

#[test]
fn archives_of_umoci_are_loaded_and_exports_are_read_by_podman_umoci_and_skopeo() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let umoci = |arguments: &[&str]| succeed(Command::new("umoci").args(arguments));
    let (layout, bundle) = (text(&world.path("layout")), text(&world.path("bundle")));
    let image = format!("{layout}:made");
    umoci(&["init", "--layout", &layout])?;
    umoci(&["new", "--image", &image])?;
    umoci(&["unpack", "--image", &image, &bundle])?;
    images::busybox_rootfs(&world.path("bundle/rootfs"))?;
    umoci(&["repack", "--image", &image, &bundle])?;
    umoci(&["config", "--image", &image, "--config.cmd", "/bin/echo", "--config.cmd", "umoci's"])?;
    let file = text(&world.path("umoci.tar"));
    succeed(Command::new("tar").args(["-C", &layout, "-cf", &file, "."]))?;
    world.ok(&["load", "-q", "-i", &file, "--tag", "by/umoci:1"])?;
    assert_eq!(world.ok(&["run", "--name", "web", "by/umoci:1"])?, "umoci's");

    let export = text(&world.path("web.tar"));
    world.ok(&["export", "-o", &export, "web"])?;
    let busybox = |file: &str| format!("cmp {file} /bin/busybox");
    let same = |file: &str| succeed(Command::new("sh").args(["-c", &busybox(file)]));
    umoci(&["new", "--image", &format!("{layout}:export")])?;
    umoci(&["raw", "add-layer", "--image", &format!("{layout}:export"), &export])?;
    umoci(&["unpack", "--image", &format!("{layout}:export"), &text(&world.path("again"))])?;
    same(&text(&world.path("again/rootfs/bin/busybox")))?;
    let copied = text(&world.path("copied"));
    skopeo(&["copy", "--quiet", &format!("tarball:{export}"), &format!("oci:{copied}:1")])?;
    umoci(&["unpack", "--image", &format!("{copied}:1"), &text(&world.path("third"))])?;
    same(&text(&world.path("third/rootfs/bin/busybox")))?;
    let home = world.path("home");
    fs::create_dir(&home)?;
    containers_tool("podman", &home, &["import", "-q", &export, "from/isula:1"])?;
    let mounted = containers_tool("podman", &home, &["image", "mount", "from/isula:1"])?;
    same(&format!("{mounted}/bin/busybox"))?;
    containers_tool("podman", &home, &["image", "umount", "from/isula:1"])?;
    world.finish()
}

#[test]
fn an_oci_directory_is_loaded_and_a_broken_save_leaves_no_file() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let layout = text(&images::busybox()?);
    world.ok(&["load", "-i", &layout, "--tag", "bb:1"])?;
    assert_eq!(world.ok(&["run", "--rm", "bb:1", "echo", "hi"])?, "hi");
    let target = text(&world.path("none.tar"));
    world.refused(&["save", "-o", &target, "bb:1", "absent"], 1, "no such image: absent")?;
    world.refused(&["save", "--format", "zip", "bb:1"], 125, "docker-archive")?;
    world.refused(&["save", "--format", "oci-dir", "bb:1"], 125, "--output")?;
    let left = fs::read_dir(world.path(""))?.filter_map(Result::ok);
    assert_eq!(left.filter(|e| e.file_name().to_string_lossy().contains("none.tar")).count(), 0);
    world.finish()
}

#[test]
fn an_export_is_a_tar_of_what_the_container_sees_whether_it_runs_or_not() -> Result<()> {
    let world = World::new("lcr")?;
    let script = "echo changed > /etc/new && rm /bin/true && ln -s /etc/shadow /link && sleep 1000";
    world.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", script])?;
    while world.run(&["exec", "web", "test", "-L", "/link"])?.code != 0 {}
    let file = text(&world.path("web.tar"));
    let listing = || -> Result<String> {
        world.ok(&["export", "-o", &file, "web"])?;
        succeed(Command::new("tar").args(["--numeric-owner", "-tvf", &file]))
    };
    let running = listing()?;
    world.ok(&["stop", "-t", "0", "web"])?;
    let stopped = listing()?;
    for listed in [&running, &stopped] {
        ensure!(listed.contains("etc/new") && listed.contains("link -> /etc/shadow"), "{listed}");
        ensure!(!listed.contains("bin/true\n") && !listed.contains(".wh."), "{listed}");
        // Nothing that is mounted is in it.
        ensure!(!listed.contains("proc/1/") && !listed.contains("dev/null"), "{listed}");
    }
    let changes = world.ok(&["diff", "web"])?;
    for change in ["A /etc/new", "D /bin/true", "A /link", "C /etc"] {
        ensure!(changes.lines().any(|line| line == change), "{change}: {changes}");
    }
    let id = world.ok(&["import", "-c", "CMD [\"cat\", \"/etc/new\"]", &file, "again:1"])?;
    ensure!(id.starts_with("sha256:"));
    assert_eq!(world.ok(&["run", "--rm", "again:1"])?, "changed");
    // By a pipe, and from a server of this machine.
    let piped = world.isula(&["export", "web"])?.output()?;
    assert_eq!(piped.stdout, fs::read(&file)?);
    let outcome = world.run_with(&["import", "-", "piped:1"], &piped.stdout)?;
    let found = world.ok(&["images", "-q", "--no-trunc", "piped:1"])?;
    assert_eq!(outcome.stdout.trim_end(), found, "{outcome:#?}");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/web.tar", listener.local_addr()?);
    let server = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let _ = stream.read(&mut [0; 4096])?;
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", piped.stdout.len())?;
        Ok(stream.write_all(&piped.stdout)?)
    });
    world.ok(&["import", &url, "fetched:1"])?;
    ensure!(server.join().is_ok_and(|served| served.is_ok()));
    world.finish()
}

#[test]
fn a_client_that_goes_away_ends_the_export_in_the_daemon_too() -> Result<()> {
    let mut world = World::new("lcr")?;
    world.ok(&[
        "run",
        "--name",
        "big",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/big",
        "bs=1M",
        "count=64",
    ])?;
    let mut child = world.isula(&["export", "big"])?.stdout(Stdio::piped()).spawn()?;
    let mut some = [0; 1 << 16];
    child.stdout.as_mut().map(|out| out.read_exact(&mut some)).transpose()?;
    let pid = world.daemon()?.pid();
    let writers = || -> Result<usize> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))?.filter_map(Result::ok);
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        Ok(names.filter(|name| name.trim() == "image-write").count())
    };
    assert_eq!(writers()?, 1);
    child.kill()?;
    child.wait()?;
    while writers()? > 0 {}
    world.finish()
}

#[test]
fn damage_is_found_and_repaired_by_the_next_pull() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let layout = format!("oci:{}:latest", images::busybox()?.display());
    let reference = world.registry()?.push(&layout, "team/busybox:1")?;
    world.ok(&["pull", "-q", &reference])?;
    ensure!(world.ok(&["system", "check"])?.ends_with(": 0 damaged"));
    let layers = world.path("data/storage/layers");
    let busybox = fs::read_dir(&layers)?
        .filter_map(|entry| Some(entry.ok()?.path().join("diff/bin/busybox")))
        .find(|path| path.is_file());
    let busybox = busybox.ok_or_else(|| anyhow::anyhow!("no busybox"))?;
    let mut bytes = fs::read(&busybox)?;
    if let Some(byte) = bytes.get_mut(1000) {
        *byte ^= 1;
    }
    fs::write(&busybox, bytes)?;
    let found = world.run(&["system", "check"])?;
    assert_eq!(found.code, 1, "{found:#?}");
    ensure!(found.stdout.ends_with("1 damaged\n") && found.stderr.contains("is damaged"));
    assert_eq!(fs::read_dir(world.path("data/storage/quarantine"))?.count(), 1);
    ensure!(world.run(&["run", "--rm", &reference, "true"])?.code != 0);
    world.ok(&["pull", "-q", &reference])?;
    assert_eq!(world.ok(&["run", "--rm", &reference, "echo", "whole"])?, "whole");
    ensure!(world.ok(&["system", "check"])?.ends_with(": 0 damaged"));
    world.finish()
}

#[test]
fn unused_images_are_pruned_and_usage_and_history_are_told() -> Result<()> {
    let world = World::new("lcr")?;
    world.ok(&["tag", "busybox", "used:1"])?;
    let tar = text(&world.path("x.tar"));
    fs::write(world.path("hello"), "hello")?;
    succeed(Command::new("tar").args(["-C", &text(&world.path("")), "-cf", &tar, "hello"]))?;
    world.ok(&["import", "-m", "by hand", "-c", "LABEL keep=no", &tar])?;
    world.ok(&["import", "-c", "LABEL keep=yes", &tar, "kept:1"])?;
    world.ok(&["run", "--name", "web", "used:1", "true"])?;
    let history = world.ok(&["history", "--format", "{{.ID}} {{.Size}} {{.Comment}}", "kept:1"])?;
    assert_eq!(history.lines().count(), 1, "{history}");
    let usage = world.ok(&["system", "df"])?;
    ensure!(usage.contains("Images          3         1"), "{usage}");
    ensure!(world.ok(&["system", "df", "-v"])?.contains("kept"));
    let pruned = world.ok(&["image", "prune", "-f"])?;
    ensure!(pruned.contains("deleted: sha256:") && pruned.contains("reclaimed space"), "{pruned}");
    assert_eq!(world.ok(&["image", "ls", "-q"])?.lines().count(), 3);
    world.ok(&["image", "prune", "-af", "--filter", "label!=keep=yes"])?;
    assert_eq!(world.ok(&["images", "-q", "kept"])?.lines().count(), 1);
    world.ok(&["image", "prune", "-af", "--filter", "until=24h"])?;
    assert_eq!(world.ok(&["images", "-q", "kept"])?.lines().count(), 1);
    world.ok(&["image", "prune", "-af"])?;
    assert_eq!(world.ok(&["images", "-q", "kept"])?, "");
    assert_eq!(world.ok(&["image", "inspect", "-f", "{{.Os}}", "used:1"])?, "linux");
    world.refused(&["image", "rm", "used:1", "busybox"], 1, "web").ok();
    world.finish()
}

#[test]
fn an_embedded_image_is_run_from_the_hosts_own_directory() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let root = world.path("device");
    fs::create_dir_all(root.join("bin"))?;
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    let manifest = format!(
        r#"{{"schemaVersion": 1, "mediaType": "application/vnd.isula.embedded.manifest.v1+json",
        "name": "device/base:1", "layers": [{{"path": "{}"}}], "config": {{"Cmd": ["/bin/busybox", "echo", "device"]}}}}"#,
        root.display()
    );
    fs::write(world.path("manifest.json"), manifest)?;
    world.ok(&["load", "-t", "embedded", "-i", &text(&world.path("manifest.json"))])?;
    assert_eq!(world.ok(&["run", "--rm", "device/base:1"])?, "device");
    world.ok(&["run", "--rm", "device/base:1", "/bin/busybox", "touch", "/written"])?;
    ensure!(!root.join("written").exists());
    world.refused(&["save", "-o", &text(&world.path("x")), "device/base:1"], 1, "embedded")?;
    world.kill_and_restart()?;
    assert_eq!(world.ok(&["run", "--rm", "device/base:1"])?, "device");
    world.ok(&["rmi", "device/base:1"])?;
    ensure!(root.join("bin/busybox").exists());
    world.finish()
}

#[test]
fn a_limit_on_the_writable_layer_holds_or_is_refused() -> Result<()> {
    let world = World::new("lcr")?;
    world.refused(&["create", "--storage-opt", "size=0", "busybox"], 125, "storage-opt")?;
    world.refused(&["create", "--storage-opt", "foo=1", "busybox"], 125, "storage-opt")?;
    let write = [
        "run",
        "--rm",
        "--storage-opt",
        "size=8M",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/x",
        "bs=1M",
        "count=16",
    ];
    let outcome = world.run(&write)?;
    ensure!(outcome.code != 0, "{outcome:#?}");
    let words = ["project quotas", "No space left", "Disk quota exceeded"];
    ensure!(words.iter().any(|words| outcome.stderr.contains(words)), "{outcome:#?}");
    world.finish()
}
