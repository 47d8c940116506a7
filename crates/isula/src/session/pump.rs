//! The loop of a session.

use std::os::fd::AsFd;

use bytes::Bytes;
use futures_util::StreamExt;
use isula_api::v1::{
    CloseStdin, KillRequest, Opened, SessionInput, SessionOutput, session_input::Input,
    session_output::Output,
};
use isula_sys::signal::Signal;
use isula_sys::terminal::{self, Raw};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::detach::Detach;
use super::output::{Piece, Writer};
use super::{End, Session, message, terminal_size};
use crate::client::Client;
use crate::error::Failure;
use crate::reader;
use crate::signals::{self, Signals};

/// Largest piece of stdin that is sent at once.
const PIECE: usize = 32 << 10;

/// What a signal during a session means.
enum Asked {
    /// Pass it on.
    Pass(Signal),
    /// Tell the size of our terminal.
    Resize,
    /// End the client with this status; the container goes on.
    Leave(u8),
}

/// Runs a session to its end; `opened` is told what the daemon says first.
///
/// # Errors
/// The daemon refused, the connection broke, a signal came before the process ran, our output
/// can't be written.
pub async fn run(
    client: &Client,
    session: Session,
    opened: impl FnOnce(&Opened) -> Result<(), Failure>,
) -> Result<End, Failure> {
    let Session { open, streams, detach_keys, proxies_signals } = session;
    // Before anything is asked for: a signal that comes now must find us ready.
    let mut signals = if proxies_signals { Signals::all()? } else { Signals::fatal()? };
    let (to_daemon, from_us) = mpsc::channel::<SessionInput>(4);
    // There is room for the first message: nothing else has been sent.
    let _ = to_daemon.send(message(open)).await;
    let requests = futures_util::stream::unfold(from_us, |mut queue| async {
        queue.recv().await.map(|message| (message, queue))
    });
    let mut containers = client.containers();
    let (mut answers, started) = tokio::select! {
        answer = first(containers.session(requests)) => answer?,
        signal = fatal_twice(&mut signals, proxies_signals) => {
            return Err(Failure::Interrupted(signals::status(signal)));
        }
    };
    opened(&started)?;
    crate::output::warn(&started.warnings);
    let raw = raw_mode(streams.stdin && started.tty)?;
    let passes = proxies_signals && !started.tty;
    let mut kills = passes.then(|| killer(client, &started.container_id));
    let stdin = streams.stdin.then(|| reader::pieces(std::io::stdin(), PIECE));
    let stdin = stdin.transpose().map_err(no_thread)?;
    let keys = if started.tty { detach_keys } else { Vec::new() };
    let mut keyboard = Keyboard { stdin, detach: Detach::new(keys), to_daemon };
    let mut writer = Writer::new();
    let end = loop {
        tokio::select! {
            biased;
            signal = signals.next() => match meaning(signal, passes) {
                Asked::Pass(signal) => pass(&mut kills, signal),
                Asked::Resize => if started.tty { keyboard.resize() },
                Asked::Leave(status) => break Err(Failure::Interrupted(status)),
            },
            left = keyboard.turn() => if left { break Ok(End::Detached) },
            answer = next(&mut answers, &mut writer) => match answer {
                Ok(None) => {}
                Ok(Some(end)) => break Ok(end),
                Err(failure) => break Err(failure),
            },
        }
    };
    let end = finish(end, writer, &mut signals).await;
    drop(raw);
    if started.tty && matches!(end, Ok(End::Detached)) {
        crate::output::tell("read escape sequence");
    }
    end
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::local(format!("cannot start a thread: {error}"))
}

type Call = Result<tonic::Response<Streaming<SessionOutput>>, tonic::Status>;

/// The stream of answers and its first message, which says that the process runs.
async fn first(
    call: impl Future<Output = Call>,
) -> Result<(Streaming<SessionOutput>, Opened), Failure> {
    let mut answers = call.await?.into_inner();
    match answers.message().await? {
        Some(SessionOutput { output: Some(Output::Opened(opened)) }) => Ok((answers, opened)),
        Some(_) => Err(Failure::local("the daemon sent output before the session was open")),
        None => Err(Failure::local("the daemon closed the session before it was open")),
    }
}

/// Waits for a signal that ends the client before the process runs. One that is to be passed on
/// waits for it, so only the second one means us.
async fn fatal_twice(signals: &mut Signals, proxied: bool) -> Signal {
    let mut patience = u8::from(proxied);
    loop {
        let signal = signals.next().await;
        if !signals::is_fatal(signal) {
            continue;
        }
        if patience == 0 {
            return signal;
        }
        patience -= 1;
    }
}

fn meaning(signal: Signal, passes: bool) -> Asked {
    match signal {
        Signal::WINCH => Asked::Resize,
        signal if passes || !signals::is_fatal(signal) => Asked::Pass(signal),
        signal => Asked::Leave(signals::status(signal)),
    }
}

fn raw_mode(wanted: bool) -> Result<Option<Raw>, Failure> {
    let stdin = std::io::stdin();
    if !wanted || !terminal::is_terminal(stdin.as_fd()) {
        return Ok(None);
    }
    let raw = terminal::enter_raw(stdin.as_fd());
    raw.map(Some).map_err(|error| Failure::local(format!("cannot set the terminal: {error}")))
}

/// Sends signals to the container, in their order and beside the session.
fn killer(client: &Client, id: &str) -> mpsc::UnboundedSender<Signal> {
    let (sender, mut queue) = mpsc::unbounded_channel::<Signal>();
    let (mut containers, id) = (client.containers(), id.to_owned());
    tokio::spawn(async move {
        while let Some(signal) = queue.recv().await {
            let signal = signal.number().to_string();
            let request = KillRequest { id: id.clone(), signal };
            // The process may have ended meanwhile; the session says so itself.
            let _ = containers.kill(request).await;
        }
    });
    sender
}

fn pass(kills: &mut Option<mpsc::UnboundedSender<Signal>>, signal: Signal) {
    if let Some(kills) = kills {
        // The task ends with the session, never before.
        let _ = kills.send(signal);
    }
}

/// The next answer; none as long as the session goes on.
async fn next(
    answers: &mut Streaming<SessionOutput>,
    writer: &mut Writer,
) -> Result<Option<End>, Failure> {
    let Some(room) = writer.room().await else {
        // The writer has given up: its reason comes from `finish`.
        return Err(Failure::Told(1));
    };
    match answers.next().await.transpose()?.map(|answer| answer.output) {
        None => Err(Failure::local("the connection to the isulad daemon was lost")),
        Some(Some(Output::Stdout(bytes))) => {
            room.send(Piece::Out(bytes));
            writer.begin().map_err(no_thread)?;
            Ok(None)
        }
        Some(Some(Output::Stderr(bytes))) => {
            room.send(Piece::Err(bytes));
            writer.begin().map_err(no_thread)?;
            Ok(None)
        }
        Some(Some(Output::Exited(exited))) => {
            // Only the low eight bits of a status reach a parent.
            Ok(Some(End::Exited((exited.code & 0xff) as u8)))
        }
        Some(Some(Output::Opened(_)) | None) => Ok(None),
    }
}

/// Waits for the output to be written, unless a signal says that nobody waits for it.
async fn finish(
    end: Result<End, Failure>,
    writer: Writer,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let interrupted = async {
        loop {
            let signal = signals.next().await;
            if signals::is_fatal(signal) {
                return signals::status(signal);
            }
        }
    };
    tokio::select! {
        written = writer.finish() => match (&end, written) {
            (Ok(_) | Err(Failure::Told(_)), Err(error)) => Err(Failure::Output(error)),
            _ => end,
        },
        status = interrupted => Err(Failure::Interrupted(status)),
    }
}

/// What goes from us to the process.
struct Keyboard {
    stdin: Option<mpsc::Receiver<std::io::Result<Bytes>>>,
    detach: Detach,
    to_daemon: mpsc::Sender<SessionInput>,
}

impl Keyboard {
    /// Sends what was typed; says whether the user left. Waits for ever once stdin has ended.
    async fn turn(&mut self) -> bool {
        let Some(stdin) = &mut self.stdin else { return std::future::pending().await };
        // Room first: once something is read, nothing may interrupt its way out.
        let Ok(room) = self.to_daemon.reserve().await else {
            self.stdin = None;
            return false;
        };
        match stdin.recv().await {
            Some(Ok(typed)) => {
                let (bytes, left) = self.detach.feed(&typed);
                if !bytes.is_empty() {
                    room.send(message(Input::Stdin(bytes.into())));
                }
                left
            }
            // EIO means that the terminal went away: nothing more comes from it.
            Some(Err(_)) | None => {
                room.send(message(Input::CloseStdin(CloseStdin {})));
                self.stdin = None;
                false
            }
        }
    }

    /// Tells the size of our terminal; a full channel must not hold up the loop.
    fn resize(&self) {
        if let Some(size) = terminal_size() {
            let to_daemon = self.to_daemon.clone();
            tokio::spawn(async move {
                // The session may be over.
                let _ = to_daemon.send(message(Input::Resize(size))).await;
            });
        }
    }
}
