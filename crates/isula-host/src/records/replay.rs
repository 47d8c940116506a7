//! What the journal says becomes what the plain files say: after a crash, and whenever a half of
//! the journal is to be used again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use isula_core::{
    container::Container,
    id::ContainerId,
    ports::{Quarantined, Restored},
};
use isula_sys::files;

use super::{
    document::{self, Documents},
    journal::Record,
    plain::{self, Places},
    trash::Trash,
};

/// The newest change of a container in some part of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) runtime: String,
    pub(super) what: What,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The documents are now these.
    Put(Documents),
    /// The container is gone.
    Gone,
    /// The plain files are right.
    Direct,
}

/// The newest change of each container, from payloads in order. Payloads that are no records (of a
/// newer version, say) come back as reasons.
pub(super) fn fold<'a>(
    payloads: impl Iterator<Item = &'a Vec<u8>>,
) -> (BTreeMap<ContainerId, Change>, Vec<String>) {
    let mut newest = BTreeMap::new();
    let mut reasons = Vec::new();
    for payload in payloads {
        match read(payload) {
            Ok((id, change)) => {
                newest.insert(id, change);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    (newest, reasons)
}

/// A change, from its payload.
pub(super) fn read(payload: &[u8]) -> Result<(ContainerId, Change), String> {
    let record: Record<'_> = postcard::from_bytes(payload)
        .map_err(|error| format!("a record is unreadable: {error}"))?;
    let id = ContainerId::try_from(record.id().to_owned()).map_err(|error| error.to_string())?;
    let (runtime, what) = match record {
        Record::Put { runtime, config, host, .. } => {
            (runtime, What::Put(Documents { config: config.to_owned(), host: host.to_owned() }))
        }
        Record::Gone { runtime, .. } => (runtime, What::Gone),
        Record::Direct { runtime, .. } => (runtime, What::Direct),
    };
    Ok((id, Change { runtime: runtime.to_owned(), what }))
}

/// Makes the plain files of one container say what the change says.
pub(super) fn apply(
    places: &Places,
    trash: &Trash,
    id: &ContainerId,
    change: &Change,
) -> io::Result<()> {
    let place = places.container(id, &change.runtime)?;
    match &change.what {
        What::Put(documents) => plain::mend(&place, documents),
        What::Gone => place.iter().try_for_each(|path| trash.take(path).map(drop)),
        What::Direct => Ok(()),
    }
}

/// Reads every container there is but those that are `known` already; moves aside what is damaged
/// and away what was never acknowledged.
pub(super) fn scan(
    places: &Places,
    trash: &Trash,
    quarantine: &Path,
    known: &BTreeSet<ContainerId>,
) -> io::Result<Restored> {
    let mut found = Vec::new();
    let mut restored = Restored::default();
    for entry in fs::read_dir(places.engines())? {
        let entry = entry?;
        let Ok(runtime) = entry.file_name().into_string() else { continue };
        if places.runtime(&runtime).is_err() || !entry.path().is_dir() {
            tracing::warn!(path = %entry.path().display(), "this is no directory of a runtime");
            continue;
        }
        list(&entry.path(), &runtime, trash, &mut found)?;
    }
    found.retain(|found| !known.contains(&found.id));
    for (path, outcome) in read_all(found) {
        match outcome {
            Ok(container) => restored.containers.push(container),
            Err(reason) => restored.quarantined.push(set_aside(quarantine, path, reason)),
        }
    }
    Ok(restored)
}

struct Found {
    path: PathBuf,
    runtime: Arc<Directory>,
    id: ContainerId,
}

/// The directory of a runtime: what is in it is opened from it, without a walk over its path.
struct Directory {
    runtime: String,
    open: OwnedFd,
}

fn list(directory: &Path, runtime: &str, trash: &Trash, found: &mut Vec<Found>) -> io::Result<()> {
    let open = files::open_directory(directory)?;
    let runtime = Arc::new(Directory { runtime: runtime.to_owned(), open });
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if plain::is_new(&name) {
            trash.take(&path)?;
        } else if let Ok(id) = ContainerId::try_from(name) {
            found.push(Found { path, runtime: Arc::clone(&runtime), id });
        } else {
            tracing::warn!(path = %path.display(), "this is no directory of a container");
        }
    }
    Ok(())
}

type Outcome = (PathBuf, Result<Arc<Container>, String>);

/// Bytes that both documents of a container fit into, as a rule.
const BUFFER: usize = 32 << 10;

/// Below this number a further thread costs more than it gains.
const WORTH_A_THREAD: usize = 256;

/// Reads the containers, with all processors when there are many.
fn read_all(found: Vec<Found>) -> Vec<Outcome> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = found.len().div_ceil(processors.max(1)).max(WORTH_A_THREAD);
    let read = |found: &[Found]| -> Vec<Outcome> {
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut read = |found: &Found| read_one(found, &mut buffer).map(Arc::new);
        found.iter().map(|found| (found.path.clone(), read(found))).collect()
    };
    std::thread::scope(|scope| {
        let (here, others) = found.split_at(share.min(found.len()));
        let others: Vec<_> =
            others.chunks(share).map(|part| (part, scope.spawn(move || read(part)))).collect();
        let mut outcomes = read(here);
        for (part, thread) in others {
            outcomes.extend(thread.join().unwrap_or_else(|_| read(part)));
        }
        outcomes
    })
}

fn read_one(found: &Found, buffer: &mut Vec<u8>) -> Result<Container, String> {
    let directory = &found.runtime;
    buffer.clear();
    let mut read = |name: &str| {
        let path = format!("{}/{name}", found.id);
        let read = files::read_at(directory.open.as_fd(), path.as_ref(), buffer);
        read.map(|()| buffer.len()).map_err(|error| format!("cannot read {name}: {error}"))
    };
    let middle = read(document::CONFIG)?;
    read(document::HOST)?;
    let (config, host) = buffer.split_at_checked(middle).unwrap_or_default();
    let decoded = document::decode(config, host);
    let container = decoded.map_err(|error| isula_core::error::chain(&error))?;
    if container.id != found.id {
        return Err(format!("{} is about {}", document::CONFIG, container.id));
    }
    if container.host.runtime != directory.runtime {
        return Err(format!(
            "{} names the runtime {:?}, the directory {:?}",
            document::HOST,
            container.host.runtime,
            directory.runtime
        ));
    }
    Ok(container)
}

/// Moves a damaged record to the quarantine, with the reason beside it.
pub(super) fn set_aside(quarantine: &Path, path: PathBuf, reason: String) -> Quarantined {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 0_u32.. {
        let target = quarantine.join(format!("{name}.{number}"));
        match fs::rename(&path, &target) {
            Ok(()) => {
                let text = format!("{}: {reason}\n", path.display());
                if let Err(error) = fs::write(target.join("reason"), text) {
                    tracing::warn!(path = %target.display(), %error, "cannot write the reason");
                }
                return Quarantined { path: target, reason };
            }
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %reason, %error, "cannot move a damaged record aside");
                break;
            }
        }
    }
    Quarantined { path, reason }
}
