//! Plugins that are programs: each call is a process with a deadline, a limit of what it may print,
//! and an end for all that it started.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::{Instant, timeout, timeout_at},
};

use super::{call::Call, error::NetworkError, version::Version};

/// What a plugin may print as its result.
const OUTPUT: u64 = 1 << 20;
/// What is kept of what it says on standard error.
const COMPLAINT: u64 = 16 << 10;
/// How long pipes may stay open when the plugin itself has ended: something that it started
/// and left behind may hold them.
const REST: Duration = Duration::from_secs(1);
/// How long a VERSION may take.
const VERSION: Duration = Duration::from_secs(10);
/// A longer text of an error is cut.
const MESSAGE: usize = 2000;

/// Where plugins are, and what was learnt of them.
#[derive(Debug)]
pub(super) struct Programs {
    directories: Vec<PathBuf>,
    versions: Mutex<HashMap<PathBuf, (Identity, Vec<String>)>>,
}

/// Tells a program from the one that replaced it.
type Identity = (u64, u64, i64, i64);

impl Programs {
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, versions: Mutex::default() }
    }

    /// Whether there is a program of this type.
    pub(super) fn find(&self, plugin: &str) -> Result<PathBuf, NetworkError> {
        let paths = self.directories.iter().map(|directory| directory.join(plugin));
        paths.into_iter().find(|path| path.is_file()).ok_or_else(|| NetworkError::NoPlugin {
            plugin: plugin.to_owned(),
            directories: self.search_path(),
        })
    }

    fn search_path(&self) -> String {
        let all: Vec<_> = self.directories.iter().map(|path| path.to_string_lossy()).collect();
        all.join(":")
    }

    /// Runs a plugin; what it printed is a JSON value, or nothing.
    pub(super) async fn run(
        &self,
        plugin: &str,
        call: &Call,
        conf: &Map<String, Value>,
    ) -> Result<Option<Value>, NetworkError> {
        let path = self.find(plugin)?;
        self.check_version(plugin, &path, call.version).await?;
        self.execute((plugin, &path), call, conf).await
    }

    /// Whether a plugin knows a version: asked of it once.
    async fn check_version(
        &self,
        plugin: &str,
        path: &Path,
        version: Version,
    ) -> Result<(), NetworkError> {
        let found = std::fs::metadata(path)
            .map_err(|error| NetworkError::io("cannot use network plugin", path, error))?;
        let identity = (found.dev(), found.ino(), found.mtime(), found.mtime_nsec());
        let known = {
            let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.get(path).filter(|(known, _)| *known == identity).map(|(_, all)| all.clone())
        };
        let known = match known {
            Some(known) => known,
            None => {
                let known = self.versions_of(plugin, path, version).await?;
                let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
                versions.insert(path.to_owned(), (identity, known.clone()));
                known
            }
        };
        if known.iter().any(|text| text == version.as_str()) {
            return Ok(());
        }
        Err(NetworkError::Version {
            plugin: plugin.to_owned(),
            version: version.as_str().to_owned(),
            known: known.join(", "),
        })
    }

    async fn versions_of(
        &self,
        plugin: &str,
        path: &Path,
        version: Version,
    ) -> Result<Vec<String>, NetworkError> {
        let call = Call::about_version(version, Instant::now() + VERSION);
        let conf =
            Map::from_iter([("cniVersion".to_owned(), Value::String(version.as_str().to_owned()))]);
        let answer = self.execute((plugin, path), &call, &conf).await?.unwrap_or_default();
        let listed = answer.get("supportedVersions").and_then(Value::as_array);
        let texts = listed.into_iter().flatten().filter_map(Value::as_str);
        Ok(texts.take(64).map(str::to_owned).collect())
    }

    async fn execute(
        &self,
        (plugin, path): (&str, &Path),
        call: &Call,
        conf: &Map<String, Value>,
    ) -> Result<Option<Value>, NetworkError> {
        let input = serde_json::to_vec(conf)
            .map_err(|error| NetworkError::io("cannot configure", path, error.into()))?;
        let mut group = self.spawn(path, call).await?;
        let command = call.command.name();
        let Some(finished) = finish(&mut group, input, call.deadline).await else {
            return Err(NetworkError::Deadline { plugin: plugin.to_owned(), command });
        };
        let finished =
            finished.map_err(|error| NetworkError::io("cannot run network plugin", path, error))?;
        let failed = |code, message: String| NetworkError::Plugin {
            plugin: plugin.to_owned(),
            command,
            code,
            message: one_line(&message),
        };
        if finished.output.len() as u64 > OUTPUT {
            return Err(failed(0, format!("it printed more than {OUTPUT} bytes")));
        }
        let printed = finished.output.trim_ascii();
        let value = (!printed.is_empty()).then(|| serde_json::from_slice::<Value>(printed));
        match (finished.success, value) {
            (true, None) => Ok(None),
            (true, Some(Ok(value))) => Ok(Some(value)),
            (true, Some(Err(error))) => Err(failed(6, format!("it printed no JSON: {error}"))),
            (false, Some(Ok(value))) if value.get("msg").is_some() => {
                let text = |key| value.get(key).and_then(Value::as_str).unwrap_or_default();
                let code = value.get("code").and_then(Value::as_u64);
                let code = code.and_then(|code| u32::try_from(code).ok()).unwrap_or(0);
                let message = match text("details") {
                    "" => text("msg").to_owned(),
                    details => format!("{}: {details}", text("msg")),
                };
                Err(failed(code, message))
            }
            (false, _) => {
                let said = [finished.complaint.trim_ascii(), printed].into_iter();
                let said = said.map(String::from_utf8_lossy).find(|text| !text.is_empty());
                let message = said.unwrap_or_else(|| "it said nothing".into());
                Err(failed(0, format!("{}: {message}", finished.status)))
            }
        }
    }

    async fn spawn(&self, path: &Path, call: &Call) -> Result<Group, NetworkError> {
        const ATTEMPTS: usize = 5;
        let mut command = Command::new(path);
        command
            .envs(call.environment())
            .env("CNI_PATH", self.search_path())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .current_dir("/");
        let mut attempt = 0;
        loop {
            attempt += 1;
            match command.spawn() {
                Ok(child) => return Ok(Group(child)),
                // Somebody is still writing the program, or a fork of ours has it open.
                Err(error)
                    if error.kind() == std::io::ErrorKind::ExecutableFileBusy
                        && attempt < ATTEMPTS =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => {
                    return Err(NetworkError::io("cannot run network plugin", path, error));
                }
            }
        }
    }
}

/// A plugin that runs. What it started is ended with it, however it comes to an end.
struct Group(Child);

impl Group {
    fn kill(&self) {
        let pid = self.0.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        // The id is known until the process is reaped: it can't be another's.
        if let Some(pid) = pid
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            tracing::debug!(%error, "cannot kill the processes of a network plugin");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Finished {
    success: bool,
    status: String,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

/// Feeds a plugin and waits for it; `None` when its time is over.
async fn finish(
    group: &mut Group,
    input: Vec<u8>,
    deadline: Instant,
) -> Option<std::io::Result<Finished>> {
    let (stdin, stdout, stderr) =
        (group.0.stdin.take(), group.0.stdout.take(), group.0.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A plugin that ends without reading says why by other means.
            let _ = stdin.write_all(&input).await;
        }
    };
    let (mut output, mut complaint) = (Vec::new(), Vec::new());
    let ended = {
        let print = read(stdout, &mut output, OUTPUT + 1);
        let complain = read(stderr, &mut complaint, COMPLAINT);
        let streams = async { tokio::join!(feed, print, complain) };
        tokio::pin!(streams);
        let process = timeout_at(deadline, async {
            tokio::select! {
                _ = &mut streams => group.0.wait().await,
                ended = group.0.wait() => {
                    let _ = timeout(REST, &mut streams).await;
                    ended
                }
            }
        });
        process.await
    };
    match ended {
        Ok(Ok(status)) => Some(Ok(Finished {
            success: status.success(),
            status: status.to_string(),
            output,
            complaint,
        })),
        Ok(Err(error)) => Some(Err(error)),
        Err(_) => {
            group.kill();
            // It is reaped at once, or by the runtime later.
            let _ = timeout(REST, group.0.wait()).await;
            None
        }
    }
}

/// Reads up to a limit; closing the stream then ends a flood.
async fn read(stream: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, limit: u64) {
    if let Some(stream) = stream {
        // What was read until an error counts.
        let _ = stream.take(limit).read_to_end(into).await;
    }
}

/// A text that can be a line of a log, and forges none.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MESSAGE).collect::<String>().trim().to_owned()
}
