//! The floor under `create` and `rm`: the files that a container consists of while it does not run,
//! and one sync for each change. No engine, no request, no JSON is made or read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{Clock, Cost};

/// Bytes of the journal, made before anything is measured.
const JOURNAL: usize = 4 << 20;
/// Bytes of a record in it.
const RECORD: usize = 1536;
/// Files of a container and their sizes; the last two are further names of files that are there.
const FILES: [(&str, usize); 6] = [
    ("config.v2.json", 1248),
    ("hostconfig.json", 201),
    ("config.json", 36 << 10),
    ("hostname", 13),
    ("hosts", 174),
    ("resolv.conf", 60),
];
const TWINS: [&str; 2] = ["seccomp", "ocihooks.json"];

/// Where it is done.
struct Site {
    containers: PathBuf,
    snapshots: PathBuf,
    trash: PathBuf,
    twin: PathBuf,
    journal: Journal,
}

/// A file that is there before anything is written to it.
pub struct Journal {
    file: File,
    position: u64,
}

impl Journal {
    /// Makes it.
    pub fn make(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&vec![0; JOURNAL])?;
        file.sync_all()?;
        Ok(Self { file, position: 0 })
    }

    /// Writes a record.
    pub fn append(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[1; RECORD], self.position)?;
        self.position = (self.position + RECORD as u64) % (JOURNAL - RECORD) as u64;
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// What it costs to make so many containers one after the other, and to remove them.
pub fn measure(work: &Path, cgroup: &Path, count: usize) -> io::Result<(Cost, Cost)> {
    let mut site = Site::prepare(work)?;
    let clock = Clock::start(cgroup);
    for number in 0..count {
        site.create(&format!("{number:064x}"))?;
    }
    let create = clock.cost();
    let clock = Clock::start(cgroup);
    for number in 0..count {
        site.remove(&format!("{number:064x}"))?;
    }
    let remove = clock.cost();
    fs::remove_dir_all(work)?;
    Ok((create, remove))
}

impl Site {
    fn prepare(work: &Path) -> io::Result<Self> {
        let at = |name: &str| work.join(name);
        for name in ["engines", "snapshots", "trash"] {
            fs::create_dir_all(at(name))?;
        }
        fs::write(at("twin"), "null\n")?;
        Ok(Self {
            containers: at("engines"),
            snapshots: at("snapshots"),
            trash: at("trash"),
            twin: at("twin"),
            journal: Journal::make(&at("journal"))?,
        })
    }

    fn create(&mut self, id: &str) -> io::Result<()> {
        let directory = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        let snapshot = self.snapshots.join(id);
        directory(&snapshot)?;
        directory(&snapshot.join("work"))?;
        directory(&snapshot.join("diff"))?;
        fs::hard_link(&self.twin, snapshot.join("image"))?;
        let new = self.containers.join(format!(".new-{id}"));
        directory(&new)?;
        directory(&new.join("mounts"))?;
        for (name, size) in FILES {
            let path = new.join(name);
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
            file.write_all(&vec![b'x'; size])?;
        }
        for name in TWINS {
            fs::hard_link(&self.twin, new.join(name))?;
        }
        self.journal.append()?;
        self.journal.sync()?;
        fs::rename(&new, self.containers.join(id))
    }

    fn remove(&mut self, id: &str) -> io::Result<()> {
        self.journal.append()?;
        fs::rename(self.containers.join(id), self.trash.join(id))?;
        self.journal.sync()?;
        fs::rename(self.snapshots.join(id), self.trash.join(format!("{id}.snapshot")))
    }
}
