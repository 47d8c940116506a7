//! What a client is told on the error channel when its process has ended.

use serde_json::json;

/// How a process, or the attempt to start it, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With this exit status; an attached process' streams end with 0.
    Exited(i32),
    /// It could not be started, or its streams broke.
    Failed(String),
}

/// How a client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Up to the third version: a line of text, nothing after a success.
    Text,
    /// From the fourth on: a `metav1.Status` of Kubernetes as JSON.
    Json,
}

impl Outcome {
    /// The bytes for the error channel.
    pub(super) fn told(&self, dialect: Dialect) -> Vec<u8> {
        match dialect {
            Dialect::Json => self.json().to_string().into_bytes(),
            Dialect::Text => self.text().unwrap_or_default().into_bytes(),
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Exited(0) => None,
            Self::Exited(status) => {
                Some(format!("command terminated with non-zero exit code: {status}"))
            }
            Self::Failed(reason) => Some(format!("Internal error occurred: {reason}")),
        }
    }

    fn json(&self) -> serde_json::Value {
        let Some(message) = self.text() else {
            return json!({"metadata": {}, "status": "Success"});
        };
        match self {
            Self::Exited(status) => json!({
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": status.to_string()}]},
            }),
            Self::Failed(reason) => json!({
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": "InternalError",
                "details": {"causes": [{"message": reason}]},
                "code": 500,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Outcome};

    #[test]
    fn the_status_is_what_clients_of_kubernetes_parse() {
        let told = |outcome: Outcome, dialect| String::from_utf8(outcome.told(dialect)).unwrap();
        for (outcome, text, json) in [
            (Outcome::Exited(0), "", r#"{"metadata":{},"status":"Success"}"#),
            (
                Outcome::Exited(3),
                "command terminated with non-zero exit code: 3",
                r#"{"details":{"causes":[{"message":"3","reason":"ExitCode"}]},"message":"command terminated with non-zero exit code: 3","metadata":{},"reason":"NonZeroExitCode","status":"Failure"}"#,
            ),
            (
                Outcome::Failed("no \"such\"".to_owned()),
                "Internal error occurred: no \"such\"",
                r#"{"code":500,"details":{"causes":[{"message":"no \"such\""}]},"message":"Internal error occurred: no \"such\"","metadata":{},"reason":"InternalError","status":"Failure"}"#,
            ),
        ] {
            assert_eq!(told(outcome.clone(), Dialect::Text), text);
            assert_eq!(told(outcome, Dialect::Json), json);
        }
    }
}
