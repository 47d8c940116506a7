//! What a shim says of a failure, as an error of the port.

use isula_core::error::{ErrorKind, PortError};
use isulad_shim::protocol::{Failure, FailureKind, Message};

/// The error that a failure is.
pub fn error(failure: Failure) -> PortError {
    let Failure { kind, text } = failure;
    let kind = match kind {
        FailureKind::CommandNotFound => ErrorKind::CommandNotFound,
        FailureKind::NotExecutable => ErrorKind::NotExecutable,
        FailureKind::WrongState => ErrorKind::WrongState,
        FailureKind::Exhausted => ErrorKind::ResourceExhausted,
        FailureKind::Other => ErrorKind::Internal,
        FailureKind::Runtime => return runtime_error(&text),
    };
    PortError::new(kind, text)
}

/// An answer that does not fit the request.
pub fn unexpected(message: Message) -> PortError {
    match message {
        Message::Failed(failure) => error(failure),
        _ => PortError::new(ErrorKind::Internal, "the shim answered something else"),
    }
}

#[derive(serde::Deserialize)]
struct LogLine {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The error in the log of an external runtime: its last line of level `error`, or its last line.
fn runtime_error(log: &str) -> PortError {
    let lines = || log.lines().rev().filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
    let found = lines().find(|line| line.level == "error").or_else(|| lines().next());
    let text = match found {
        Some(line) if !line.msg.is_empty() => line.msg,
        _ => log.trim().lines().next_back().unwrap_or_default().to_owned(),
    };
    PortError::new(kind_of(&text), text.replace('\n', " "))
}

/// What runc 1.1 and 1.3, and crun 1.x, say when a command can't be run.
fn kind_of(text: &str) -> ErrorKind {
    let text = text.to_ascii_lowercase();
    let has = |part: &str| text.contains(part);
    let of_command = has("exec: ") || has("executable") || has("exec format error");
    if has("executable file") && has("not found") || of_command && has("no such file or directory")
    {
        ErrorKind::CommandNotFound
    } else if of_command
        && (has("permission denied") || has("exec format error") || has("is a directory"))
    {
        ErrorKind::NotExecutable
    } else {
        ErrorKind::Internal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_other_runtimes_are_understood() {
        for (message, kind) in [
            (
                "runc create failed: unable to start container process: error during container \
                 init: exec: \"nosuch\": executable file not found in $PATH",
                ErrorKind::CommandNotFound,
            ),
            (
                "runc create failed: unable to start container process: exec: \"/nosuch\": stat \
                 /nosuch: no such file or directory",
                ErrorKind::CommandNotFound,
            ),
            ("exec: \"/etc\": is a directory", ErrorKind::NotExecutable),
            ("exec: \"/etc/passwd\": permission denied", ErrorKind::NotExecutable),
            (
                "executable file `nosuch` not found in $PATH: No such file",
                ErrorKind::CommandNotFound,
            ),
            ("open executable: Permission denied", ErrorKind::NotExecutable),
            ("exec /bin/x: exec format error", ErrorKind::NotExecutable),
            ("rootfs does not exist: no such file or directory", ErrorKind::Internal),
        ] {
            let line = serde_json::json!({"level": "error", "msg": message, "time": "t"});
            let log = format!("{{\"level\":\"info\",\"msg\":\"x\"}}\n{line}\n");
            let error = error(Failure { kind: FailureKind::Runtime, text: log });
            assert_eq!((error.kind(), error.to_string()), (kind, message.to_owned()));
        }
    }

    #[test]
    fn a_log_that_is_no_json_is_told_as_it_is() {
        let error = error(Failure { kind: FailureKind::Runtime, text: "one\ntwo\n".into() });
        assert_eq!(error.to_string(), "two");
    }
}
