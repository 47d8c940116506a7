//! Measures an engine behind a CRI socket, whichever it is: `isula-bench-cri --socket PATH`.
//!
//! `runp`, `create`, `start`, `exec`, `stop` and `stopp`, one after the other and many at once. The
//! messages are written out here as far as they are needed, so that the client is the same for
//! every engine and is none of ours. The result is one JSON object on standard output;
//! `isula-bench-cri --table FILE...` reads several, named `ENGINE-ROUND.json`, and puts them side by side.

#![forbid(unsafe_code)]

mod cri {
    pub mod client;
    pub mod message;
    pub mod table;
}

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use isula_tests::census::{pss, settled_pss};

use crate::cri::client::Client;

/// What to measure.
struct Options {
    socket: PathBuf,
    /// Operations measured one after the other.
    single: usize,
    /// Operations at once.
    crowd: usize,
    image: String,
    /// Processes whose memory counts, by the beginning of their names.
    names: Vec<String>,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut options = Self {
            socket: PathBuf::new(),
            single: 20,
            crowd: 100,
            image: "registry.k8s.io/e2e-test-images/busybox:1.29-2".to_owned(),
            names: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(flag) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{flag} wants a value"))?;
            match flag.as_str() {
                "--socket" => options.socket = value.into(),
                "--single" => options.single = value.parse()?,
                "--crowd" => options.crowd = value.parse()?,
                "--image" => options.image = value,
                "--memory-of" => options.names.push(value),
                _ => bail!("unknown flag {flag}"),
            }
        }
        if options.socket.as_os_str().is_empty() {
            bail!(
                "usage: isula-bench-cri --socket PATH [--single N] [--crowd N] [--image NAME] [--memory-of PROGRAM]..."
            );
        }
        Ok(options)
    }
}

/// Milliseconds by operation.
type Times = BTreeMap<&'static str, Vec<f64>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--table") {
        return cri::table::print(arguments.map(PathBuf::from));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&Options::parse()?))
}

async fn run(options: &Options) -> Result<()> {
    let client = Client::connect(&options.socket).await?;
    client.pull(&options.image).await?;
    let mut times = Times::new();
    for number in 0..options.single {
        life(&client, options, number, &mut times).await?;
    }
    let idle = settled(&options.names)?;
    let (crowd, full) = crowd(&client, options).await?;
    let medians: BTreeMap<_, _> =
        times.into_iter().map(|(name, times)| (name, round(median(times)))).collect();
    let pods = options.crowd as u64;
    let (daemon, helpers) = (full.daemon, full.helpers);
    let report = serde_json::json!({
        "one, ms": medians,
        format!("{pods} at once, ms"): crowd,
        "memory, KiB": {
            "daemon, idle after work": idle.daemon,
            format!("daemon, {pods} pods"): daemon,
            format!("helpers of each of {pods} pods"): helpers.saturating_sub(idle.helpers) / pods.max(1),
            format!("all, for each of {pods} pods"): (daemon + helpers)
                .saturating_sub(idle.daemon + idle.helpers) / pods.max(1),
        },
    });
    println!("{report:#}");
    Ok(())
}

async fn timed<T>(
    times: &mut Times,
    name: &'static str,
    step: impl Future<Output = Result<T>>,
) -> Result<T> {
    let began = Instant::now();
    let done = step.await.with_context(|| name)?;
    times.entry(name).or_default().push(millis(began.elapsed()));
    Ok(done)
}

/// One pod with one container, each step measured.
async fn life(client: &Client, options: &Options, number: usize, times: &mut Times) -> Result<()> {
    let pod = timed(times, "runp", client.run_pod(number)).await?;
    let id = timed(times, "create", client.create(&pod, &options.image, number)).await?;
    timed(times, "start", client.start(&id)).await?;
    timed(times, "exec", client.exec(&id)).await?;
    timed(times, "stop", client.stop(&id)).await?;
    timed(times, "rm", client.remove(&id)).await?;
    timed(times, "stopp", client.stop_pod(&pod)).await?;
    timed(times, "rmp", client.remove_pod(&pod)).await
}

/// Runs a step for every item at once.
async fn all<I, T, F>(items: Vec<I>, step: impl Fn(I) -> F) -> Result<(f64, Vec<T>)>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let began = Instant::now();
    let tasks: Vec<_> = items.into_iter().map(|item| tokio::spawn(step(item))).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await??);
    }
    Ok((round(millis(began.elapsed())), done))
}

/// Many pods with one container each, each step of all of them measured. Also the memory when all
/// of them run.
async fn crowd(
    client: &Client,
    options: &Options,
) -> Result<(BTreeMap<&'static str, f64>, Memory)> {
    let mut times = BTreeMap::new();
    // One connection carries them all, as from a kubelet.
    let of = |client: &Client| client.clone();
    let numbers = (1000..1000 + options.crowd).collect();
    let (time, pods) = all(numbers, |number| {
        let client = of(client);
        async move { client.run_pod(number).await }
    })
    .await?;
    times.insert("runp", time);
    let numbered = pods.iter().cloned().enumerate().collect();
    let (time, ids) = all(numbered, |(number, pod): (usize, String)| {
        let (client, image) = (of(client), options.image.clone());
        async move {
            let id = client.create(&pod, &image, number).await?;
            client.start(&id).await.map(|()| id)
        }
    })
    .await?;
    times.insert("create+start", time);
    let full = settled(&options.names)?;
    let exec = |id: String| {
        let client = of(client);
        async move { client.exec(&id).await }
    };
    times.insert("exec", all(ids, exec).await?.0);
    let stop = |pod: String| {
        let client = of(client);
        async move { client.stop_pod(&pod).await }
    };
    times.insert("stopp", all(pods.clone(), stop).await?.0);
    let remove = |pod: String| {
        let client = of(client);
        async move { client.remove_pod(&pod).await }
    };
    times.insert("rmp", all(pods, remove).await?.0);
    Ok((times, full))
}

/// Proportional set sizes in KiB.
struct Memory {
    /// Of the process that has the first of the names.
    daemon: u64,
    /// Of all others whose name begins with one of them.
    helpers: u64,
}

/// What is held when the daemon has come to rest.
fn settled(names: &[String]) -> Result<Memory> {
    let processes = processes(names)?;
    let daemon = processes.iter().find(|(_, name)| names.first() == Some(name));
    let daemon = daemon.map(|(pid, _)| *pid).context("no process is called as the daemon is")?;
    let held = settled_pss(daemon)?;
    let others = processes.iter().filter(|(pid, _)| *pid != daemon);
    // One that ended since has no memory.
    let helpers = others.map(|(pid, _)| pss(*pid).unwrap_or_default()).sum();
    Ok(Memory { daemon: held, helpers })
}

/// Number and name of every process whose name begins with one of these.
fn processes(names: &[String]) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let name = name.trim();
        if let Some(pid) = pid.filter(|_| names.iter().any(|wanted| name.starts_with(wanted))) {
            found.push((pid, name.to_owned()));
        }
    }
    Ok(found)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
