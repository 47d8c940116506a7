//! `isula info`: the daemon and the machine.

use isula_api::v1::{InfoRequest, InfoResponse};

use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::json::Value;
use crate::output::{self, rows};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "info",
        usage: "[OPTIONS]",
        about: "Display system-wide information",
        flags: &[&[Flag::value("format", Some('f'), "template", "Go template or \"json\"")]],
        least: 0,
        most: 0,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let info = context.client().await?.system().info(InfoRequest {}).await?.into_inner();
    let text = match arguments.text("format") {
        Some(format) => rows::object(format, &document(&info))?,
        None => lines(&info),
    };
    output::print(&text)?;
    Ok(0)
}

/// Names of the fields in Docker's API, where it has them.
fn document(info: &InfoResponse) -> Value {
    let number = |number: u32| Value::from(i64::from(number));
    Value::map([
        ("Containers", number(info.containers)),
        ("ContainersRunning", number(info.running)),
        ("ContainersPaused", number(info.paused)),
        ("ContainersStopped", number(info.stopped)),
        ("Images", number(info.images)),
        ("ServerVersion", info.version.as_str().into()),
        ("Driver", info.storage_driver.as_str().into()),
        ("LoggingDriver", info.logging_driver.as_str().into()),
        ("CgroupDriver", info.cgroup_driver.as_str().into()),
        ("CgroupVersion", info.cgroup_version.to_string().into()),
        ("HugetlbPagesize", Value::strings(&info.huge_page_sizes)),
        ("KernelVersion", info.kernel.as_str().into()),
        ("OperatingSystem", info.operating_system.as_str().into()),
        ("OSType", info.os_type.as_str().into()),
        ("Architecture", info.architecture.as_str().into()),
        ("NCPU", number(info.cpus)),
        ("MemTotal", Value::Int(info.memory.into())),
        ("Name", info.name.as_str().into()),
        ("RootDir", info.root_dir.as_str().into()),
        ("StateDir", info.state_dir.as_str().into()),
        ("Runtimes", Value::strings(&info.runtimes)),
        ("DefaultRuntime", info.default_runtime.as_str().into()),
        ("RegistryMirrors", Value::strings(&info.registry_mirrors)),
        ("InsecureRegistries", Value::strings(&info.insecure_registries)),
        ("HTTPProxy", info.http_proxy.as_str().into()),
        ("HTTPSProxy", info.https_proxy.as_str().into()),
        ("NoProxy", info.no_proxy.as_str().into()),
        ("Damage", Value::strings(&info.damage)),
    ])
}

fn lines(info: &InfoResponse) -> String {
    let mut out = format!(
        "Containers: {}\n Running: {}\n Paused: {}\n Stopped: {}\nImages: {}\n",
        info.containers, info.running, info.paused, info.stopped, info.images
    );
    let memory = info.memory as f64 / 1e9;
    let cgroup_version = info.cgroup_version.to_string();
    let fields = [
        ("Server Version", info.version.clone()),
        ("Storage Driver", info.storage_driver.clone()),
        ("Logging Driver", info.logging_driver.clone()),
        ("Cgroup Driver", info.cgroup_driver.clone()),
        ("Cgroup Version", cgroup_version),
        ("Runtimes", info.runtimes.join(" ")),
        ("Default Runtime", info.default_runtime.clone()),
        ("Hugetlb Pagesize", info.huge_page_sizes.join(", ")),
        ("Kernel Version", info.kernel.clone()),
        ("Operating System", info.operating_system.clone()),
        ("OSType", info.os_type.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.cpus.to_string()),
        ("Total Memory", format!("{memory:.1} GB")),
        ("Name", info.name.clone()),
        ("iSulad Root Dir", info.root_dir.clone()),
        ("iSulad State Dir", info.state_dir.clone()),
        ("Http Proxy", info.http_proxy.clone()),
        ("Https Proxy", info.https_proxy.clone()),
        ("No Proxy", info.no_proxy.clone()),
    ];
    for (title, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        out.push_str(&format!("{title}: {value}\n"));
    }
    let lists = [
        ("Registry Mirrors", &info.registry_mirrors),
        ("Insecure Registries", &info.insecure_registries),
        ("Damage", &info.damage),
    ];
    for (title, items) in lists.iter().filter(|(_, items)| !items.is_empty()) {
        out.push_str(&format!("{title}:\n"));
        items.iter().for_each(|item| out.push_str(&format!(" {item}\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_shown_and_nothing_else() {
        let info = InfoResponse {
            containers: 3,
            running: 1,
            stopped: 2,
            images: 4,
            version: "1.2.3".to_owned(),
            cpus: 2,
            memory: 25_000_000_000,
            cgroup_version: 2,
            damage: vec!["engines/lcr/x: empty".to_owned()],
            ..InfoResponse::default()
        };
        let expected = "Containers: 3\n Running: 1\n Paused: 0\n Stopped: 2\nImages: 4\n\
                        Server Version: 1.2.3\nCgroup Version: 2\nCPUs: 2\nTotal Memory: 25.0 GB\n\
                        Damage:\n engines/lcr/x: empty\n";
        assert_eq!(lines(&info), expected);
        let found =
            rows::object("{{.ContainersRunning}} {{.NCPU}} {{.MemTotal}}", &document(&info));
        assert_eq!(found.unwrap(), "1 2 25000000000\n");
    }
}
