//! `exec sync`: a process, its output, its status; with a limit of both time and output.

use std::time::Duration;

use futures_util::StreamExt;
use isula_core::{
    container::ExecConfig,
    error::chain,
    ports::{Attach, Chunk, Output},
};

use crate::{Engine, Error, Result, container::ExecAttached};

/// Bytes of each output stream that are kept: 16 MiB, as CRI says. The rest is read and dropped.
const OUTPUT_LIMIT: usize = 16 << 20;
/// How long output may still come after the process has been killed.
const LINGER: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSyncOptions {
    /// The argument vector.
    pub args: Vec<String>,
    /// How long it may take; absent means for ever.
    pub timeout: Option<Duration>,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSynced {
    /// Standard output, at most 16 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, at most 16 MiB.
    pub stderr: Vec<u8>,
    /// Exit status.
    pub code: i32,
}

impl Engine {
    /// Runs a process in a running container to its end.
    ///
    /// # Errors
    /// The container does not run, the process can't be started, or it took too long: then it is
    /// killed with everything it has started, and the error is [`Error::ExecTimeout`].
    pub async fn exec_sync(&self, query: &str, options: ExecSyncOptions) -> Result<ExecSynced> {
        let container = self.member(query)?;
        let ExecSyncOptions { args, timeout } = options;
        let config = ExecConfig { args, ..ExecConfig::default() };
        let attach = Attach { stdin: false, stdout: true, stderr: true, size: None };
        let begun = tokio::time::Instant::now();
        let mut exec = self.exec_attached(container.id.as_str(), config, attach).await?;
        let mut done = ExecSynced::default();
        let Some(limit) = timeout else {
            self.gather(&mut exec, &mut done).await?;
            return Ok(done);
        };
        let gathered = tokio::time::timeout_at(begun + limit, self.gather(&mut exec, &mut done));
        match gathered.await {
            Ok(gathered) => gathered.map(|()| done),
            Err(_) => {
                let work = self.ports.runtime.kill_tree(&container.id, exec.process.pid);
                if let Err(error) = self.port(&container, "kill the process", work).await {
                    tracing::warn!("{}", chain(&error));
                }
                // Its end is awaited, so that nothing of it is left when the caller hears of it.
                let _ = tokio::time::timeout(LINGER, &mut exec.exit).await;
                Err(Error::ExecTimeout { container: query.to_owned(), limit })
            }
        }
    }

    async fn gather(&self, exec: &mut ExecAttached, done: &mut ExecSynced) -> Result<()> {
        while let Some(chunk) = exec.session.output.next().await {
            match chunk? {
                Chunk::Output(output, bytes) => {
                    let kept = match output {
                        Output::Stdout => &mut done.stdout,
                        Output::Stderr => &mut done.stderr,
                    };
                    let room = OUTPUT_LIMIT.saturating_sub(kept.len());
                    kept.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
                }
                Chunk::Exited(code) => {
                    done.code = code;
                    return Ok(());
                }
            }
        }
        done.code = (&mut exec.exit).await?;
        Ok(())
    }
}
