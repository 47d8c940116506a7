//! Pulls that a person breaks off, layers as other tools compress them, and how the list of images is
//! asked.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use anyhow::{Context, Result, ensure};
use isula_tests::{World, images, programs::succeed, terminal::Terminal};

/// A registry with busybox whose layers stop after a few bytes, until it is told to go on.
struct Halting {
    address: String,
    /// What becomes of the layers.
    layers: Receiver<Layer>,
    halts: Arc<AtomicBool>,
}

/// What becomes of a layer of such a registry.
#[derive(Debug, PartialEq)]
enum Layer {
    /// Its first bytes are sent.
    Begun,
    /// Somebody has hung up on it.
    Gone,
}

impl Halting {
    /// Waits for this to become of both layers.
    fn both(&self, wanted: &Layer) -> Result<()> {
        for _ in 0..2 {
            let layer = self.layers.recv_timeout(std::time::Duration::from_secs(60))?;
            ensure!(layer == *wanted, "{layer:?} before {wanted:?}");
        }
        Ok(())
    }

    fn start() -> Result<Self> {
        let layout = images::busybox()?;
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
        let manifest = index["manifests"][0]["digest"].as_str().context("no manifest")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (tell, layers) = channel();
        let halts = Arc::new(AtomicBool::new(true));
        let halting = Arc::clone(&halts);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let blobs = Blobs { layout: layout.clone(), manifest: manifest.clone() };
                let (halting, tell) = (Arc::clone(&halting), tell.clone());
                std::thread::spawn(move || blobs.serve(&stream, &halting, &tell));
            }
        });
        Ok(Self { address, layers, halts })
    }
}

struct Blobs {
    layout: PathBuf,
    manifest: String,
}

impl Blobs {
    fn serve(&self, stream: &TcpStream, halts: &AtomicBool, tell: &Sender<Layer>) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        // The first byte of TLS is no text: then nothing is said.
        while reader.read_line(&mut line)? > 0 {
            let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            while reader.read_line(&mut line)? > 2 {}
            line.clear();
            let (digest, kind) = match target.rsplit_once("/blobs/") {
                Some((_, digest)) => (digest, "application/octet-stream"),
                None => (&*self.manifest, "application/vnd.oci.image.manifest.v1+json"),
            };
            let hex = digest.trim_start_matches("sha256:");
            let bytes = fs::read(self.layout.join("blobs/sha256").join(hex))?;
            let mut out = stream;
            let length = bytes.len();
            write!(
                out,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            )?;
            // Layers begin as gzip does.
            if bytes.starts_with(&[0x1f, 0x8b]) && halts.load(Ordering::SeqCst) {
                out.write_all(bytes.get(..64).unwrap_or_default())?;
                tell.send(Layer::Begun)?;
                // Nobody sends anything more: what can be read is the end.
                let ended = reader.read(&mut [0; 64]).map_or(true, |length| length == 0);
                ensure!(ended, "a request before the answer");
                tell.send(Layer::Gone)?;
                return Ok(());
            }
            out.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// Waits until something holds, of which no event tells.
fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = std::time::Instant::now();
    while !holds()? {
        ensure!(began.elapsed().as_secs() < 60, "{what}: it never came to that");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}

fn empty(world: &World, directories: &[&str]) -> Result<()> {
    for directory in directories {
        let path = world.path("data/storage").join(directory);
        // The store forgets behind the answer.
        until(&path.display().to_string(), || Ok(fs::read_dir(&path)?.count() == 0))?;
    }
    Ok(())
}

#[test]
fn a_pull_that_is_broken_off_at_the_terminal_ends_in_the_daemon_too() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let registry = Halting::start()?;
    let reference = format!("{}/team/busybox:1", registry.address);
    let mut terminal = Terminal::start(&world.isula(&["pull", &reference])?, 24, 100)?;
    terminal.expect(&format!("Image \"{reference}\" pulling"))?;
    // A bar for each layer.
    terminal.expect("] 0 B/")?;
    registry.both(&Layer::Begun)?;
    terminal.send("\u{3}")?;
    assert_eq!(terminal.wait()?.code(), Some(130));
    // The daemon hangs up on the registry, long before it would lose its patience.
    registry.both(&Layer::Gone)?;
    empty(&world, &["tmp", "layers", "blobs/sha256", "images", "refs"])?;
    assert_eq!(world.ok(&["images", "-q"])?, "");
    registry.halts.store(false, Ordering::SeqCst);
    world.ok(&["pull", "-q", &reference])?;
    assert_eq!(world.ok(&["run", "--rm", &reference, "echo", "whole"])?, "whole");
    world.finish()
}

/// Waits until the daemon keeps something of an upload, or nothing any more.
fn until_it_keeps(world: &mut World, something: bool) -> Result<()> {
    until("an upload", || Ok(keeps_something(world)? == something))
}

/// Whether the daemon keeps something of an upload, in a file with a name or without.
fn keeps_something(world: &mut World) -> Result<bool> {
    let tmp = world.path("data/storage/tmp");
    let open = fs::read_dir(format!("/proc/{}/fd", world.daemon()?.pid()))?;
    let mut open = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(open.any(|path| path.starts_with(&tmp)) || fs::read_dir(&tmp)?.count() > 0)
}

#[test]
fn a_load_that_is_broken_off_leaves_nothing() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let archive = fs::read(images::busybox_docker_archive()?)?;
    for command in [&["load"][..], &["import", "-", "x:1"]] {
        let mut client = world.isula(command)?;
        client.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut client = client.spawn()?;
        let mut stdin = client.stdin.take().context("no stdin")?;
        stdin.write_all(archive.get(..archive.len() / 2).unwrap_or_default())?;
        until_it_keeps(&mut world, true)?;
        let pid = rustix::process::Pid::from_child(&client);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        assert_eq!(client.wait()?.code(), Some(130), "{command:?}");
        until_it_keeps(&mut world, false)?;
        empty(&world, &["tmp", "layers", "blobs/sha256", "images", "refs"])?;
    }
    world.finish()
}

/// The magic number of a frame that is skipped, in which zstd:chunked has its table of contents.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// The blobs of a registry's directory.
fn blobs(directory: &Path) -> Result<Vec<Vec<u8>>> {
    let found =
        succeed(Command::new("find").arg(directory).args(["-name", "data", "-size", "+1k"]))?;
    found.lines().map(|path| Ok(fs::read(path)?)).collect()
}

#[test]
fn layers_are_pulled_however_they_are_compressed() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let home = world.path("home");
    fs::create_dir(&home)?;
    let layout = format!("oci:{}:latest", images::busybox()?.display());
    crate::archives::containers_tool("podman", &home, &["pull", "-q", &layout])?;
    let image = crate::archives::containers_tool("podman", &home, &["images", "-q", "--no-trunc"])?;
    let address = world.registry()?.address().to_owned();
    for (compression, begins) in
        [("gzip", &[0x1f, 0x8b][..]), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]), ("zstd:chunked", &[])]
    {
        fs::remove_dir_all(world.path("registry/blobs")).or_else(|error| {
            if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
        })?;
        let reference = format!("{address}/{}/busybox:1", compression.replace(':', "-"));
        let push = [
            "push",
            "-q",
            "--tls-verify=false",
            "--format=oci",
            "--compression-format",
            compression,
            &image,
            &reference,
        ];
        crate::archives::containers_tool("podman", &home, &push)?;
        let layers = blobs(&world.path("registry/blobs"))?;
        let largest = layers.iter().max_by_key(|layer| layer.len()).context("no layers")?;
        match compression {
            "zstd:chunked" => ensure!(
                largest.windows(4).any(|bytes| bytes == SKIPPABLE),
                "it has no table of contents"
            ),
            _ => ensure!(largest.starts_with(begins), "{compression} is not what podman made"),
        }
        world.ok(&["pull", "-q", &reference])?;
        let run = ["run", "--rm", &reference, "sh", "-c", "busybox echo $(stat -c %a /tmp)"];
        assert_eq!(world.ok(&run)?, "1777", "{compression}");
    }
    // Three ways to pack the same two layers.
    assert_eq!(fs::read_dir(world.path("data/storage/layers"))?.count(), 2);
    world.finish()
}

#[test]
fn images_are_listed_by_every_flag_and_filter() -> Result<()> {
    let world = World::new("lcr")?;
    let tar = world.path("x.tar").display().to_string();
    fs::write(world.path("hello"), "hello")?;
    let directory = world.path("").display().to_string();
    succeed(Command::new("tar").args(["-C", &directory, "-cf", &tar, "hello"]))?;
    let first = world.ok(&["import", "-c", "LABEL team=a", &tar, "shop/front:1"])?;
    let second = world.ok(&["import", "-c", "LABEL team=b", &tar, "shop/front:2"])?;
    let nameless = world.ok(&["import", "-m", "nameless", &tar])?;
    world.ok(&["tag", "shop/front:2", "shop/back:9"])?;
    let busybox = world.ok(&["images", "-q", "--no-trunc", "busybox"])?;

    let list = |flags: &[&str]| -> Result<Vec<String>> {
        let all = [&["images", "--format", "{{.Repository}}:{{.Tag}}"], flags].concat();
        let mut rows: Vec<_> = world.ok(&all)?.lines().map(str::to_owned).collect();
        rows.sort_unstable();
        Ok(rows)
    };
    let all = ["<none>:<none>", "busybox:latest", "shop/back:9", "shop/front:1", "shop/front:2"];
    let (latest, front) = (["busybox:latest"], ["shop/front:1", "shop/front:2"]);
    for (flags, wanted) in [
        (&[][..], &all[..]),
        (&["-a"], &all),
        (&["busybox"], &latest),
        (&["shop/front"], &front),
        (&["shop/front:2"], &front[1..]),
        (&["shop/*"], &all[2..]),
        (&["-f", "reference=*/front"], &front),
        (&["-f", "dangling=true"], &all[..1]),
        (&["-f", "dangling=false"], &all[1..]),
        (&["-f", "label=team"], &all[2..]),
        (&["-f", "label=team=a"], &front[..1]),
        (&["-f", "label=team=a", "-f", "dangling=true"], &[]),
        (&["-f", "before=shop/front:1"], &latest),
        (&["-f", "until=2026-01-02T00:00:00Z"], &latest),
        (&["absent"], &[]),
    ] {
        assert_eq!(list(flags)?, wanted, "{flags:?}");
    }
    let since = list(&["-f", "since=busybox"])?;
    assert_eq!(since.len(), 4, "{since:?}");
    world.refused(&["images", "-f", "size=1"], 1, "there is no such key")?;
    world.refused(&["images", "-f", "before=absent"], 1, "absent")?;

    let ids = world.ok(&["images", "-q", "--no-trunc"])?;
    for id in [&first, &second, &nameless, &busybox] {
        ensure!(ids.lines().any(|line| line == id), "{id} is not in {ids}");
    }
    ensure!(world.ok(&["images", "-q"])?.lines().all(|line| line.len() == 12));
    ensure!(world.ok(&["images", "--digests"])?.starts_with("REPOSITORY   TAG       DIGEST"));
    let json = world.ok(&["images", "--format", "json", "busybox"])?;
    let row: serde_json::Value = serde_json::from_str(json.lines().next().unwrap_or_default())?;
    ensure!(row["Tag"] == "latest" || row[0]["Tag"] == "latest", "{json}");

    // By the start of its id, by its whole id, by force while a stopped container needs it.
    world.ok(&["rmi", nameless.get(7..19).unwrap_or_default()])?;
    world.ok(&["run", "--name", "web", "busybox", "true"])?;
    world.refused(&["rmi", &busybox], 1, "needs it")?;
    world.refused(&["rmi", &second], 1, "names")?;
    world.ok(&["rmi", "-f", &second])?;
    world.ok(&["rmi", &first])?;
    assert_eq!(list(&[])?, latest);
    world.finish()
}
