//! Credential helpers: programs `docker-credential-NAME` that keep secrets (docker-credential-helpers,
//! "Development"). No shell is involved, the secret is in no argument and in no environment, and one
//! that does not answer is killed.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use isula_api::v1::RegistryCredentials;
use tokio::time::timeout;

use crate::error::Failure;
use crate::json::Value;

/// How long a helper may take: it may ask its user something.
const LIMIT: Duration = Duration::from_secs(60);
/// The largest answer, in bytes.
const LARGEST: u64 = 1 << 20;

/// A helper by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper(String);

impl Helper {
    /// Checks the name: it becomes the name of a program.
    ///
    /// # Errors
    /// It holds something else than letters, digits, `.`, `_` and `-`.
    pub fn new(name: &str) -> Result<Self, Failure> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        match !name.is_empty() && name.bytes().all(fits) {
            true => Ok(Self(format!("docker-credential-{name}"))),
            false => Err(Failure::local(format!("invalid name of a credential helper: {name:?}"))),
        }
    }

    /// The credentials that it keeps under a name; none if it knows none.
    ///
    /// # Errors
    /// It fails, or does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<RegistryCredentials>, Failure> {
        let (success, answer) = self.ask("get", key.to_owned()).await?;
        let text = String::from_utf8_lossy(&answer).trim().to_owned();
        if !success {
            return match text.contains("credentials not found") {
                true => Ok(None),
                false => Err(self.failed(&text)),
            };
        }
        let found = Value::parse(&answer).map_err(|_| self.failed("its answer is no JSON"))?;
        let field = |name: &str| match found.get(name) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        let (username, password) = (field("Username"), field("Secret"));
        Ok((!password.is_empty()).then_some(RegistryCredentials { username, password }))
    }

    /// Has it keep credentials.
    ///
    /// # Errors
    /// It fails, or does not answer.
    pub async fn store(&self, key: &str, kept: &RegistryCredentials) -> Result<(), Failure> {
        let document = Value::map([
            ("ServerURL", Value::from(key)),
            ("Username", kept.username.as_str().into()),
            ("Secret", kept.password.as_str().into()),
        ]);
        match self.ask("store", document.compact()).await? {
            (true, _) => Ok(()),
            (false, answer) => Err(self.failed(&String::from_utf8_lossy(&answer))),
        }
    }

    /// Has it forget credentials.
    ///
    /// # Errors
    /// It fails, or does not answer.
    pub async fn erase(&self, key: &str) -> Result<(), Failure> {
        match self.ask("erase", key.to_owned()).await? {
            (true, _) => Ok(()),
            (false, answer) => Err(self.failed(&String::from_utf8_lossy(&answer))),
        }
    }

    fn failed(&self, why: &str) -> Failure {
        let why: String = why.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        Failure::local(format!("{}: {why}", self.0))
    }

    async fn ask(&self, action: &'static str, input: String) -> Result<(bool, Vec<u8>), Failure> {
        let spawned = Command::new(&self.0)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = spawned.map_err(|error| self.failed(&error.to_string()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let exchange = tokio::task::spawn_blocking(move || {
            if let Some(mut stdin) = stdin {
                // A helper that reads nothing says why by its answer.
                let _ = stdin.write_all(input.as_bytes());
            }
            let mut answer = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(LARGEST).read_to_end(&mut answer)?;
            }
            Ok::<_, std::io::Error>(answer)
        });
        let answer = match timeout(LIMIT, exchange).await {
            Ok(Ok(answer)) => answer.map_err(|error| self.failed(&error.to_string())),
            Ok(Err(error)) => Err(self.failed(&error.to_string())),
            Err(_) => Err(self.failed("it does not answer")),
        };
        // It has closed its stdout, which is the last thing it does.
        let success = end(&mut child, answer.is_err());
        Ok((success.map_err(|error| self.failed(&error.to_string()))?, answer?))
    }
}

fn end(child: &mut Child, kill: bool) -> std::io::Result<bool> {
    if kill {
        child.kill()?;
    }
    Ok(child.wait()?.success())
}

#[cfg(test)]
mod tests {
    use super::Helper;

    #[test]
    fn a_helper_has_the_name_of_a_program_and_nothing_else() {
        assert!(Helper::new("secretservice").is_ok());
        for name in ["", "../x", "a/b", "a b", "a;b", "$x"] {
            assert!(Helper::new(name).is_err(), "{name}");
        }
    }
}
