//! Programs that the played daemon runs in a session.

use bytes::Bytes;
use isula_api::v1::{
    Exited, Opened, SessionInput, SessionOutput, Streams, session_input::Input,
    session_output::Output,
};
use tokio::sync::{broadcast, mpsc};
use tonic::{Status, Streaming};

/// One session of the played daemon.
pub struct Script {
    pub args: Vec<String>,
    pub tty: bool,
    pub streams: Streams,
    pub input: Streaming<SessionInput>,
    pub output: mpsc::Sender<Result<SessionOutput, Status>>,
    pub signals: broadcast::Receiver<String>,
}

/// The id of every container of the played daemon.
pub const ID: &str = "e91e5359be653f534312bc2b4703dcc6c4ca0436ac7819e09e1ff0e75ee1d733";

impl Script {
    async fn send(&self, output: Output) {
        // The client may have left.
        let _ = self.output.send(Ok(SessionOutput { output: Some(output) })).await;
    }

    async fn print(&self, text: impl Into<Bytes>) {
        self.send(Output::Stdout(text.into())).await;
    }

    async fn exit(&self, code: i32) {
        self.send(Output::Exited(Exited { code })).await;
    }

    /// Runs the program that the arguments name.
    pub async fn run(mut self) {
        let args = self.args.clone();
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        if words.first() == Some(&"never-opens") {
            self.output.closed().await;
            return;
        }
        let opened = Opened { container_id: ID.to_owned(), tty: self.tty, ..Opened::default() };
        self.send(Output::Opened(opened)).await;
        match words.as_slice() {
            ["exit", code] => self.exit(code.parse().unwrap()).await,
            ["both"] => {
                self.print("out\n").await;
                self.send(Output::Stderr("err\n".into())).await;
                self.exit(3).await;
            }
            ["cat"] => self.cat().await,
            ["flood", count] => {
                let piece = Bytes::from(vec![b'x'; 1 << 16]);
                for _ in 0..count.parse().unwrap() {
                    self.print(piece.clone()).await;
                }
                self.exit(0).await;
            }
            ["wait-signal"] => {
                self.print("ready\n").await;
                let signal = self.signals.recv().await.unwrap();
                self.print(format!("got {signal}\n")).await;
                self.exit(128 + signal.parse::<i32>().unwrap()).await;
            }
            ["size"] => self.sizes().await,
            ["breaks"] => self.print("half").await,
            ["streams"] => {
                let Streams { stdin, stdout, stderr, .. } = self.streams;
                self.print(format!("{stdin} {stdout} {stderr}\n")).await;
                self.exit(0).await;
            }
            other => panic!("no such program: {other:?}"),
        }
    }

    /// Sends back what comes in, and says when the input has ended.
    async fn cat(&mut self) {
        self.print("ready\n").await;
        while let Ok(Some(message)) = self.input.message().await {
            match message.input {
                Some(Input::Stdin(bytes)) => self.print(bytes).await,
                Some(Input::CloseStdin(_)) => {
                    self.print("<end>").await;
                    return self.exit(0).await;
                }
                _ => {}
            }
        }
    }

    /// Tells the size of the terminal each time it changes, until something is typed.
    async fn sizes(&mut self) {
        let size = self.streams.size.unwrap_or_default();
        self.print(format!("size {} {}\r\n", size.rows, size.columns)).await;
        while let Ok(Some(message)) = self.input.message().await {
            match message.input {
                Some(Input::Resize(size)) => {
                    self.print(format!("size {} {}\r\n", size.rows, size.columns)).await;
                }
                Some(Input::Stdin(_)) => return self.exit(7).await,
                _ => {}
            }
        }
    }
}
