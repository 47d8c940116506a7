//! What is left of runs: found again after a restart of the daemon, and taken away.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use isula_core::cgroup::{CgroupDriver, ContainerScope, Slice};
use isula_core::container::Exit;
use isula_core::error::{ErrorKind, PortError};
use isula_core::fault;
use isula_core::id::ContainerId;
use isula_core::ports::{Found, Result};
use isulad_shim::protocol::{EXIT, Message, Request};
use jiff::Timestamp;
use lcr::cgroup::Cgroup;
use lcr::seccomp::Profile;
use oci_spec::runtime::Spec;

use super::compile::{BUILT_IN, ExecFilter};
use super::directory::{Named, Record, RunDirectory, read_file};
use super::keeper::{self, Keeper, Parts, end_without_shim, outlive, recorded_exit};
use super::link::Link;
use super::processes::{cannot, is_frozen};
use super::{Runtimes, blocking};
use crate::systemd::Systemd;

/// How long a shim may take to say how it is, which it knows.
const STATUS: Duration = Duration::from_secs(10);
/// How long it may take to end everything; killing and hooks are part of it.
const FAREWELL: Duration = Duration::from_secs(20);
/// How long one that has closed its socket may take to leave.
const LEAVING: Duration = Duration::from_secs(5);
/// No `config.json` is longer.
const CONFIG_LIMIT: u64 = 8 << 20;

impl Runtimes {
    pub(super) async fn recover_container(
        &self,
        id: &ContainerId,
        runtime: &str,
        bundle: PathBuf,
    ) -> Result<Found> {
        if let Some(keeper) = self.find(id) {
            return Ok(self.found(&keeper).await);
        }
        let directory = self.directory(id);
        if !directory.exists() {
            // The machine has restarted, or nothing was begun: a record is of a run whose end
            // nobody has looked at.
            return Ok(
                recorded_exit(&bundle).map_or(Found::Nothing, |(_, exit)| Found::Exited(exit))
            );
        }
        if let Some((link, status)) = connect(&directory).await
            && let Message::Status { started: Some(started), ended } = status
            && let (Some(shim), _) = directory.processes()
        {
            let external = runtime != BUILT_IN;
            let parts = Parts {
                id: id.clone(),
                run: keeper::run(&started, shim),
                filter: self.recovered_filter(&bundle, external).await,
                cgroup: directory.record().and_then(|record| record.cgroup),
                exit: ended.as_ref().map(keeper::exit),
                bundle,
                link,
                external,
            };
            let keeper = Keeper::keep(parts, None);
            self.containers().insert(id.clone(), keeper.clone());
            return Ok(self.found(&keeper).await);
        }
        if let (Some(shim), _) = directory.processes() {
            // One that is about to leave has closed its socket before. One that stays is of another
            // version, or stuck: its container must not pay for that.
            let left = tokio::time::timeout(LEAVING, outlive(shim)).await;
            left.map_err(|_| {
                let text = format!("the shim of container {} does not answer", id.short());
                PortError::new(ErrorKind::Unavailable, text)
            })?;
        }
        blocking(move || Ok(found_without_shim(&directory, &bundle))).await
    }

    async fn found(&self, keeper: &Keeper) -> Found {
        if let Some(exit) = keeper.ended() {
            return Found::Exited(exit);
        }
        let cgroup = keeper.cgroup.clone();
        let paused = blocking(move || Ok(cgroup.as_ref().is_some_and(is_frozen)));
        Found::Running { run: keeper.run.clone(), paused: paused.await.unwrap_or(false) }
    }

    async fn recovered_filter(&self, bundle: &Path, external: bool) -> ExecFilter {
        if external {
            return ExecFilter::Known(None);
        }
        let path = bundle.join("config.json");
        let read = blocking(move || Ok(read_file(&path, CONFIG_LIMIT))).await;
        let spec = read.ok().flatten().and_then(|text| serde_json::from_slice::<Spec>(&text).ok());
        let Some(spec) = spec else { return ExecFilter::Lost };
        let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        self.compiler.filter(profile.map(Profile::Own)).unwrap_or(ExecFilter::Lost)
    }

    pub(super) async fn clean_container(&self, id: &ContainerId, runtime: &str) -> Result<()> {
        let _turn = self.turn(id).await;
        let directory = self.directory(id);
        let keeper = self.containers().remove(id);
        let mut bundle = keeper.as_ref().map(|keeper| keeper.bundle.clone());
        let over = match &keeper {
            Some(keeper) => {
                let request = farewell(keeper.ended().is_some());
                said_farewell(keeper.link.ask(&request, &[], FAREWELL).await)
            }
            None if !directory.exists() => return Ok(()),
            None => match connect(&directory).await {
                Some((link, Message::Status { ended, .. })) => {
                    let request = farewell(ended.is_some());
                    let asked = link.ask_first(&request);
                    match tokio::time::timeout(FAREWELL, last_answer(&link, asked)).await {
                        Ok(answer) => said_farewell(answer),
                        Err(_) => false,
                    }
                }
                _ => false,
            },
        };
        let record = if over && bundle.is_some() { None } else { directory.record() };
        let cgroup = keeper.as_ref().and_then(|keeper| keeper.cgroup.clone());
        let cgroup = cgroup.or_else(|| record.as_ref().and_then(|record| record.cgroup.clone()));
        bundle = bundle.or_else(|| record.as_ref().map(|record| record.bundle.clone()));
        if !over {
            self.force(id, runtime, &directory, record).await?;
        }
        if let Some(keeper) = keeper.filter(|keeper| over && keeper.external) {
            // On its way out it has the runtime take the container away, whose log is written here.
            let shim = Named { pid: keeper.run.shim_pid, start: keeper.run.shim_start };
            let _ = tokio::time::timeout(FAREWELL, outlive(shim)).await;
            // Once in some two hundred times runc (1.1) says that it did so and leaves its state.
            if self.runtime_root(runtime).join(id.as_str()).exists() {
                self.force(id, runtime, &directory, None).await?;
            }
        }
        fault::point("clean.ended");
        let systemd = self.systemd.clone();
        let removed = blocking(move || {
            if let (Some(systemd), Some(cgroup)) = (systemd, cgroup) {
                systemd.stop_group(&cgroup)?;
            }
            if let Some(bundle) = bundle {
                // The engine has kept the end; the record would only be taken for that of a later
                // run.
                let _ = std::fs::remove_file(bundle.join(EXIT));
            }
            let text = || format!("cannot remove the run directory {}", directory.path().display());
            directory.remove().map_err(|error| PortError::io(text(), error))
        });
        let removed = removed.await;
        self.roots.release(id);
        removed
    }

    /// Takes away a run whose shim is gone or does not answer.
    async fn force(
        &self,
        id: &ContainerId,
        runtime: &str,
        directory: &RunDirectory,
        record: Option<Record>,
    ) -> Result<()> {
        let (shim, init) = directory.processes();
        let cgroup = match record.and_then(|record| record.cgroup) {
            Some(cgroup) => Some(cgroup),
            None => self.cgroup_of(id),
        };
        blocking(move || {
            // The init process first: a shim that still works can record its end.
            for process in [init, shim].into_iter().flatten() {
                process.kill();
            }
            match cgroup {
                Some(cgroup) => take_away(&cgroup),
                None => Ok(()),
            }
        })
        .await?;
        if let Ok(Some(external)) = self.external(runtime) {
            let mut command = tokio::process::Command::new(&external.path);
            command
                .args(&external.args)
                .arg("--root")
                .arg(self.runtime_root(runtime))
                .args(["delete", "--force", id.as_str()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true);
            // It may know nothing of the container: that is what is wanted.
            let _ = tokio::time::timeout(FAREWELL, command.status()).await;
        }
        Ok(())
    }

    fn cgroup_of(&self, id: &ContainerId) -> Option<Cgroup> {
        let (hierarchies, parent) = (&self.compiler.hierarchies, &self.compiler.cgroup_parent);
        match self.compiler.cgroup_driver {
            CgroupDriver::Cgroupfs => {
                Cgroup::new(hierarchies, &Path::new(parent).join(id.as_str())).ok()
            }
            CgroupDriver::Systemd => {
                let slice = Slice::parse("cgroup-parent", parent).ok()?;
                Systemd::group(hierarchies, &ContainerScope::new(slice, id.as_str())).ok()
            }
        }
    }

    pub(super) async fn sweep_unknown(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
        let known: HashSet<&ContainerId> = known.iter().collect();
        let state = self.state_dir.clone();
        let parents: Vec<PathBuf> = self
            .cgroup_of_parent()
            .iter()
            .flat_map(|cgroup| {
                cgroup.directories().map(|(_, directory)| directory).collect::<Vec<_>>()
            })
            .collect();
        let id_of: fn(&str) -> Option<&str> = match self.compiler.cgroup_driver {
            CgroupDriver::Cgroupfs => |name| Some(name),
            CgroupDriver::Systemd => |name| ContainerScope::id_of(name),
        };
        let (directories, groups) = blocking(move || {
            let groups = parents.iter().flat_map(|parent| ids_in(parent, id_of));
            Ok((ids_in(&state, |name| Some(name)), groups.collect()))
        })
        .await?;
        let groups: Vec<ContainerId> = groups;
        let mut swept = Vec::new();
        for id in directories.into_iter().filter(|id| !known.contains(id)) {
            let runtime = self.directory(&id).record().map(|record| record.runtime);
            let result = self.clean_container(&id, runtime.as_deref().unwrap_or(BUILT_IN)).await;
            match result {
                Ok(()) => swept.push(id),
                Err(error) => tracing::warn!(container = %id, %error, "cannot sweep up"),
            }
        }
        let unknown: HashSet<ContainerId> =
            groups.into_iter().filter(|id| !known.contains(id)).collect();
        for id in unknown {
            let Some(cgroup) = self.cgroup_of(&id) else { continue };
            let systemd = self.systemd.clone();
            let taken = blocking(move || {
                take_away(&cgroup)?;
                systemd.map_or(Ok(()), |systemd| systemd.stop_group(&cgroup))
            });
            match taken.await {
                Ok(()) if !swept.contains(&id) => swept.push(id),
                Ok(()) => {}
                Err(error) => tracing::warn!(container = %id, %error, "cannot sweep up"),
            }
        }
        Ok(swept)
    }

    fn cgroup_of_parent(&self) -> Option<Cgroup> {
        Cgroup::new(&self.compiler.hierarchies, Path::new(&self.compiler.cgroup_parent)).ok()
    }
}

/// Connects to the shim of a run directory, and asks how it is.
async fn connect(directory: &RunDirectory) -> Option<(Link, Message)> {
    let socket = directory.connect().ok()?;
    // Only root can have made a socket in this directory; this is the second lock.
    if isula_sys::packet::peer_uid(socket.as_fd()).ok()? != 0 {
        return None;
    }
    let link = Link::new(socket).ok()?;
    let status = tokio::time::timeout(STATUS, link.ask_first(&Request::Status));
    let status = status.await.ok()?.ok()?;
    Some((link, status))
}

/// The answer to a last request; what the shim says before it, of its own accord, is no answer.
async fn last_answer(link: &Link, asked: impl Future<Output = Result<Message>>) -> Result<Message> {
    let mut message = asked.await?;
    while matches!(message, Message::Exited(_) | Message::ExecExited { .. }) {
        message = match link.receive().await {
            Ok(Some(packet)) => packet.message,
            _ => return Err(super::link::gone()),
        };
    }
    Ok(message)
}

fn farewell(ended: bool) -> Request {
    if ended { Request::Release } else { Request::Stop }
}

fn said_farewell(answer: Result<Message>) -> bool {
    matches!(answer, Ok(Message::Done))
}

/// What a run came to whose shim is not there any more.
fn found_without_shim(directory: &RunDirectory, bundle: &Path) -> Found {
    let cgroup = directory.record().and_then(|record| record.cgroup);
    match directory.processes() {
        (_, Some(init)) => Found::Exited(end_without_shim(init, bundle, cgroup.as_ref())),
        // A record can't be of a former run: that one's went before the directory came.
        (_, None) => match recorded_exit(bundle) {
            Some((_, exit)) => Found::Exited(exit),
            // It may have been started and not told: nobody looks after it.
            None if cgroup
                .is_some_and(|cgroup| cgroup.kill().is_ok_and(|()| has_processes(&cgroup))) =>
            {
                Found::Exited(Exit::unknown(Timestamp::now()))
            }
            None => Found::Nothing,
        },
    }
}

fn has_processes(cgroup: &Cgroup) -> bool {
    cgroup.pids().is_ok_and(|pids| !pids.is_empty())
}

fn take_away(cgroup: &Cgroup) -> Result<()> {
    // One that is not there can't be killed.
    let _ = cgroup.kill();
    cgroup.remove().map_err(|error| cannot(error, "remove the control group"))
}

/// The ids that the names in a directory have.
fn ids_in(directory: &Path, id_of: fn(&str) -> Option<&str>) -> Vec<ContainerId> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let name = |name: OsString| ContainerId::try_from(id_of(name.to_str()?)?.to_owned()).ok();
    entries.flatten().filter_map(|entry| name(entry.file_name())).collect()
}
