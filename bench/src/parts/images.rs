//! Images: pulled from a registry on loopback, loaded, saved, exported; with what the machine can
//! do at best beside them.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use isula_sys::{namespace, process};
use isula_tests::{programs::repository, registry::Registry};
use sha2::{Digest, Sha256};

use super::{
    Bench,
    pictures::{LARGE, MANY, Picture},
};
use crate::{
    engines::Engine,
    measure::{Cost, measure_command, timed},
    op::ImageOp,
    place::{Home, Host, Place},
    report::Report,
};

/// Mount namespace.
const NEW_MOUNTS: u32 = 0x0002_0000;

/// Each image with each engine that has images, and without any.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Bench { home, engines, options, report } = bench;
    let blobs = repository().join("target/test-images/bench-registry");
    for picture in [LARGE, MANY] {
        fill(home, &blobs, &picture)?;
        for engine in &*engines {
            let served = registry(home, engine.place(), &blobs)?;
            for _ in 0..options.images {
                if let Err(error) = pull(&**engine, &served, &picture, report) {
                    let row = format!("pull, {}", picture.about);
                    report.failure(("images", &row), engine.name(), &error);
                    break;
                }
            }
        }
        without_engine(home, &blobs, &picture, options.images, report)?;
    }
    for engine in &*engines {
        if let Err(error) = archives(&**engine, &LARGE, report) {
            report.failure(("images", "archives"), engine.name(), &error);
        }
    }
    Ok(())
}

/// Puts the image into the registry's directory, once.
fn fill(home: &Home, blobs: &Path, picture: &Picture) -> Result<()> {
    let done = blobs.join(format!("{}.done", picture.name));
    if done.exists() {
        return Ok(());
    }
    home.enter()?;
    let registry = start(blobs)?;
    let layout = picture.layout()?;
    registry.push(&format!("oci:{}:latest", layout.display()), &name(picture))?;
    Ok(fs::write(done, "")?)
}

fn name(picture: &Picture) -> String {
    format!("bench/{}:latest", picture.name)
}

/// A registry in the engine's network, whose own work is not counted.
fn registry(home: &Home, place: &Place, blobs: &Path) -> Result<Registry> {
    place.visit(home)?;
    start(blobs)
}

fn start(blobs: &Path) -> Result<Registry> {
    let blobs = blobs.to_owned();
    // The thread that reads its log must not share this thread's view of the file systems, or this
    // one could not change places any more.
    let started = std::thread::spawn(move || {
        namespace::unshare(NEW_MOUNTS)?;
        Registry::start(&blobs)
    });
    started.join().map_err(|_| anyhow::anyhow!("the registry's thread panicked"))?
}

fn pull(
    engine: &dyn Engine,
    registry: &Registry,
    picture: &Picture,
    report: &mut Report,
) -> Result<()> {
    let reference = format!("{}/{}", registry.address(), name(picture));
    let row = format!("pull, {}", picture.about);
    let Some(command) = engine.image(&ImageOp::Pull(&reference))? else {
        return Ok(());
    };
    for pid in engine.daemons() {
        // The peak is that of the pull.
        drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
    }
    let mut client = 0;
    let cost = timed(engine, || {
        client = watched(command)?;
        Ok(())
    });
    let cost = cost.with_context(|| crate::engines::tail(&engine.place().path("errors")))?;
    report.time(("images", &row), engine.name(), cost);
    let daemons: u64 = engine.daemons().into_iter().map(peak).sum();
    let most = (daemons + client) as f64 / 1024.0;
    report.number(("peak", &row), engine.name(), (most, ""));
    if let Some(remove) = engine.image(&ImageOp::Remove(&reference))? {
        let row = format!("rmi, {}", picture.about);
        report.time(("images", &row), engine.name(), measure_command(engine, remove)?);
    }
    Ok(())
}

/// Runs a client; its highest memory in KiB.
fn watched(mut command: Command) -> Result<u64> {
    let mut client = command.spawn()?;
    let descriptor = process::open(i32::try_from(client.id())?)?;
    let mut most = 0;
    while !process::wait_at_most(descriptor.as_fd(), Some(Duration::from_millis(10)))? {
        most = most.max(peak(client.id()));
    }
    let status = client.wait()?;
    ensure!(status.success(), "a client failed ({status})");
    Ok(most)
}

/// The highest resident set of a process so far, in KiB.
fn peak(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}

/// skopeo, which unpacks nothing, and the floors: download alone; inflating and hashing alone.
fn without_engine(
    home: &Home,
    blobs: &Path,
    picture: &Picture,
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let place = home.place("no-engine", Host::AsIs)?;
    let registry = registry(home, &place, blobs)?;
    let layers = layers(picture)?;
    let row = format!("pull, {}", picture.about);
    let mut note = |row: &str, engine: &str, cost: Cost| report.time(("images", row), engine, cost);
    for _ in 0..rounds {
        let target = place.path("copy");
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--src-tls-verify=false"]);
        skopeo.arg(format!("docker://{}/{}", registry.address(), name(picture)));
        skopeo.arg(format!("oci:{target}:latest"));
        let cost = within(&place, || {
            ensure!(skopeo.status()?.success(), "skopeo failed");
            Ok(())
        })?;
        note(&row, "skopeo", cost);
        drop(fs::remove_dir_all(&target));
        let cost = within(&place, || download(&registry, picture, &layers))?;
        note(&format!("download alone, {}", picture.about), "floor", cost);
        let cost = within(&place, || layers.iter().try_for_each(|path| digest(path)))?;
        note(&format!("gunzip and both hashes alone, {}", picture.about), "floor", cost);
    }
    drop(registry);
    home.enter()
}

fn within(place: &Place, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    place.enter()?;
    let before = place.account().usage()?;
    let began = std::time::Instant::now();
    work()?;
    let wall = began.elapsed().as_secs_f64() * 1e3;
    Ok(Cost { wall, cpu: (place.account().usage()? - before) as f64 / 1e6 })
}

/// The blobs of an image, but for the smallest: configuration and manifest.
fn layers(picture: &Picture) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(picture.layout()?.join("blobs/sha256"))? {
        let entry = entry?;
        if entry.metadata()?.len() > 16 << 10 {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn download(registry: &Registry, picture: &Picture, layers: &[PathBuf]) -> Result<()> {
    for layer in layers {
        let digest = layer.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut stream = TcpStream::connect(registry.address())?;
        write!(
            stream,
            "GET /v2/bench/{}/blobs/sha256:{digest} HTTP/1.0\r\nHost: {}\r\n\r\n",
            picture.name,
            registry.address()
        )?;
        let mut buffer = vec![0; 1 << 18];
        let mut sum = 0;
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            sum += length as u64;
        }
        ensure!(sum > fs::metadata(layer)?.len(), "the registry sent {sum} bytes of {digest}");
    }
    Ok(())
}

/// Both hashes of a layer, of what it is and of what is in it, in one pass.
fn digest(path: &Path) -> Result<()> {
    let packed = Hashed { inner: File::open(path)?, hash: Sha256::new() };
    let mut plain = flate2::read::GzDecoder::new(io::BufReader::with_capacity(1 << 17, packed));
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let length = plain.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(buffer.get(..length).unwrap_or_default());
    }
    std::hint::black_box((hash.finalize(), plain.into_inner().into_inner().hash.finalize()));
    Ok(())
}

struct Hashed {
    inner: File,
    hash: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

/// Load, save and export of the large image.
fn archives(engine: &dyn Engine, picture: &Picture, report: &mut Report) -> Result<()> {
    let archive = picture.archive()?.display().to_string();
    let reference = format!("docker.io/{}", name(picture));
    let file = engine.place().path("written.tar");
    let steps = [
        ("load", ImageOp::Load(&archive)),
        ("save", ImageOp::Save(&reference, &file)),
        ("", ImageOp::Create(&reference, "exported")),
        ("export", ImageOp::Export("exported", &file)),
        ("", ImageOp::RemoveContainer("exported")),
        ("rmi", ImageOp::Remove(&reference)),
    ];
    let images = engine.image(&ImageOp::Load(&archive))?.is_some();
    for (word, op) in steps.into_iter().filter(|_| images) {
        let row = format!("{word}, {}", picture.about);
        engine.place().enter()?;
        match engine.image(&op)? {
            // Removal is measured after pulls.
            Some(command) if word == "rmi" => drop(measure_command(engine, command)?),
            Some(command) => {
                let cost = measure_command(engine, command)?;
                if !word.is_empty() {
                    report.time(("images", &row), engine.name(), cost);
                }
            }
            None if word.is_empty() => {}
            None => report.note(("images", &row), engine.name(), "has none"),
        }
        drop(fs::remove_file(&file));
    }
    Ok(())
}
