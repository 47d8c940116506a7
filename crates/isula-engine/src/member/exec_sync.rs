//! `exec sync`: a process, its output, its status; with limits of time and output.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use isula_core::{
    container::ExecConfig,
    error::chain,
    ports::{Attach, Chunk, Output},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Engine, Error, Result, container::ExecAttached};

/// Bytes of each output stream that are kept: 16 MiB, as CRI says. The rest is read and dropped.
const OUTPUT_LIMIT: usize = 16 << 20;
/// Bytes of output that every process may have kept, whatever the others have: probes say little, and
/// none fails for the flood of another.
const SHARE: usize = 64 << 10;
/// Bytes that all processes together may have kept beyond that: two with both streams full.
const TOGETHER: usize = 64 << 20;
/// In pieces of this many bytes it is taken.
const PIECE: usize = 1 << 20;
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
#[derive(Debug, Default)]
pub struct ExecSynced {
    /// Standard output, at most 16 MiB.
    pub stdout: Kept,
    /// Standard error, at most 16 MiB.
    pub stderr: Kept,
    /// Exit status.
    pub code: i32,
}

/// Output that is kept. As long as it is, others may keep less.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    /// What it takes of [`TOGETHER`].
    taken: Vec<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Kept {
    /// Adds what still fits within the limit of a stream; `Err` when all together have too much.
    fn add(&mut self, bytes: &[u8], room: &OutputRoom) -> std::result::Result<(), Full> {
        let rest = OUTPUT_LIMIT.saturating_sub(self.bytes.len());
        let bytes = bytes.get(..rest).unwrap_or(bytes);
        let wanted = (self.bytes.len() + bytes.len()).saturating_sub(SHARE).div_ceil(PIECE);
        while self.taken.len() < wanted {
            let piece = Arc::clone(&room.0).try_acquire_owned();
            self.taken.push(piece.map_err(|_| Full)?);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// What all processes of `exec sync` together may keep of their outputs.
#[derive(Debug)]
pub(crate) struct OutputRoom(Arc<Semaphore>);

impl Default for OutputRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOGETHER / PIECE)))
    }
}

/// There is no room for more output.
struct Full;

impl Engine {
    /// Runs a process in a running container to its end.
    ///
    /// # Errors
    /// The container does not run, the process can't be started, or it took too long: then it is
    /// killed with everything it has started, and the error is [`Error::ExecTimeout`]. So it is when
    /// the outputs of all such processes take too much memory ([`Error::OutputRoom`]).
    pub async fn exec_sync(&self, query: &str, options: ExecSyncOptions) -> Result<ExecSynced> {
        let container = self.member(query)?;
        let ExecSyncOptions { args, timeout } = options;
        let config = ExecConfig { args, ..ExecConfig::default() };
        let attach = Attach { stdin: false, stdout: true, stderr: true, size: None };
        let begun = tokio::time::Instant::now();
        let mut exec = self.exec_attached(container.id.as_str(), config, attach).await?;
        let mut done = ExecSynced::default();
        let gathering = self.gather(&mut exec, &mut done);
        let gathered = match timeout {
            None => Ok(gathering.await),
            Some(limit) => {
                tokio::time::timeout_at(begun + limit, gathering).await.map_err(|_| limit)
            }
        };
        let error = match gathered {
            Ok(Ok(Ok(()))) => return Ok(done),
            Ok(Ok(Err(Full))) => Error::OutputRoom { container: query.to_owned() },
            Ok(Err(error)) => return Err(error),
            Err(limit) => Error::ExecTimeout { container: query.to_owned(), limit },
        };
        let work = self.ports.runtime.kill_tree(&container.id, exec.process.pid);
        if let Err(error) = self.port(&container, "kill the process", work).await {
            tracing::warn!("{}", chain(&error));
        }
        // Its end is awaited, so that nothing of it is left when the caller hears of it.
        let _ = tokio::time::timeout(LINGER, &mut exec.exit).await;
        Err(error)
    }

    async fn gather(
        &self,
        exec: &mut ExecAttached,
        done: &mut ExecSynced,
    ) -> Result<std::result::Result<(), Full>> {
        while let Some(chunk) = exec.session.output.next().await {
            match chunk? {
                Chunk::Output(output, bytes) => {
                    let kept = match output {
                        Output::Stdout => &mut done.stdout,
                        Output::Stderr => &mut done.stderr,
                    };
                    if kept.add(&bytes, &self.output_room).is_err() {
                        return Ok(Err(Full));
                    }
                }
                Chunk::Exited(code) => {
                    done.code = code;
                    return Ok(Ok(()));
                }
            }
        }
        done.code = (&mut exec.exit).await?;
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, OUTPUT_LIMIT, OutputRoom, SHARE, TOGETHER};

    #[test]
    fn a_stream_is_cut_and_all_together_are_held_to_a_limit_but_for_the_share_of_each() {
        let room = OutputRoom::default();
        let piece = vec![b'x'; 700_000];
        let fill = |kept: &mut Kept| (0..40).try_for_each(|_| kept.add(&piece, &room)).is_ok();
        let mut full: Vec<Kept> = Vec::new();
        for _ in 0..TOGETHER / OUTPUT_LIMIT {
            let mut kept = Kept::default();
            assert!(fill(&mut kept));
            assert_eq!(kept.as_ref().len(), OUTPUT_LIMIT);
            full.push(kept);
        }
        let mut late = Kept::default();
        assert!(late.add(&piece[..SHARE], &room).is_ok());
        assert!(late.add(&piece[..1], &room).is_err());
        full.pop();
        assert!(fill(&mut late));
    }
}
