//! Deaths while pods on a bridge are made, stopped and removed: what was acknowledged holds, and
//! nothing of a network is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use isula_tests::{
    World,
    host::Host,
    images,
    programs::{daemon_with_faults, repository, succeed},
};

use crate::{dice::Dice, die_at, points};

/// Deaths at random instants, unless `ISULA_DEATHS` says otherwise.
const DEATHS: usize = 100;
/// No further death after this time: a slow machine has fewer.
const LIMIT: Duration = Duration::from_secs(100);
/// Pods that are there while the daemon dies.
const PODS: usize = 100;

/// A daemon whose pods lie in a network namespace that stands for the host's.
struct Cluster {
    // Its pin lies in the world's directory and has to go first.
    host: Host,
    world: World,
}

/// What the networks of pods leave on a host.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    links: BTreeSet<String>,
    rules: Vec<String>,
    addresses: BTreeSet<String>,
    results: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    pods: BTreeSet<String>,
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

impl Cluster {
    fn new(program: Option<PathBuf>) -> Result<Self> {
        let mut world = World::bare(&[])?;
        let host = Host::new(world.path("host-network"))?;
        let (lists, addresses) = (world.path("cni.d"), world.path("addresses"));
        fs::create_dir(&lists)?;
        let list = format!(
            r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [
                {{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
                  "ipam": {{"type": "host-local", "dataDir": "{}", "ranges": [[{{"subnet": "10.88.0.0/16"}}]],
                            "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
                {{"type": "portmap", "capabilities": {{"portMappings": true}}, "snat": true}}]}}"#,
            addresses.display()
        );
        fs::write(lists.join("10-pods.conflist"), list)?;
        let config = format!(r#"{{"cni-conf-dir": "{}"}}"#, lists.display());
        fs::write(world.path("daemon.json"), config)?;
        let how = world.how();
        if let Some(program) = program {
            how.program = program;
        }
        host.enclose(how)?;
        Ok(Self { host, world })
    }

    fn crictl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(repository().join("target/tools/go/bin/crictl"));
        let socket = format!("unix://{}", self.world.path("sock").display());
        command.args(["-r", &socket, "-i", &socket, "-t", "30s"]).args(arguments);
        command
    }

    fn ok(&self, arguments: &[&str]) -> Result<String> {
        succeed(&mut self.crictl(arguments))
    }

    /// The file that describes a pod.
    fn pod(&self, number: usize) -> Result<String> {
        let path = self.world.path(&format!("pod-{number}.json"));
        let port = 10_000 + number;
        let text = format!(
            r#"{{"metadata": {{"name": "p{number}", "namespace": "crash", "uid": "u{number}", "attempt": 0}},
                "hostname": "p{number}", "port_mappings": [{{"container_port": 80, "host_port": {port}}}],
                "linux": {{}}}}"#
        );
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// The pods by their names, each with its id and whether it is ready.
    fn pods(&self) -> Result<BTreeMap<String, (String, bool)>> {
        let list: serde_json::Value = serde_json::from_str(&self.ok(&["pods", "-o", "json"])?)?;
        let mut found = BTreeMap::new();
        for item in list["items"].as_array().into_iter().flatten() {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let ready = item["state"] == "SANDBOX_READY";
            found.insert(text(&item["metadata"]["name"]), (text(&item["id"]), ready));
        }
        Ok(found)
    }

    fn remove_all(&self) -> Result<()> {
        for (id, _) in self.pods()?.values() {
            self.ok(&["stopp", id])?;
            self.ok(&["rmp", id])?;
        }
        Ok(())
    }

    fn traces(&self) -> Result<Traces> {
        let links = self.host.run(&["ip", "-o", "link"])?;
        let name = |line: &str| line.split(": ").nth(1).map(str::to_owned);
        let rules = self.host.run(&["nft", "list", "ruleset"])?;
        let taken = names(&self.world.path("addresses/pods")).into_iter();
        Ok(Traces {
            links: links.lines().filter_map(name).collect(),
            rules: rules.lines().map(str::to_owned).collect(),
            addresses: taken.filter(|name| name.starts_with("10.")).collect(),
            results: names(&self.world.path("data/cni/results")),
            namespaces: names(&self.world.path("state/netns")),
            pods: names(&self.world.path("state/pods")),
        })
    }

    /// What is left of a pod that came and went without a death.
    fn usual(&self) -> Result<Traces> {
        let id = self.ok(&["runp", &self.pod(0)?])?;
        let during = self.traces()?;
        ensure!(during.links.len() == 3 && during.addresses.len() == 1, "{during:?}");
        ensure!(during.namespaces.len() == 1 && during.results.len() == 1, "{during:?}");
        self.ok(&["stopp", &id])?;
        self.ok(&["rmp", &id])?;
        let after = self.traces()?;
        ensure!(after.links.len() == 2 && after.addresses.is_empty(), "{after:?}");
        ensure!(after.namespaces.is_empty() && after.results.is_empty(), "{after:?}");
        Ok(after)
    }

    fn finish(self) -> Result<()> {
        drop(self.host);
        self.world.finish()
    }
}

/// The same for a container with a network.
fn interrupt_connected(point: &str) -> Result<bool> {
    let mut cluster = Cluster::new(Some(daemon_with_faults()?))?;
    cluster.world.start()?;
    let usual = cluster.usual()?;
    cluster.world.ok(&["load", "-i", &images::busybox_docker_archive()?.display().to_string()])?;
    let image = ["busybox", "sleep", "1000"];
    let options = ["create", "--name", "x", "--network", "pods", "-p", "18080:80"];
    cluster.world.ok(&[&options[..], &image].concat())?;
    let stops = point == "connect.detached";
    if stops {
        cluster.world.ok(&["start", "x"])?;
    }
    let command = if stops { vec!["stop", "-t", "0", "x"] } else { vec!["start", "x"] };
    let mut client = cluster.world.isula(&command)?;
    let (passed, acknowledged) = die_at(&mut cluster.world, point, &mut client)?;
    let state = cluster.world.ok(&["inspect", "-f", "{{.State.Status}}", "x"])?;
    let wanted = if stops { "exited" } else { "running" };
    ensure!(!acknowledged || state == wanted, "acknowledged {command:?}, then {state}");
    let attached = cluster.traces()?.addresses.len();
    ensure!(attached == usize::from(state == "running"), "{state}, with {attached} addresses");
    // And it can be asked for again.
    cluster.world.ok(&["start", "x"])?;
    cluster.world.ok(&["rm", "-f", "x"])?;
    let left = cluster.traces()?;
    ensure!(left == usual, "left: {left:#?}, usual: {usual:#?}");
    cluster.finish()?;
    Ok(passed)
}

fn interrupt(point: &str) -> Result<bool> {
    if point.starts_with("connect.") {
        return interrupt_connected(point);
    }
    let mut cluster = Cluster::new(Some(daemon_with_faults()?))?;
    cluster.world.start()?;
    let usual = cluster.usual()?;
    let pod = cluster.pod(1)?;
    let command = match point.split('.').next().unwrap_or_default() {
        "runp" => vec!["runp".to_owned(), pod],
        "network" if point != "network.deleted" => vec!["runp".to_owned(), pod],
        "stopp" | "network" => vec!["stopp".to_owned(), cluster.ok(&["runp", &pod])?],
        "rmp" => {
            let id = cluster.ok(&["runp", &pod])?;
            cluster.ok(&["stopp", &id])?;
            vec!["rmp".to_owned(), id]
        }
        other => bail!("no operation of pods passes {other}.*"),
    };
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut client = cluster.crictl(&command);
    let (passed, acknowledged) = die_at(&mut cluster.world, point, &mut client)?;
    let pods = cluster.pods()?;
    if acknowledged {
        let found = pods.get("p1").map(|(_, ready)| *ready);
        let wanted = match command[0] {
            "runp" => Some(true),
            "stopp" => Some(false),
            _ => None,
        };
        ensure!(found == wanted, "acknowledged {command:?}, then {pods:?}");
    }
    cluster.remove_all()?;
    let left = cluster.traces()?;
    ensure!(left == usual, "left: {left:#?}, usual: {usual:#?}");
    // And the same can be asked for again.
    let id = cluster.ok(&["runp", &cluster.pod(1)?])?;
    cluster.ok(&["rmp", "-f", &id])?;
    let left = cluster.traces()?;
    ensure!(left == usual, "left: {left:#?}, usual: {usual:#?}");
    cluster.finish()?;
    Ok(passed)
}

/// Whether a fault point lies on the way of pods, or of a container with a network.
pub fn is_of_pods(point: &str) -> bool {
    ["connect.", "network.", "runp.", "stopp.", "rmp."]
        .iter()
        .any(|prefix| point.starts_with(prefix))
}

#[test]
fn a_death_at_any_step_of_a_pod_leaves_nothing_of_its_network() -> Result<()> {
    let points: Vec<String> =
        points::all()?.into_iter().filter(|point| is_of_pods(point)).collect();
    ensure!(points.len() > 10, "{points:?}");
    let mut missed = Vec::new();
    for point in points {
        let passed = interrupt(&point).with_context(|| point.clone())?;
        println!("{point}: {}", if passed { "died and recovered" } else { "not passed" });
        if !passed {
            missed.push(point);
        }
    }
    ensure!(missed.is_empty(), "nothing passes these points: {missed:?}");
    Ok(())
}

/// What was asked for when the daemon died, and of which pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Run,
    Stop,
    Remove,
}

#[test]
fn a_hundred_pods_outlive_deaths_at_any_instant_and_leave_nothing() -> Result<()> {
    let mut cluster = Cluster::new(None)?;
    cluster.world.start()?;
    let usual = cluster.usual()?;
    let begun = Instant::now();
    // By number: the id, and whether it is ready.
    let mut pods: BTreeMap<usize, (String, bool)> = BTreeMap::new();
    for number in 1..=PODS {
        pods.insert(number, (cluster.ok(&["runp", &cluster.pod(number)?])?, true));
    }
    let each = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX) / PODS as u64;
    let seed = Dice::seed();
    let mut dice = Dice(seed);
    println!("seed {seed:#x}; a pod took {each} us");
    let deaths = std::env::var("ISULA_DEATHS").ok().and_then(|text| text.parse().ok());
    let (deaths, begun) = (deaths.unwrap_or(DEATHS), Instant::now());
    let (mut count, mut done, mut next) = (0, 0, PODS + 1);
    while count < deaths && begun.elapsed() < LIMIT {
        let place = usize::try_from(dice.below(pods.len() as u64)).unwrap_or(0);
        let chosen = pods.iter().nth(place).map(|(number, (_, ready))| (*number, *ready));
        let (asked, number) = match (dice.below(2), chosen) {
            (0, _) | (_, None) => (Asked::Run, next),
            (_, Some((number, true))) => (Asked::Stop, number),
            (_, Some((number, false))) => (Asked::Remove, number),
        };
        let id = pods.get(&number).map(|(id, _)| id.clone()).unwrap_or_default();
        let file = cluster.pod(number)?;
        let mut client = match asked {
            Asked::Run => cluster.crictl(&["runp", &file]),
            Asked::Stop => cluster.crictl(&["stopp", &id]),
            Asked::Remove => cluster.crictl(&["rmp", &id]),
        };
        let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // The instant is what this test is about; nothing is waited for.
        thread::sleep(Duration::from_micros(dice.below(2 * each)));
        cluster.world.take_daemon()?.kill()?;
        let acknowledged = client.wait()?.success();
        count += 1;
        done += usize::from(acknowledged);
        let told = || format!("death {count}: {asked:?} of p{number}, seed {seed:#x}");
        cluster.world.start().with_context(told)?;
        let mut found = cluster.pods().with_context(told)?;
        let now = found.remove(&format!("p{number}"));
        let ready = now.as_ref().map(|(_, ready)| *ready);
        let allowed: &[Option<bool>] = match (asked, acknowledged) {
            (Asked::Run, true) => &[Some(true)],
            (Asked::Run, false) => &[None, Some(true), Some(false)],
            (Asked::Stop, true) => &[Some(false)],
            (Asked::Stop, false) => &[Some(true), Some(false)],
            (Asked::Remove, true) => &[None],
            (Asked::Remove, false) => &[None, Some(false)],
        };
        ensure!(allowed.contains(&ready), "{}: now {ready:?}", told());
        match now {
            Some(now) => drop(pods.insert(number, now)),
            None => drop(pods.remove(&number)),
        }
        next += usize::from(asked == Asked::Run);
        for (other, state) in pods.iter().filter(|(other, _)| **other != number) {
            let found = found.remove(&format!("p{other}"));
            ensure!(found.as_ref() == Some(state), "{}: p{other} is {found:?}", told());
        }
        ensure!(found.is_empty(), "{}: unknown: {found:?}", told());
    }
    println!("{count} deaths, {done} of them after the answer, in {:?}", begun.elapsed());
    ensure!(count >= deaths.min(20), "only {count} deaths in {LIMIT:?}");
    cluster.remove_all()?;
    let left = cluster.traces()?;
    ensure!(left == usual, "left: {left:#?}, usual: {usual:#?}");
    cluster.finish()
}
