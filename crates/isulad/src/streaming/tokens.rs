//! The tokens of URLs: unguessable, used once, for a minute.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{
    request::{AttachRequest, ExecRequest, PortForwardRequest, Streams},
    server::StreamingError,
};

/// Random bytes of a token.
const RANDOM: usize = 24;
/// How long a token waits for its client.
const LIFE: Duration = Duration::from_secs(60);
/// Tokens that may wait, and bytes of their requests.
const COUNT_MAX: usize = 1000;
const BYTES_MAX: usize = 16 << 20;

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Remote(Remote),
    Forward(PortForwardRequest),
}

/// A process to be joined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remote {
    Exec(ExecRequest),
    Attach(AttachRequest),
}

impl Remote {
    /// What the client sees of it.
    pub(super) fn streams(&self) -> Streams {
        match self {
            Self::Exec(exec) => exec.streams,
            Self::Attach(attach) => attach.streams,
        }
    }
}

/// The first part of a URL's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Exec,
    Attach,
    PortForward,
}

impl Door {
    pub(super) const ALL: [(Self, &'static str); 3] =
        [(Self::Exec, "exec"), (Self::Attach, "attach"), (Self::PortForward, "portforward")];

    /// Its word in a path.
    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(door, _)| *door == self).map_or("", |(_, word)| word)
    }
}

impl Request {
    /// Where it is asked for.
    pub(super) fn door(&self) -> Door {
        match self {
            Self::Remote(Remote::Exec(_)) => Door::Exec,
            Self::Remote(Remote::Attach(_)) => Door::Attach,
            Self::Forward(_) => Door::PortForward,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Remote(Remote::Exec(exec)) => {
                exec.container.len()
                    + exec.command.iter().map(|word| word.len() + 24).sum::<usize>()
            }
            Self::Remote(Remote::Attach(attach)) => attach.container.len(),
            Self::Forward(forward) => forward.sandbox.len() + forward.ports.len() * 2,
        }
    }
}

/// The tokens that wait. They are swept when another one is made, so nothing wakes for them.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, (Instant, Request)>>);

impl Tokens {
    /// Makes a token.
    ///
    /// # Errors
    /// Too many wait.
    pub(super) fn issue(&self, now: Instant, request: Request) -> Result<String, StreamingError> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = request.bytes();
        waiting.retain(|_, (made, request)| {
            let lives = now.saturating_duration_since(*made) < LIFE;
            bytes += if lives { request.bytes() } else { 0 };
            lives
        });
        if waiting.len() >= COUNT_MAX || bytes > BYTES_MAX {
            return Err(StreamingError::Busy);
        }
        let token = random()?;
        waiting.insert(token.clone(), (now, request));
        Ok(token)
    }

    /// Takes what a token stands for, unless it is too old or belongs to another door.
    pub(super) fn take(&self, now: Instant, door: Door, token: &str) -> Option<Request> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.get(token).is_none_or(|(_, request)| request.door() != door) {
            return None;
        }
        let (made, request) = waiting.remove(token)?;
        (now.saturating_duration_since(made) < LIFE).then_some(request)
    }
}

fn random() -> Result<String, StreamingError> {
    let mut bytes = [0_u8; RANDOM];
    match getrandom(&mut bytes[..], GetRandomFlags::empty()) {
        Ok(RANDOM) => Ok(URL_SAFE_NO_PAD.encode(bytes)),
        _ => Err(StreamingError::NoRandomness),
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, COUNT_MAX, Door, LIFE, Remote, Request, Tokens};
    use crate::streaming::{
        ExecRequest, PortForwardRequest, StreamingError, request::AttachRequest, request::Streams,
    };
    use std::time::{Duration, Instant};

    fn forward(port: u16) -> Request {
        Request::Forward(PortForwardRequest { sandbox: "s".to_owned(), ports: vec![port] })
    }

    #[test]
    fn a_token_is_good_once_for_a_minute_at_its_own_door() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let token = tokens.issue(now, forward(80)).unwrap();
        assert_eq!(token.len(), 32);
        assert_eq!(tokens.take(now, Door::Exec, &token), None);
        assert_eq!(tokens.take(now, Door::PortForward, "guess"), None);
        assert_eq!(tokens.take(now, Door::PortForward, &token), Some(forward(80)));
        assert_eq!(tokens.take(now, Door::PortForward, &token), None);
        let late = tokens.issue(now, forward(81)).unwrap();
        assert_eq!(tokens.take(now + LIFE, Door::PortForward, &late), None);
        assert_eq!(tokens.take(now, Door::PortForward, &late), None);
    }

    #[test]
    fn a_flood_of_requests_is_refused_until_the_old_ones_have_expired() {
        let tokens = Tokens::default();
        let now = Instant::now();
        for _ in 0..COUNT_MAX {
            tokens.issue(now, forward(1)).unwrap();
        }
        assert!(matches!(tokens.issue(now, forward(1)), Err(StreamingError::Busy)));
        let later = now + LIFE - Duration::from_millis(1);
        assert!(matches!(tokens.issue(later, forward(1)), Err(StreamingError::Busy)));
        tokens.issue(now + LIFE, forward(1)).unwrap();
        assert_eq!(tokens.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn long_commands_count_by_their_bytes() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let streams = Streams { stdin: false, stdout: true, stderr: false, tty: false };
        let long = || {
            Request::Remote(Remote::Exec(ExecRequest {
                container: "c".to_owned(),
                command: vec!["x".repeat(BYTES_MAX / 4)],
                streams,
            }))
        };
        for _ in 0..3 {
            tokens.issue(now, long()).unwrap();
        }
        assert!(matches!(tokens.issue(now, long()), Err(StreamingError::Busy)));
        let attach = AttachRequest { container: "c".to_owned(), streams };
        tokens.issue(now, Request::Remote(Remote::Attach(attach))).unwrap();
    }
}
