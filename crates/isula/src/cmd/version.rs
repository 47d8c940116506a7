//! `isula version`: of the client, the OCI runtime-spec and the daemon.

use isula_api::v1::{VersionRequest, VersionResponse};

use super::{Command, Context};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::json::Value;
use crate::output::{self, rows};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "version",
        usage: "[OPTIONS]",
        about: "Display information about isula",
        flags: &[&[Flag::value("format", Some('f'), "template", "Go template or \"json\"")]],
        least: 0,
        most: 0,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

const CLIENT_VERSION: &str = env!("CARGO_PKG_VERSION");

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let server = server(context).await;
    if let Some(format) = arguments.text("format") {
        output::print(&rows::object(format, &document(&server?))?)?;
        return Ok(0);
    }
    // The client's own version is known even if no daemon answers.
    output::print(&format!("Client:\n  Version:\t{CLIENT_VERSION}\n"))?;
    output::print(&blocks(&server?))?;
    Ok(0)
}

async fn server(context: &Context) -> Result<VersionResponse, Failure> {
    Ok(context.client().await?.system().version(VersionRequest {}).await?.into_inner())
}

fn blocks(server: &VersionResponse) -> String {
    let mut out = format!("\nOCI config:\n  Version:\t{}\n\nServer:\n", server.oci_runtime_spec);
    let lines = [
        ("Version", &server.version),
        ("API version", &server.api_version),
        ("Git commit", &server.git_commit),
        ("Architecture", &server.architecture),
        ("Kernel version", &server.kernel),
    ];
    for (title, value) in lines {
        if !value.is_empty() {
            out.push_str(&format!("  {title}:\t{value}\n"));
        }
    }
    out
}

fn document(server: &VersionResponse) -> Value {
    let client = [("Version", CLIENT_VERSION), ("Os", std::env::consts::OS)];
    let server = [
        ("Version", &server.version),
        ("ApiVersion", &server.api_version),
        ("OciRuntimeSpec", &server.oci_runtime_spec),
        ("GitCommit", &server.git_commit),
        ("Arch", &server.architecture),
        ("KernelVersion", &server.kernel),
    ];
    Value::map([
        ("Client", Value::map(client.map(|(key, value)| (key, Value::from(value))))),
        ("Server", Value::map(server.map(|(key, value)| (key, Value::from(value.as_str()))))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_are_the_seeds() {
        let server = VersionResponse {
            version: "1.2.3".to_owned(),
            api_version: "1".to_owned(),
            oci_runtime_spec: "1.2.1".to_owned(),
            ..VersionResponse::default()
        };
        let expected =
            "\nOCI config:\n  Version:\t1.2.1\n\nServer:\n  Version:\t1.2.3\n  API version:\t1\n";
        assert_eq!(blocks(&server), expected);
        let found = rows::object("{{.Server.Version}} {{.Client.Version}}", &document(&server));
        assert_eq!(found.unwrap(), format!("1.2.3 {CLIENT_VERSION}\n"));
    }
}
