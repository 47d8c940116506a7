//! The journal: one preallocated file to which every change of a record is appended, so that being
//! durable costs one `fdatasync` that everything waiting shares.
//!
//! ```text
//!   half 0                                   half 1
//!   ┌────────┬────────┬───┬──────────────┐   ┌────────┬────────┬───┬───────────┐
//!   │ record │ record │ … │ zeros or old │   │ record │ record │ … │           │
//!   └────────┴────────┴───┴──────────────┘   └────────┴────────┴───┴───────────┘
//!   record: magic u32 │ length u32 │ generation u64 │ crc u32 │ payload
//! ```
//!
//! A half is filled front to back, then the other one, which must have been *settled* before: what
//! its records say is in synced plain files. The half of the lower generation is older. The
//! checksum of a record goes on from that of the record before it, so the records of a half that
//! count are those from its start up to the first whose checksum is wrong: a torn tail is the
//! normal trace of a crash, nothing behind it was acknowledged, and no record written later in its
//! place lets what is behind it count again.
//!
//! Every change is in the journal before any plain file of an acknowledged container is touched.

mod format;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use isula_core::id::ContainerId;
use tokio::sync::oneshot;

pub(super) use format::{Contents, Record};
use format::{HEADER, frame, id_of, scan};

/// What became of a record that was to be appended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is in the file (not yet synced), under this number; numbers only grow.
    At(u64),
    /// The half is full: flip first.
    Full,
}

/// Where the payload of a record is in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload {
    at: u64,
    length: usize,
}

/// Whether a sync succeeded; shared by all that waited for it.
pub(super) type Synced = Result<(), Arc<io::Error>>;

/// The journal while the daemon runs.
pub(super) struct Journal {
    file: File,
    half_size: usize,
    state: Mutex<State>,
}

struct State {
    half: Half,
    /// Where the next record goes, from the start of the half.
    offset: usize,
    generation: u64,
    /// The checksum of the record before it in this half.
    chain: u32,
    /// The number of the last record.
    last: u64,
    /// The number of the last record in each half.
    ends: [u64; 2],
    settled: [bool; 2],
    /// The number of the newest record of each container that has one in an unsettled half.
    newest: HashMap<ContainerId, u64>,
    syncing: bool,
    waiting: Vec<oneshot::Sender<Synced>>,
    /// How often that was.
    syncs: u64,
}

/// One of the two halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    First,
    Second,
}

impl Half {
    pub(super) const BOTH: [Self; 2] = [Self::First, Self::Second];

    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn of<T>(self, pair: &mut [T; 2]) -> &mut T {
        let [first, second] = pair;
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}

impl Journal {
    /// Opens the journal, or makes an empty one of two halves of `half_size` bytes, and gives what
    /// is in it, the older half first. Appending goes on where it ended.
    pub(super) fn open(path: &Path, half_size: usize) -> io::Result<(Self, [Contents; 2])> {
        let file = open_filled(path, half_size * 2)?;
        let mut contents = [Contents::default(), Contents::default()];
        let mut bytes = vec![0; half_size];
        for half in Half::BOTH {
            file.read_exact_at(&mut bytes, start(half, half_size))?;
            *half.of(&mut contents) = scan(&bytes);
        }
        let [first, second] = &contents;
        let current = if second.generation > first.generation { Half::Second } else { Half::First };
        if current == Half::First {
            contents.reverse();
        }
        let [older, newer] = &contents;
        let mut state = State {
            half: current,
            offset: newer.length,
            generation: newer.generation.max(1),
            chain: newer.chain,
            last: 0,
            ends: [0, 0],
            settled: [true, true],
            newest: HashMap::new(),
            syncing: false,
            waiting: Vec::new(),
            syncs: 0,
        };
        for (half, contents) in [(current.other(), older), (current, newer)] {
            for payload in &contents.payloads {
                state.last += 1;
                if let Some(id) = id_of(payload) {
                    state.newest.insert(id, state.last);
                }
                *half.of(&mut state.ends) = state.last;
                *half.of(&mut state.settled) = false;
            }
        }
        Ok((Self { file, half_size, state: Mutex::new(state) }, contents))
    }

    /// The longest payload that is appended; longer ones take the direct way.
    pub(super) fn limit(&self) -> usize {
        self.half_size / 4
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record of a container to the file. It survives the daemon from now on, and a
    /// power cut after the next [`Journal::sync`].
    pub(super) fn append(&self, id: &ContainerId, payload: &[u8]) -> io::Result<Appended> {
        let mut state = self.state();
        if state.offset + HEADER + payload.len() > self.half_size {
            return Ok(Appended::Full);
        }
        let (bytes, chain) = frame(payload, state.generation, state.chain)?;
        let at = start(state.half, self.half_size) + state.offset as u64;
        self.file.write_all_at(&bytes, at)?;
        state.offset += bytes.len();
        state.chain = chain;
        state.last += 1;
        let number = state.last;
        let half = state.half;
        *half.of(&mut state.ends) = number;
        *half.of(&mut state.settled) = false;
        state.newest.insert(id.clone(), number);
        Ok(Appended::At(number))
    }

    /// The number of the container's newest record, if it has one that is not settled.
    pub(super) fn newest(&self, id: &ContainerId) -> Option<u64> {
        self.state().newest.get(id).copied()
    }

    /// Completes when everything that was appended before the call is durable. Must be called
    /// within a tokio runtime.
    pub(super) fn sync(self: &Arc<Self>) -> oneshot::Receiver<Synced> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push(sender);
        if !state.syncing {
            state.syncing = true;
            let journal = Arc::clone(self);
            tokio::task::spawn_blocking(move || journal.commit());
        }
        receiver
    }

    /// As [`Journal::sync`], from where blocking is allowed: the first of all that wait syncs for
    /// them right here.
    pub(super) fn sync_here(self: &Arc<Self>) -> oneshot::Receiver<Synced> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push(sender);
        if state.syncing {
            return receiver;
        }
        state.syncing = true;
        drop(state);
        if self.commit_once() {
            // Whoever came meanwhile does not keep this one from its answer.
            let journal = Arc::clone(self);
            tokio::task::spawn_blocking(move || journal.commit());
        }
        receiver
    }

    /// Makes everything appended so far durable; it blocks.
    pub(super) fn sync_now(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Syncs for all that wait, again and again until nobody does.
    fn commit(&self) {
        while self.commit_once() {}
    }

    /// Syncs for all that wait. True if somebody has come meanwhile; else `syncing` is over.
    fn commit_once(&self) -> bool {
        let waiting = {
            let mut state = self.state();
            state.syncs += 1;
            std::mem::take(&mut state.waiting)
        };
        let result = self.file.sync_data().map_err(Arc::new);
        if result.is_err() {
            // The kernel has dropped what it could not write: a record behind that hole would
            // never be found again. So this half is at its end.
            self.state().offset = self.half_size;
        }
        for waiter in waiting {
            // A waiter that has gone away wants no answer.
            let _ = waiter.send(result.clone());
        }
        let mut state = self.state();
        state.syncing = !state.waiting.is_empty();
        state.syncing
    }

    /// Whether a payload of this length fits in the half in use.
    pub(super) fn fits(&self, length: usize) -> bool {
        self.state().offset + HEADER + length <= self.half_size
    }

    /// The half that is not in use, if it must be settled before it can be.
    pub(super) fn unsettled(&self) -> Option<Half> {
        let mut state = self.state();
        let other = state.half.other();
        (!*other.of(&mut state.settled)).then_some(other)
    }

    /// Goes on to the other half, which is settled, and gives the one that was left.
    pub(super) fn flip(&self) -> Half {
        let mut state = self.state();
        let left = state.half;
        state.half = left.other();
        state.offset = 0;
        state.chain = 0;
        state.generation += 1;
        left
    }

    /// Bytes of records in the half in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.state().offset
    }

    /// How often the file was synced for those that wait.
    #[cfg(test)]
    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The newest records in a half of the containers of which no newer one is in the other: where
    /// their payloads are.
    pub(super) fn newest_in(&self, half: Half) -> io::Result<BTreeMap<ContainerId, Payload>> {
        let mut found = BTreeMap::new();
        let from = start(half, self.half_size);
        let read_at =
            |buffer: &mut [u8], at: usize| self.file.read_exact_at(buffer, from + at as u64);
        format::walk(self.half_size, read_at, |at, payload| {
            if let Some(id) = id_of(payload) {
                found.insert(id, Payload { at: from + at as u64, length: payload.len() });
            }
        })?;
        found.retain(|id, _| self.is_newest_in(half, id));
        Ok(found)
    }

    /// A payload.
    pub(super) fn read(&self, Payload { at, length }: Payload) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Whether a half has the newest record of a container (else the other half has a newer one).
    pub(super) fn is_newest_in(&self, half: Half, id: &ContainerId) -> bool {
        let mut state = self.state();
        let end = *half.of(&mut state.ends);
        let other = *half.other().of(&mut state.ends);
        // Of two halves in use one lies wholly before the other.
        match state.newest.get(id) {
            Some(number) => *number <= end && (other > end || *number > other),
            None => false,
        }
    }

    /// Everything in this half up to its end is in synced plain files, or in the other half; makes
    /// the latter durable too.
    pub(super) fn settle(&self, half: Half) -> io::Result<()> {
        self.file.sync_data()?;
        let mut state = self.state();
        let end = *half.of(&mut state.ends);
        let other = *half.other().of(&mut state.ends);
        *half.of(&mut state.settled) = true;
        state.newest.retain(|_, number| *number > end || (*number <= other && other < end));
        state.newest.shrink_to_fit();
        Ok(())
    }
}

fn start(half: Half, half_size: usize) -> u64 {
    match half {
        Half::First => 0,
        Half::Second => half_size as u64,
    }
}

/// Opens a file of at least this size, whose blocks exist: an append needs no space later, and no
/// metadata has to be synced with it.
fn open_filled(path: &Path, size: usize) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let file = options.open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length < size {
        file.write_all_at(&vec![0; size - length], length as u64)?;
        file.sync_all()?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{Appended, Contents, Journal, Record};
    use isula_core::id::ContainerId;

    fn texts(contents: &Contents) -> Vec<&[u8]> {
        contents.payloads.iter().map(Vec::as_slice).collect()
    }

    fn put(number: u8) -> (ContainerId, Vec<u8>) {
        let id = ContainerId::from_random([number; 32]);
        let record = Record::Gone { id: id.as_str(), runtime: "lcr" }.encode().unwrap();
        (id, record)
    }

    #[test]
    fn the_halves_are_used_in_turn_and_read_back_older_first() {
        const HALF: usize = 120;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let ((a, first), (b, second)) = (put(1), put(2));
        let (journal, contents) = Journal::open(&path, HALF).unwrap();
        assert_eq!(contents.iter().map(|c| c.payloads.len()).sum::<usize>(), 0);
        assert_eq!(journal.append(&a, &first).unwrap(), Appended::At(1));
        assert_eq!(journal.append(&b, &second).unwrap(), Appended::Full);
        let left = journal.flip();
        assert!(journal.is_newest_in(left, &a));
        assert!(!journal.is_newest_in(left.other(), &a));
        assert_eq!(journal.append(&b, &second).unwrap(), Appended::At(2));
        drop(journal);

        let (journal, [older, newer]) = Journal::open(&path, HALF).unwrap();
        assert_eq!((texts(&older), texts(&newer)), (vec![&first[..]], vec![&second[..]]));
        assert_eq!((journal.newest(&a), journal.newest(&b)), (Some(1), Some(2)));
        assert_eq!(journal.append(&a, &first).unwrap(), Appended::Full);
        assert_eq!(journal.unsettled(), Some(left));
        journal.settle(left).unwrap();
        assert_eq!((journal.unsettled(), journal.newest(&a)), (None, None));
        journal.flip();
        assert_eq!(journal.append(&b, &second).unwrap(), Appended::At(3));
        assert!(journal.is_newest_in(left, &b));
        assert!(!journal.is_newest_in(left.other(), &b));
        journal.settle(left.other()).unwrap();
        assert_eq!(journal.newest(&b), Some(3));
    }

    #[test]
    fn a_journal_that_was_cut_short_is_filled_up_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (journal, _) = Journal::open(&path, 200).unwrap();
        let ((a, first), (b, second)) = (put(1), put(2));
        journal.append(&a, &first).unwrap();
        journal.append(&b, &second).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(150).unwrap();
        let (_, [_, newer]) = Journal::open(&path, 200).unwrap();
        assert_eq!(texts(&newer), [&first[..]]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 400);
    }
}
