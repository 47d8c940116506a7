//! A store, something beside it that must not change, and the playing of one case.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use isula_core::{
    error::chain,
    image::Image,
    ports::{ByteStream, Credentials, Images, ImportOptions, PullOptions},
};
use isula_image::{Settings, Store};

use crate::{
    image::unseen,
    server::{Reply, Seen, Server, settings},
    tarball::Tar,
};

/// What a layer may unpack to here, and the most that a case may leave on the disk meanwhile.
pub const LAYER_LIMIT: u64 = 8 << 20;
/// The most memory that a case may take beyond what there was.
const MEMORY_LIMIT: usize = 48 << 20;
/// The longest that a case may take; only one that fails does.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What is attacked with.
pub enum Attack {
    /// A root file system to import.
    Import(Vec<u8>),
    /// An archive of images to load.
    Load(Vec<u8>),
    /// A registry to pull `x/y:1` from, as `me` if it asks who is there.
    Pull(Box<dyn Fn(&Seen) -> Reply + Send + Sync>),
    /// The same, by this name.
    PullNamed(String, Box<dyn Fn(&Seen) -> Reply + Send + Sync>),
}

/// What must come of it.
pub enum Wanted {
    /// An error with these words.
    Refused(&'static str),
    /// It is taken, and harmless.
    Safe,
    /// It is taken, and the tree of its layer is so.
    Tree(fn(&Path)),
}

pub struct Case {
    pub name: &'static str,
    pub attack: Attack,
    pub wanted: Wanted,
}

pub struct World {
    directory: tempfile::TempDir,
    store: Store,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        fs::create_dir_all(outside.join("dir/inner")).unwrap();
        fs::write(outside.join("victim"), "untouched").unwrap();
        fs::write(outside.join("dir/file"), "untouched too").unwrap();
        symlink("victim", outside.join("link")).unwrap();
        let root = directory.path().join("storage");
        let (registry, unpacked_limit) = (settings(), Some(LAYER_LIMIT));
        let store = Store::open(Settings { root, registry, unpacked_limit }).unwrap();
        Self { directory, store }
    }

    /// Where nothing may change.
    pub fn outside(&self) -> String {
        self.directory.path().join("outside").display().to_string()
    }

    fn storage(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// Plays a case; what is wrong is added to `faults`.
    pub async fn play(&self, case: Case, faults: &mut Vec<String>) {
        let Case { name, attack, wanted } = case;
        let mut fault = |text: String| faults.push(format!("{name}: {text}"));
        let (outside, stored) = (tree(&self.directory.path().join("outside")), self.stored());
        let resident = forget_peak();
        let outcome = tokio::time::timeout(TIME_LIMIT, self.attempt(attack)).await;
        let grown = memory("VmHWM:").saturating_sub(resident);
        if grown > MEMORY_LIMIT {
            fault(format!("it took {} KiB of memory", grown >> 10));
        }
        let used = disk(&self.storage());
        if used > 2 * LAYER_LIMIT {
            fault(format!("{} KiB of the disk are used", used >> 10));
        }
        match (outcome, wanted) {
            (Err(_), _) => fault("it hangs".to_owned()),
            (Ok(Err(text)), Wanted::Refused(said)) => {
                if !text.contains(said) || text.contains(['\n', '\0']) || text.len() > 4096 {
                    fault(format!("wanted {said:?}, found {text:?}"));
                }
            }
            (Ok(Err(text)), _) => fault(format!("refused: {text}")),
            (Ok(Ok(_)), Wanted::Refused(said)) => fault(format!("not refused with {said:?}")),
            (Ok(Ok(images)), wanted) => {
                if let Wanted::Tree(check) = wanted {
                    for layer in &images[0].layers {
                        check(&self.storage().join("layers").join(layer.hex()).join("diff"));
                    }
                }
            }
        }
        self.forget_images().await;
        let left = self.wait_until_stored(&stored);
        if left != stored {
            fault(format!("left: {left:?}, before: {stored:?}"));
        }
        if tree(&self.directory.path().join("outside")) != outside {
            fault("something outside has changed".to_owned());
        }
        let good = Tar::default().file("fine", b"fine").end();
        if let Err(text) = self.attempt(Attack::Import(good)).await {
            fault(format!("the store is out of order: {text}"));
        }
        self.forget_images().await;
        self.wait_until_stored(&stored);
    }

    async fn attempt(&self, attack: Attack) -> Result<Vec<std::sync::Arc<Image>>, String> {
        let outcome = match attack {
            Attack::Import(bytes) => {
                let reference = Some("hostile:1".parse().unwrap());
                let options = ImportOptions { reference, ..ImportOptions::default() };
                self.store.import(pieces(bytes), options).await.map(|image| vec![image])
            }
            Attack::Load(bytes) => self.store.load(pieces(bytes), None, unseen()).await,
            Attack::Pull(script) => return self.pull("x/y:1", script).await,
            Attack::PullNamed(name, script) => return self.pull(&name, script).await,
        };
        outcome.map_err(|error| chain(&error))
    }

    async fn pull(
        &self,
        name: &str,
        script: Box<dyn Fn(&Seen) -> Reply + Send + Sync>,
    ) -> Result<Vec<std::sync::Arc<Image>>, String> {
        let server = Server::start(script);
        let text = format!("{}/{name}", server.address);
        let reference = text.parse().map_err(|error| format!("{error}"))?;
        let credentials =
            Some(Credentials { username: "me".to_owned(), password: "secret".to_owned() });
        let options = PullOptions { credentials, ..PullOptions::default() };
        let pulled = self.store.pull(&reference, options, unseen()).await;
        pulled.map(|image| vec![image]).map_err(|error| chain(&error))
    }

    async fn forget_images(&self) {
        for image in Images::list(&self.store) {
            self.store.remove(&image.id.to_string(), true).await.unwrap();
        }
    }

    /// What there is in the store, trees of layers left out.
    fn stored(&self) -> Vec<String> {
        let mut all = Vec::new();
        for dir in ["blobs/sha256", "layers", "images", "refs", "tmp", "trash", "quarantine"] {
            for entry in fs::read_dir(self.storage().join(dir)).unwrap() {
                all.push(format!("{dir}/{}", entry.unwrap().file_name().display()));
            }
        }
        all.sort();
        all
    }

    /// The trash is emptied behind; gives what there is when it is as wanted, or for too long is not.
    fn wait_until_stored(&self, wanted: &[String]) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let stored = self.stored();
            if stored == wanted || begun.elapsed() > TIME_LIMIT {
                return stored;
            }
            std::thread::yield_now();
        }
    }
}

fn pieces(bytes: Vec<u8>) -> ByteStream {
    let bytes = Bytes::from(bytes);
    let starts = (0..bytes.len()).step_by(64 << 10);
    let pieces: Vec<_> =
        starts.map(|start| Ok(bytes.slice(start..bytes.len().min(start + (64 << 10))))).collect();
    Box::pin(stream::iter(pieces))
}

/// Everything of a tree that an attack could change.
fn tree(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut line = format!(
            "{} {:o} {} {} {} {} {} {}",
            path.display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec()
        );
        if meta.is_file() {
            line.push_str(&fs::read_to_string(&path).unwrap());
        } else if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.push(line);
    }
    all.sort();
    all
}

/// Bytes on the disk below a directory, a few levels deep.
fn disk(root: &Path) -> u64 {
    let mut sum = 0;
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        sum += meta.blocks() * 512;
        if meta.is_dir()
            && depth < 8
            && let Ok(entries) = fs::read_dir(&path)
        {
            waiting.extend(entries.flatten().map(|entry| (entry.path(), depth + 1)));
        }
    }
    sum
}

/// A line of our status, in bytes.
fn memory(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Lets the peak of our memory begin anew; gives what is resident.
fn forget_peak() -> usize {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    memory("VmRSS:")
}
