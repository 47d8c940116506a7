//! `isula port`: the ports of the host that lead to those of a container.

use isula_api::v1::InspectRequest;

use super::{Command, Context};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Syntax};
use crate::json::Value;
use crate::output;
use crate::parse::names;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "port",
        usage: "CONTAINER [PORT[/PROTOCOL]]",
        about: "List the ports of the host that lead to a container",
        flags: &[],
        least: 1,
        most: 2,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (id, port) = match arguments.rest.as_slice() {
        [id] => (id, None),
        [id, port] => {
            let port = names::exposed_port(port).map_err(|error| arguments.fault(error))?;
            (id, Some(port))
        }
        _ => return Err(arguments.fault("a container is needed")),
    };
    let request = InspectRequest { id: id.clone() };
    let answer = context.client().await?.containers().inspect(request).await?.into_inner();
    let found = Value::parse(&answer.json)
        .map_err(|error| Failure::local(format!("the daemon's answer is not JSON: {error}")))?;
    let lines = lines(&found, port.as_deref());
    match port {
        Some(port) if lines.is_empty() => {
            Err(Failure::local(format!("no public port '{port}' published for {id}")))
        }
        _ => {
            output::print(&lines)?;
            Ok(0)
        }
    }
}

/// `80/tcp -> 0.0.0.0:8080`, or what is right of the arrow where one port is asked for.
fn lines(container: &Value, wanted: Option<&str>) -> String {
    let mut lines = String::new();
    let ports = container.get("NetworkSettings").and_then(|settings| settings.get("Ports"));
    let Some(Value::Map(ports)) = ports else { return lines };
    for (port, bindings) in ports {
        let Value::List(bindings) = bindings else { continue };
        if wanted.is_some_and(|wanted| wanted != port) {
            continue;
        }
        for binding in bindings {
            let text = |key| match binding.get(key) {
                Some(Value::String(text)) => text.as_str(),
                _ => "",
            };
            let (ip, host) = (text("HostIp"), text("HostPort"));
            let address =
                if ip.contains(':') { format!("[{ip}]:{host}") } else { format!("{ip}:{host}") };
            lines += &match wanted {
                Some(_) => format!("{address}\n"),
                None => format!("{port} -> {address}\n"),
            };
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_as_docker_lists_them() {
        let json = br#"{"NetworkSettings": {"Ports": {"443/tcp": null, "80/tcp": [
            {"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "81"}]}}}"#;
        let found = Value::parse(json).unwrap();
        assert_eq!(lines(&found, None), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::1]:81\n");
        assert_eq!(lines(&found, Some("80/tcp")), "0.0.0.0:8080\n[::1]:81\n");
        assert_eq!(lines(&found, Some("443/tcp")), "");
        assert_eq!(lines(&Value::Null, None), "");
    }
}
