//! The daemon is killed at random instants of what changes images. Afterwards everything that was
//! acknowledged is there and verifies, nothing else is, and no orphan is left on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use isula_tests::{
    World, images,
    programs::{repository, succeed},
};

use crate::dice::Dice;

/// Deaths, unless `ISULA_DEATHS` says otherwise.
const DEATHS: usize = 200;
/// No further death after this time, unless `ISULA_DEATHS` asks for them: a slow machine has fewer.
const LIMIT: Duration = Duration::from_secs(85);

/// Names and the ids they mean.
type Names = BTreeMap<String, String>;

/// What can be asked for, and what it means.
struct Sources {
    registry: Vec<(String, String)>,
    archive: PathBuf,
    archive_id: String,
    /// Layers of each image, and what is in them.
    layers: BTreeMap<String, BTreeSet<String>>,
    trees: BTreeMap<String, u64>,
    /// How long each kind of operation took without a death.
    usual: BTreeMap<&'static str, Duration>,
}

/// One operation: the kind, the command, and the names after it.
struct Step {
    kind: &'static str,
    command: Vec<String>,
    after: Names,
}

fn generated(directory: &Path, arguments: &[&str]) -> Result<String> {
    let script = repository().join("tests/images/generated.py");
    succeed(Command::new(script).arg(directory).args(arguments))?;
    Ok(format!("oci:{}:latest", directory.display()))
}

impl Sources {
    /// Pulls and loads everything once, and remembers what came of it.
    fn learn(world: &mut World) -> Result<Self> {
        let several = generated(&world.path("several"), &["4", "800", "4000000"])?;
        let busybox = format!("oci:{}:latest", images::busybox()?.display());
        let registry = world.registry()?;
        let pushed = [registry.push(&several, "several:1")?, registry.push(&busybox, "busybox:1")?];
        let archive = images::busybox_docker_archive()?;
        let mut sources = Self {
            registry: Vec::new(),
            archive_id: String::new(),
            layers: BTreeMap::new(),
            trees: BTreeMap::new(),
            usual: BTreeMap::new(),
            archive,
        };
        for name in pushed {
            let id = sources.learn_one(world, "pull", &["pull", "-q", &name], &name)?;
            sources.registry.push((name, id));
        }
        let file = sources.archive.display().to_string();
        let name = "docker.io/library/busybox:latest";
        sources.archive_id = sources.learn_one(world, "load", &["load", "-i", &file], name)?;
        Ok(sources)
    }

    fn learn_one(
        &mut self,
        world: &World,
        kind: &'static str,
        command: &[&str],
        name: &str,
    ) -> Result<String> {
        let begun = Instant::now();
        world.ok(command)?;
        let usual = self.usual.entry(kind).or_default();
        *usual = begun.elapsed().max(*usual);
        let names = names(world)?;
        let (_, id) = names.iter().next().with_context(|| format!("no image after {command:?}"))?;
        let layers = entries(world, "layers")?;
        for layer in &layers {
            self.trees.insert(layer.clone(), tree(&layer_of(world, layer))?);
        }
        self.layers.insert(id.clone(), layers);
        let begun = Instant::now();
        world.ok(&["tag", name, "measured:1"])?;
        self.usual.insert("tag", begun.elapsed());
        world.ok(&["rmi", "measured:1"])?;
        let begun = Instant::now();
        world.ok(&["rmi", name])?;
        self.usual.insert("rmi", begun.elapsed());
        settle(world, &BTreeSet::new())?;
        Ok(id.clone())
    }

    /// A step that makes sense with these names.
    fn next(&self, names: &Names, dice: &mut Dice) -> Step {
        let mut after = names.clone();
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let choice = dice.below(if names.is_empty() { 4 } else { 10 });
        let some = names.keys().nth(usize::try_from(dice.below(names.len() as u64)).unwrap_or(0));
        match (choice, some) {
            (0..=1, _) | (_, None) => {
                let place = usize::try_from(dice.below(self.registry.len() as u64)).unwrap_or(0);
                let (name, id) = &self.registry[place];
                after.insert(name.clone(), id.clone());
                Step { kind: "pull", command: words(&["pull", "-q", name]), after }
            }
            (2..=3, _) => {
                after.insert("busybox:latest".to_owned(), self.archive_id.clone());
                let archive = self.archive.display().to_string();
                Step { kind: "load", command: words(&["load", "-i", &archive]), after }
            }
            (4..=5, Some(name)) => {
                let new = format!("tagged{}:1", dice.below(3));
                after.insert(new.clone(), names[name].clone());
                Step { kind: "tag", command: words(&["tag", name, &new]), after }
            }
            (_, Some(name)) => {
                after.remove(name);
                Step { kind: "rmi", command: words(&["rmi", name]), after }
            }
        }
    }

    fn layers_of(&self, names: &Names) -> BTreeSet<String> {
        names.values().filter_map(|id| self.layers.get(id)).flatten().cloned().collect()
    }
}

/// What `isula images` says.
fn names(world: &World) -> Result<Names> {
    let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
    let rows = world.ok(&["images", "--no-trunc", "--format", format])?;
    let pair = |row: &str| {
        let (name, id) = row.split_once(' ').with_context(|| row.to_owned())?;
        ensure!(!name.contains("<none>"), "an image without a name: {row}");
        Ok((name.to_owned(), id.to_owned()))
    };
    rows.lines().map(pair).collect()
}

fn entries(world: &World, directory: &str) -> Result<BTreeSet<String>> {
    let path = world.path("data/storage").join(directory);
    let entries = fs::read_dir(&path).with_context(|| path.display().to_string())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn layer_of(world: &World, layer: &str) -> PathBuf {
    world.path("data/storage/layers").join(layer).join("diff")
}

/// Waits until the background has removed what is not needed; what it must not leave it fails at.
fn settle(world: &World, layers: &BTreeSet<String>) -> Result<()> {
    let begun = Instant::now();
    loop {
        let there = entries(world, "layers")?;
        ensure!(there.is_superset(layers), "layers are missing: {layers:?}, there: {there:?}");
        let trash = entries(world, "trash")?;
        if there == *layers && trash.is_empty() {
            break;
        }
        let late = begun.elapsed() > Duration::from_secs(30);
        ensure!(!late, "left: {there:?} {trash:?}, wanted: {layers:?}");
        thread::yield_now();
    }
    for directory in ["tmp", "quarantine"] {
        let left = entries(world, directory)?;
        ensure!(left.is_empty(), "{directory}: {left:?}");
    }
    Ok(())
}

/// A sum over everything in a tree: names, kinds, modes, owners, times of files, targets, contents.
fn tree(root: &Path) -> Result<u64> {
    let mut sum = 0_u64;
    let mut add = |bytes: &[u8]| {
        // FNV-1a.
        for byte in bytes {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path)?;
        add(path.strip_prefix(root)?.as_os_str().as_bytes());
        // A directory that the archive takes for granted is as old as its unpacking.
        let modified = if meta.is_dir() { 0 } else { meta.mtime() };
        add(format!("{:o} {} {} {modified}", meta.mode(), meta.uid(), meta.gid()).as_bytes());
        if meta.is_dir() {
            let mut below = fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()?;
            below.sort();
            waiting.append(&mut below);
        } else if meta.is_symlink() {
            add(fs::read_link(&path)?.as_os_str().as_bytes());
        } else if meta.is_file() {
            add(&fs::read(&path)?);
        }
    }
    Ok(sum)
}

/// The state after a death: that before the step or that after it, and all of it sound.
fn check(world: &World, sources: &Sources, allowed: &[&Names]) -> Result<Names> {
    let found = names(world)?;
    ensure!(allowed.contains(&&found), "found {found:?}, allowed: {allowed:#?}");
    let layers = sources.layers_of(&found);
    settle(world, &layers)?;
    let ids: BTreeSet<_> = found.values().map(|id| id.trim_start_matches("sha256:")).collect();
    let records = entries(world, "images")?;
    ensure!(records.len() == ids.len(), "records {records:?}, images {ids:?}");
    for layer in &layers {
        let sum = tree(&layer_of(world, layer))?;
        ensure!(sources.trees.get(layer) == Some(&sum), "layer {layer} is not what it was");
    }
    Ok(found)
}

fn deaths() -> (usize, Duration) {
    let wanted = std::env::var("ISULA_DEATHS").ok().and_then(|text| text.parse().ok());
    wanted.map_or((DEATHS, LIMIT), |wanted| (wanted, Duration::MAX))
}

#[test]
fn a_death_at_any_instant_loses_nothing_acknowledged_and_leaves_nothing_else() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let sources = Sources::learn(&mut world)?;
    let seed = Dice::seed();
    println!("seed {seed:#x}; without deaths: {:?}", sources.usual);
    let (mut dice, mut names, begun) = (Dice(seed), Names::new(), Instant::now());
    let (mut died, mut done) = (0, 0);
    let (deaths, limit) = deaths();
    while died < deaths && begun.elapsed() < limit {
        let step = sources.next(&names, &mut dice);
        let usual = sources.usual.get(step.kind).copied().unwrap_or_default();
        let micros = u64::try_from(usual.as_micros()).unwrap_or(u64::MAX);
        let command: Vec<&str> = step.command.iter().map(String::as_str).collect();
        let mut client = world.isula(&command)?;
        client.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut client = client.spawn()?;
        // The instant is what this test is about; nothing is waited for.
        thread::sleep(Duration::from_micros(dice.below(micros + micros / 4)));
        world.take_daemon()?.kill()?;
        let acknowledged = client.wait()?.success();
        died += 1;
        done += usize::from(acknowledged);
        world.start().with_context(|| format!("after death {died} in {command:?}"))?;
        let allowed: &[&Names] = if acknowledged { &[&step.after] } else { &[&names, &step.after] };
        names = check(&world, &sources, allowed)
            .with_context(|| format!("death {died} in {command:?}, seed {seed:#x}"))?;
    }
    println!("{died} deaths, {done} of them after the answer, in {:?}", begun.elapsed());
    ensure!(died >= deaths.min(20), "only {died} deaths in {LIMIT:?}");
    for name in names.keys() {
        world.ok(&["rmi", name])?;
    }
    settle(&world, &BTreeSet::new())?;
    world.finish()
}
