//! The directory of networks. The kernel notes its changes; whoever asks for the networks takes the
//! notes first, so an answer is never old, and nothing runs when nobody asks.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};

use super::{
    conflist::{Conflist, LIMIT},
    error::NetworkError,
};

/// The networks, by file name; the first is the default one.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub networks: Vec<Arc<Conflist>>,
    /// What is wrong with the first broken file.
    pub broken: Option<(PathBuf, String)>,
    /// The engine's own network, which is never the default one.
    own: Option<Arc<Conflist>>,
}

impl Loaded {
    /// All networks, the engine's own last unless a file has taken its name.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Conflist>> {
        let is_free = |own: &&Arc<Conflist>| self.networks.iter().all(|one| one.name != own.name);
        self.networks.iter().chain(self.own.as_ref().filter(is_free))
    }

    /// The network of this name, or the default one.
    pub(super) fn find(
        &self,
        name: Option<&str>,
        directory: &Path,
    ) -> Result<Arc<Conflist>, NetworkError> {
        let found = match name {
            Some(name) => self.all().find(|network| network.name == name),
            None => self.networks.first(),
        };
        if let Some(network) = found {
            return Ok(Arc::clone(network));
        }
        Err(match (name, &self.broken) {
            (Some(name), _) => NetworkError::NoSuchNetwork(name.to_owned()),
            (None, Some((path, message))) => {
                NetworkError::Config { path: path.clone(), message: message.clone() }
            }
            (None, None) => NetworkError::NoneConfigured(directory.to_owned()),
        })
    }
}

/// A directory of conflists.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    own: Option<Arc<Conflist>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` as long as the directory is not there.
    notes: Option<OwnedFd>,
    loaded: Option<Arc<Loaded>>,
}

impl Directory {
    /// The networks of this directory, and the engine's own.
    pub(super) fn new(path: PathBuf, own: Option<Arc<Conflist>>) -> Self {
        Self { path, own, state: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The networks that the directory describes now.
    pub(super) fn current(&self) -> Arc<Loaded> {
        let mut state = self.lock();
        if state.notes.as_ref().is_none_or(has_changed) {
            (state.notes, state.loaded) = (None, None);
        }
        if let Some(loaded) = &state.loaded {
            return Arc::clone(loaded);
        }
        // Watched before it is read: what changes in between is noted.
        state.notes = match watch(&self.path) {
            Ok(notes) => Some(notes),
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            Err(error) => {
                tracing::warn!("cannot watch {}: {error}", self.path.display());
                None
            }
        };
        let mut loaded = load(&self.path, state.notes.as_ref());
        loaded.own.clone_from(&self.own);
        let loaded = Arc::new(loaded);
        if state.notes.is_some() {
            state.loaded = Some(Arc::clone(&loaded));
        }
        loaded
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch(path: &Path) -> rustix::io::Result<OwnedFd> {
    let notes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    add(&notes, path).map(|()| notes)
}

fn add(notes: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    let events = WatchFlags::CREATE
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(notes, path, events).map(drop)
}

/// Takes what was noted; anything at all means that the directory is read again.
fn has_changed(notes: &OwnedFd) -> bool {
    let mut buffer = [0; 4096];
    !matches!(rustix::io::read(notes, &mut buffer), Err(Errno::AGAIN | Errno::INTR))
}

fn load(path: &Path, notes: Option<&OwnedFd>) -> Loaded {
    let mut loaded = Loaded::default();
    let files = match configurations(path, &["conf", "conflist", "json"]) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return loaded,
        Err(error) => {
            loaded.broken = Some((path.to_owned(), error.to_string()));
            return loaded;
        }
    };
    for file in files {
        let network = read(&file).and_then(|bytes| Conflist::parse(&file, &bytes));
        let network = network.and_then(|list| with_directory(path, list, notes));
        let twin = |network: &Conflist| loaded.networks.iter().any(|n| n.name == network.name);
        match network {
            Ok(network) if twin(&network) => {
                tracing::warn!("{}: there is a network {} already", file.display(), network.name);
            }
            Ok(network) => loaded.networks.push(Arc::new(network)),
            Err(message) => {
                tracing::warn!("{}: {message}", file.display());
                loaded.broken.get_or_insert((file, message));
            }
        }
    }
    loaded
}

/// Adds the plugins of the files in a directory of the network's name.
fn with_directory(
    path: &Path,
    mut list: Conflist,
    notes: Option<&OwnedFd>,
) -> Result<Conflist, String> {
    let directory = path.join(&list.name);
    if list.has_directory() && directory.is_dir() {
        if let Some(notes) = notes {
            add(notes, &directory).map_err(|error| error.to_string())?;
        }
        for file in configurations(&directory, &["conf"]).map_err(|error| error.to_string())? {
            read(&file)
                .and_then(|bytes| list.add(&bytes))
                .map_err(|message| format!("{}: {message}", file.display()))?;
        }
    }
    match list.plugins.is_empty() {
        true => Err("it has no plugins".to_owned()),
        false => Ok(list),
    }
}

/// The files with these endings, by name.
fn configurations(directory: &Path, endings: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| endings.iter().any(|e| end == *e)))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > LIMIT {
        true => Err(format!("it is larger than {LIMIT} bytes")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(name: &str) -> String {
        format!(r#"{{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{{"type": "x"}}]}}"#)
    }

    fn names(directory: &Directory) -> Vec<String> {
        directory.current().networks.iter().map(|network| network.name.clone()).collect()
    }

    #[test]
    fn every_change_is_seen_by_the_next_question() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("net.d");
        let directory = Directory::new(path.clone(), None);
        assert!(names(&directory).is_empty());
        fs::create_dir(&path).unwrap();
        assert!(names(&directory).is_empty());
        fs::write(path.join("20-b.conflist"), conf("b")).unwrap();
        assert_eq!(names(&directory), ["b"]);
        fs::write(path.join("10-a.conflist"), conf("a")).unwrap();
        fs::write(path.join("30-a.conflist"), conf("a")).unwrap();
        fs::write(path.join("40.txt"), conf("c")).unwrap();
        assert_eq!(names(&directory), ["a", "b"]);
        let same = directory.current();
        assert!(Arc::ptr_eq(&same, &directory.current()));
        fs::write(path.join("10-a.conflist"), "{").unwrap();
        assert_eq!(names(&directory), ["b", "a"]);
        fs::rename(path.join("20-b.conflist"), root.path().join("b")).unwrap();
        fs::remove_file(path.join("30-a.conflist")).unwrap();
        let loaded = directory.current();
        let error = loaded.find(None, &path).unwrap_err().to_string();
        assert!(error.contains("10-a.conflist: EOF"), "{error}");
        fs::remove_dir_all(&path).unwrap();
        let error = directory.current().find(None, &path).unwrap_err().to_string();
        assert!(error.starts_with("no network is configured in"), "{error}");
    }

    #[test]
    fn the_engines_own_network_gives_way_to_a_file_and_is_never_the_default() {
        let root = tempfile::tempdir().unwrap();
        let own = Conflist::parse(Path::new("/x.conflist"), conf("own").as_bytes()).unwrap();
        let directory = Directory::new(root.path().to_owned(), Some(Arc::new(own)));
        let found = |name| directory.current().find(name, root.path());
        assert!(found(None).is_err());
        assert_eq!(found(Some("own")).unwrap().path, Path::new("/x.conflist"));
        fs::write(root.path().join("a.conflist"), conf("a")).unwrap();
        assert_eq!(found(None).unwrap().name, "a");
        fs::write(root.path().join("b.conflist"), conf("own")).unwrap();
        assert_eq!(found(Some("own")).unwrap().path, root.path().join("b.conflist"));
        let all: Vec<String> = directory.current().all().map(|one| one.name.clone()).collect();
        assert_eq!(all, ["a", "own"]);
    }

    #[test]
    fn plugins_in_a_directory_of_the_network_belong_to_it() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path().to_owned(), None);
        fs::write(root.path().join("a.conflist"), conf("a")).unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/1.conf"), r#"{"type": "y"}"#).unwrap();
        let count = |directory: &Directory| directory.current().networks[0].plugins.len();
        assert_eq!(count(&directory), 2);
        fs::write(root.path().join("a/2.conf"), r#"{"type": "z"}"#).unwrap();
        assert_eq!(count(&directory), 3);
    }
}
