//! `config.v2.json`: what a container is and where it is in its life.

use std::{collections::BTreeMap, ops::Not, time::Duration};

use isula_core::{
    container::{Config, Container, Endpoint, Exit, Healthcheck, HostConfig, Run, Source, State},
    id::{ContainerId, Name},
    image::ImageId,
    sandbox::Member,
    signal::Signal,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    DocumentError,
    text::{self, Text},
};

/// Seconds of `0001-01-01T00:00:00Z`, which Go and so Docker and iSulad write for "never".
const NEVER_SECONDS: i64 = -62_135_596_800;

fn never() -> Timestamp {
    Timestamp::constant(NEVER_SECONDS, 0)
}

/// The document, its keys in the order of the seed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Main {
    common_config: Common,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<ImageId>,
    /// Ours: what a container of a sandbox has beyond others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Box<Member>>,
    /// Ours: what its network gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<Box<Endpoint>>,
    state: StateFile,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Common {
    /// For people: the first argument.
    #[serde(default)]
    path: String,
    /// For people: the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    config: Logged,
    created: Timestamp,
    /// The reference or id as the user wrote it.
    #[serde(default)]
    image: String,
    image_type: ImageType,
    /// The directory of an external root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_fs: Option<String>,
    name: Name,
    #[serde(rename = "id")]
    id: ContainerId,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ImageType {
    Oci,
    External,
}

#[derive(Serialize, Deserialize)]
struct Logged {
    #[serde(flatten, with = "ConfigFile")]
    config: Config,
    /// For people; `hostconfig.json` decides.
    #[serde(rename = "LogDriver", default)]
    log_driver: String,
}

/// [`Config`] under Docker's names.
#[derive(Default, Serialize, Deserialize)]
#[serde(remote = "Config", rename_all = "PascalCase", default)]
struct ConfigFile {
    hostname: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    domainname: Option<String>,
    user: String,
    tty: bool,
    open_stdin: bool,
    #[serde(skip_serializing_if = "Not::not")]
    stdin_once: bool,
    env: Vec<String>,
    cmd: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    working_dir: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(with = "text::keys", skip_serializing_if = "Vec::is_empty")]
    exposed_ports: Vec<String>,
    #[serde(with = "text::keys", skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<String>,
    #[serde(with = "text::as_text", skip_serializing_if = "Option::is_none")]
    stop_signal: Option<Signal>,
    #[serde(with = "text::seconds", skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<Duration>,
    #[serde(with = "health", skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Healthcheck>,
}

/// Docker's `Healthcheck`.
mod health {
    use super::{Deserialize, Duration, Healthcheck, Serialize, text};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Healthcheck", rename_all = "PascalCase")]
    struct CheckFile {
        test: Vec<String>,
        #[serde(with = "text::nanoseconds")]
        interval: Duration,
        #[serde(with = "text::nanoseconds")]
        timeout: Duration,
        #[serde(with = "text::nanoseconds")]
        start_period: Duration,
        retries: u32,
    }

    #[derive(Serialize)]
    struct Out<'a>(#[serde(with = "CheckFile")] &'a Healthcheck);

    #[derive(Deserialize)]
    struct In(#[serde(with = "CheckFile")] Healthcheck);

    pub(super) fn serialize<S: Serializer>(
        check: &Option<Healthcheck>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        check.as_ref().map(Out).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Healthcheck>, D::Error> {
        Ok(Option::<In>::deserialize(from)?.map(|check| check.0))
    }
}

/// Docker's flags. Exactly one of `Running`, `Starting` and `RemovalInprogress` is set, or none:
/// then `FinishedAt` tells a container that has ended from one that never ran.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StateFile {
    finished_at: Timestamp,
    pid: i32,
    #[serde(rename = "PPid")]
    parent_pid: i32,
    start_time: u64,
    #[serde(rename = "PStartTime")]
    parent_start_time: u64,
    running: bool,
    started_at: Timestamp,
    exit_code: i32,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    error: String,
    #[serde(skip_serializing_if = "Not::not")]
    starting: bool,
    paused: bool,
    #[serde(skip_serializing_if = "Not::not")]
    removal_inprogress: bool,
    restart_count: u32,
    has_been_manually_stopped: bool,
    /// Ours: the start of this run, if it is not `StartedAt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_started_at: Option<Timestamp>,
}

impl Default for StateFile {
    fn default() -> Self {
        Self {
            finished_at: never(),
            pid: 0,
            parent_pid: 0,
            start_time: 0,
            parent_start_time: 0,
            running: false,
            started_at: never(),
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            starting: false,
            paused: false,
            removal_inprogress: false,
            restart_count: 0,
            has_been_manually_stopped: false,
            run_started_at: None,
        }
    }
}

impl From<&Container> for StateFile {
    fn from(container: &Container) -> Self {
        let started_at = container.started.unwrap_or_else(never);
        let mut file = Self {
            started_at,
            restart_count: container.restarts,
            has_been_manually_stopped: container.stopped_by_user,
            ..Self::default()
        };
        match &container.state {
            State::Created => {}
            State::Starting => file.starting = true,
            State::Running(run) | State::Paused(run) => {
                file.running = true;
                file.paused = matches!(container.state, State::Paused(_));
                file.pid = run.pid;
                file.parent_pid = run.shim_pid;
                file.start_time = run.pid_start;
                file.parent_start_time = run.shim_start;
                file.run_started_at = (run.started != started_at).then_some(run.started);
            }
            State::Stopped(exit) => {
                file.finished_at = exit.at;
                file.exit_code = exit.code;
                file.oom_killed = exit.oom_killed;
                file.error = exit.error.clone().unwrap_or_default();
            }
            State::Removing => file.removal_inprogress = true,
        }
        file
    }
}

impl StateFile {
    fn state(&self) -> State {
        let run = || Run {
            pid: self.pid,
            pid_start: self.start_time,
            shim_pid: self.parent_pid,
            shim_start: self.parent_start_time,
            started: self.run_started_at.unwrap_or(self.started_at),
        };
        if self.removal_inprogress {
            State::Removing
        } else if self.starting {
            State::Starting
        } else if self.running && self.paused {
            State::Paused(run())
        } else if self.running {
            State::Running(run())
        } else if self.finished_at == never() {
            State::Created
        } else {
            State::Stopped(Exit {
                code: self.exit_code,
                oom_killed: self.oom_killed,
                at: self.finished_at,
                error: (!self.error.is_empty()).then(|| self.error.clone()),
            })
        }
    }
}

impl From<&Container> for Main {
    fn from(container: &Container) -> Self {
        let mut args = container.config.args().into_iter();
        let (reference, image, base_fs) = match &container.source {
            Source::Image { reference, id } => (reference.clone(), Some(id.clone()), None),
            Source::Directory(path) => (String::new(), None, Some(path.clone())),
        };
        Self {
            common_config: Common {
                path: args.next().unwrap_or_default(),
                args: args.collect(),
                config: Logged {
                    config: container.config.clone(),
                    log_driver: container.host.log.driver.text(),
                },
                created: container.created,
                image: reference,
                image_type: if base_fs.is_some() { ImageType::External } else { ImageType::Oci },
                base_fs,
                name: container.name.clone(),
                id: container.id.clone(),
            },
            image,
            pod: container.pod.clone(),
            endpoint: container.network.clone(),
            state: StateFile::from(container),
        }
    }
}

impl Main {
    /// The container with these ties to the host.
    pub(super) fn into_container(self, host: HostConfig) -> Result<Container, DocumentError> {
        let state = self.state.state();
        let common = self.common_config;
        let source = match (common.image_type, self.image, common.base_fs) {
            (ImageType::Oci, Some(id), _) => Source::Image { reference: common.image, id },
            (ImageType::External, _, Some(path)) => Source::Directory(path),
            (ImageType::Oci, None, _) => {
                return Err(DocumentError::Meaning(format!("{}: Image is missing", super::CONFIG)));
            }
            (ImageType::External, _, None) => {
                return Err(DocumentError::Meaning(format!(
                    "{}: BaseFs is missing",
                    super::CONFIG
                )));
            }
        };
        Ok(Container {
            id: common.id,
            name: common.name,
            created: common.created,
            source,
            config: common.config.config,
            host,
            pod: self.pod,
            network: self.endpoint,
            state,
            restarts: self.state.restart_count,
            started: (self.state.started_at != never()).then_some(self.state.started_at),
            stopped_by_user: self.state.has_been_manually_stopped,
        })
    }
}
