//! `isula login`: credentials for a registry, checked and kept.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use isula_api::v1::{LoginRequest, RegistryCredentials};
use isula_sys::terminal;

use super::{Command, Context};
use crate::credentials::{self, AuthFile, HUB};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::interrupt::or_interrupted;
use crate::output;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "login",
        usage: "[OPTIONS] [SERVER]",
        about: "Log in to a registry",
        flags: &[&[
            Flag::value("password", Some('p'), "password", "Password (seen by all: do not use it)"),
            Flag::switch("password-stdin", None, "Take the password from stdin"),
            Flag::value("username", Some('u'), "name", "User name"),
        ]],
        least: 0,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

/// The longest password, in bytes.
const LARGEST: u64 = 64 << 10;

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let registry = credentials::normal(arguments.rest.first().map_or(HUB, String::as_str));
    let given = given(arguments)?;
    let mut file = AuthFile::read(credentials::own_file()?)?;
    let helper = file.helper(registry)?;
    let request = LoginRequest { registry: registry.to_owned(), credentials: Some(given.clone()) };
    let client = context.client().await?;
    let token = or_interrupted(async {
        Ok(client.storage().login(request).await?.into_inner().identity_token)
    })
    .await?;
    match helper {
        Some(helper) => {
            let kept = match token.is_empty() {
                true => given,
                false => RegistryCredentials { username: "<token>".to_owned(), password: token },
            };
            helper.store(credentials::key(registry), &kept).await?;
            file.note(registry);
        }
        None => {
            file.put(registry, &given, &token);
            let place = file.shown();
            output::tell(&format!(
                "WARNING! Your credentials are stored unencrypted in '{place}'."
            ));
        }
    }
    file.write()?;
    output::print("Login Succeeded\n")?;
    Ok(0)
}

/// What the flags say, and what they do not say from the terminal.
fn given(arguments: &Arguments) -> Result<RegistryCredentials, Failure> {
    let from_stdin = arguments.on("password-stdin");
    let username = arguments.text("username").map(str::to_owned);
    if from_stdin && arguments.value("password").is_some() {
        return Err(arguments.fault("--password and --password-stdin are mutually exclusive"));
    }
    if from_stdin && username.is_none() {
        return Err(arguments.fault("must provide --username with --password-stdin"));
    }
    let is_terminal = std::io::stdin().is_terminal();
    let missing = "cannot ask for it: stdin is no terminal (use --username and --password-stdin)";
    let username = match username {
        Some(username) => username,
        None if is_terminal => ask("Username: ")?,
        None => return Err(Failure::local(format!("no username, and {missing}"))),
    };
    let password = match arguments.value("password") {
        Some(password) => {
            let advice = "Using --password via the CLI is insecure. Use --password-stdin.";
            output::tell(&format!("WARNING! {advice}"));
            password.to_owned()
        }
        None if from_stdin => {
            let mut text = String::new();
            std::io::stdin().lock().take(LARGEST).read_to_string(&mut text)?;
            let end = text.trim_end_matches(['\r', '\n']).len();
            text.truncate(end);
            text
        }
        None if is_terminal => ask_secretly("Password: ")?,
        None => return Err(Failure::local(format!("no password, and {missing}"))),
    };
    if username.is_empty() || password.is_empty() {
        return Err(Failure::local("neither username nor password may be empty"));
    }
    if username.contains(':') {
        return Err(Failure::local("a username has no colon"));
    }
    Ok(RegistryCredentials { username, password })
}

fn prompt(text: &str) -> Result<(), Failure> {
    let mut err = std::io::stderr().lock();
    err.write_all(text.as_bytes())?;
    Ok(err.flush()?)
}

fn ask(text: &str) -> Result<String, Failure> {
    prompt(text)?;
    let mut line = String::new();
    std::io::stdin().lock().take(LARGEST).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A line that is not shown while it is typed.
fn ask_secretly(text: &str) -> Result<String, Failure> {
    prompt(text)?;
    let stdin = std::io::stdin();
    let raw = terminal::enter_raw(stdin.as_fd())?;
    let typed = typed(stdin.lock().bytes());
    drop(raw);
    prompt("\n")?;
    typed
}

fn typed(bytes: impl Iterator<Item = std::io::Result<u8>>) -> Result<String, Failure> {
    let mut line = Vec::new();
    for byte in bytes.take(usize::try_from(LARGEST).unwrap_or(usize::MAX)) {
        match byte? {
            b'\r' | b'\n' | 4 => break,
            // Ctrl-C: in this mode the terminal makes no signal of it.
            3 => return Err(Failure::Interrupted(130)),
            8 | 127 => drop(line.pop()),
            // Ctrl-U.
            21 => line.clear(),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| Failure::local("the password is not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::typed;

    #[test]
    fn a_secret_line_can_be_corrected_and_broken_off() {
        let read = |text: &str| typed(text.bytes().map(Ok));
        assert_eq!(read("secret\rrest").unwrap(), "secret");
        assert_eq!(read("wrong\u{15}sed\u{8}cret\u{4}").unwrap(), "secret");
        assert_eq!(read("abc\u{3}").unwrap_err().status(false), 130);
    }
}
