//! A client's side of a fake process.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;

use super::locked;
use crate::ports::{Chunk, Output, Result, Session, SessionInput, TerminalSize};

/// What flows to a client.
#[derive(Clone, Default)]
pub(super) struct Pipe(Arc<Mutex<Flow>>);

#[derive(Default)]
struct Flow {
    chunks: VecDeque<Chunk>,
    closed: bool,
    reader: Option<Waker>,
}

impl Pipe {
    pub fn send(&self, chunk: Chunk) {
        let mut flow = locked(&self.0);
        flow.chunks.push_back(chunk);
        flow.wake();
    }

    pub fn close(&self) {
        let mut flow = locked(&self.0);
        flow.closed = true;
        flow.wake();
    }

    /// A session whose input comes back as output, as `cat` does it.
    pub fn session(&self) -> Session {
        Session { input: Box::new(Echo(self.clone())), output: Box::pin(self.clone()) }
    }
}

impl Flow {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Stream for Pipe {
    type Item = Result<Chunk>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut flow = locked(&self.0);
        match flow.chunks.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if flow.closed => Poll::Ready(None),
            None => {
                flow.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

struct Echo(Pipe);

#[async_trait]
impl SessionInput for Echo {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.send(Chunk::Output(Output::Stdout, bytes));
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        Ok(())
    }

    async fn resize(&mut self, _: TerminalSize) -> Result<()> {
        Ok(())
    }
}
