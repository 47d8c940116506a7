//! Checkpoints of processes: what CRIU is told, and what is kept beside its images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use isula_core::error::{ErrorKind, PortError};
use isula_core::ports::{Launch, Result};
use isulad_shim::protocol::{Message, Request};
use lcr::Plan;
use lcr::cgroup::{Cgroup, Controller};
use lcr::checkpoint::{Dump, Outside, Restore};
use serde::{Deserialize, Serialize};

use super::{Runtimes, blocking, failure};

/// CRIU's images within a checkpoint.
const IMAGES: &str = "checkpoint";
/// What [`Kept`] is in.
const MOUNTS: &str = "mounts.json";
/// The largest such file that is read.
const LIMIT: u64 = 16 << 20;
/// Where a restore puts its mounts, in the run directory.
const PLACE: &str = "restore";
/// The engine's own limits end before this one.
const PATIENCE: Duration = Duration::from_hours(1);
/// Where CRIU is looked for.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What the images don't say themselves.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The mounts from outside; their numbers are in the images.
    outside: Vec<Outside>,
    /// What the standard streams of the first process were, where they were pipes.
    streams: [Option<String>; 3],
}

/// The program.
fn criu() -> Result<PathBuf> {
    let mut places = DIRECTORIES.iter().map(|directory| Path::new(directory).join("criu"));
    places.find(|path| path.is_file()).ok_or_else(|| {
        let text = "checkpoints need CRIU, which is not installed (no criu in /usr/sbin)";
        PortError::new(ErrorKind::Unsupported, text)
    })
}

fn cannot(what: &str) -> impl Fn(std::io::Error) -> PortError + '_ {
    move |error| PortError::io(format!("cannot {what}"), error)
}

impl Runtimes {
    pub(super) fn criu_is_there(&self) -> Result<()> {
        criu().map(drop)
    }

    pub(super) async fn checkpoint_container(
        &self,
        launch: &Launch,
        directory: &Path,
    ) -> Result<()> {
        let keeper = self.running(&launch.id)?;
        let program = criu()?;
        if keeper.external {
            let text = format!("runtime {}: only the built-in one can do it", launch.runtime);
            return Err(PortError::new(ErrorKind::Unsupported, text));
        }
        let run = self.directory(&launch.id);
        let root = self.runtime_root(&launch.runtime);
        let compiled = self.compiler.compile(launch, None, (run.path(), &root))?;
        let (cgroup, pid) = (keeper.cgroup()?, keeper.init().pid);
        let directory = directory.to_owned();
        let dump = blocking(move || prepare(&compiled.payload, pid, program, &directory, &cgroup));
        let request = Request::Checkpoint(Box::new(dump.await?));
        match keeper.link.ask(&request, &[], PATIENCE).await? {
            Message::Done => Ok(()),
            other => Err(failure::unexpected(other)),
        }
    }

    /// How a container is brought back from the checkpoint in `directory`.
    pub(super) fn restore_from(&self, launch: &Launch, directory: &Path) -> Result<Restore> {
        let program = criu()?;
        let path = directory.join(MOUNTS);
        let bytes = super::directory::read_file(&path, LIMIT).ok_or_else(|| {
            let text = format!("container {}: its checkpoint is not there", launch.id.short());
            PortError::new(ErrorKind::NotFound, text)
        })?;
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| {
            let text = format!("{}: it does not say what it should", path.display());
            PortError::with_source(ErrorKind::Corrupt, text, error)
        })?;
        Ok(Restore {
            program,
            images: directory.join(IMAGES),
            place: self.directory(&launch.id).path().join(PLACE),
            outside: kept.outside,
            streams: kept.streams,
        })
    }
}

fn prepare(
    plan: &[u8],
    pid: i32,
    program: PathBuf,
    directory: &Path,
    cgroup: &Cgroup,
) -> Result<Dump> {
    let internal = |error: String| PortError::new(ErrorKind::Internal, error);
    let plan = Plan::decode(plan).map_err(|error| internal(error.to_string()))?;
    if let Some(why) = lcr::checkpoint::obstacle(&plan) {
        return Err(PortError::new(ErrorKind::Unsupported, why));
    }
    let outside =
        lcr::checkpoint::survey(&plan, pid).map_err(|error| internal(error.to_string()))?;
    let streams = [0, 1, 2].map(|number| {
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?;
        let text = target.to_string_lossy().into_owned();
        text.starts_with("pipe:[").then_some(text)
    });
    let images = directory.join(IMAGES);
    std::fs::create_dir(&images).map_err(cannot("make a directory for the images"))?;
    let kept = Kept { outside: outside.clone(), streams };
    let text = serde_json::to_vec_pretty(&kept).map_err(|error| internal(error.to_string()))?;
    std::fs::write(directory.join(MOUNTS), text).map_err(cannot("write the list of mounts"))?;
    let freezer = cgroup
        .directory(Controller::Freezer)
        .or_else(|| cgroup.directories().next().map(|(_, directory)| directory))
        .ok_or_else(|| internal("the container has no control group".to_owned()))?;
    Ok(Dump { program, images, work: directory.to_owned(), freezer, outside })
}
