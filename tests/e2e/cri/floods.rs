//! Output without end, and clients who do not read it: the daemon's memory stays what it is.

use std::{fs, process::Stdio, thread};

use anyhow::{Context, Result, ensure};
use isula_tests::{
    Node,
    cri::{script, volume},
    stream,
};
use tonic::Code;

/// Sessions at once whose clients do not read.
const SESSIONS: usize = 40;
/// Bytes that each of them is sent, and that the attached ones are.
const EACH: usize = 16 << 20;
const FLOOD: usize = 128 << 20;
/// KiB that the daemon may take for all of them: a debug build's stacks and the buffers of streams,
/// far below what was written.
const ROOM: u64 = 48 << 10;

/// A figure of `/proc/PID/status` in KiB.
fn status(pid: u32, figure: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find(|line| line.starts_with(figure)).context("no such figure")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

/// The most that the daemon holds from now on, over what it holds now.
struct Peak {
    pid: u32,
    begin: u64,
}

impl Peak {
    fn from_now(node: &mut Node) -> Result<Self> {
        let pid = node.world.daemon()?.pid();
        // Resets the high water mark (proc_pid_clear_refs(5)).
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self { pid, begin: status(pid, "VmRSS:")? })
    }

    fn check(&self, room: u64) -> Result<()> {
        let peak = status(self.pid, "VmHWM:")?.saturating_sub(self.begin);
        println!("the daemon took {peak} KiB more at its peak");
        ensure!(peak <= room, "the daemon took {peak} KiB more at its peak: {room} are allowed");
        Ok(())
    }
}

#[test]
fn clients_who_do_not_read_cost_no_memory() -> Result<()> {
    let mut node = Node::new()?;
    let pod = node.run_pod(node.pod("a"))?;
    let marks = node.world.path("marks");
    fs::create_dir(&marks)?;
    let mut config = script("web", "sleep 1000");
    config.mounts = vec![volume(&marks)];
    let id = node.run(&pod, config)?;
    // One that floods its own output, which is not kept, once it is told to.
    let here = marks.display();
    let text = format!(
        "until [ -e {here}/go ]; do sleep 0.1; done; head -c {FLOOD} /dev/zero; \
         echo done >{here}/flood; sleep 1000"
    );
    let mut flood = script("flood", &text);
    flood.log_path.clear();
    flood.mounts = vec![volume(&marks)];
    let flood = node.run(&pod, flood)?;
    let peak = Peak::from_now(&mut node)?;
    let mut connections = Vec::new();
    for number in 0..SESSIONS {
        // A mark would say that somebody took all of it.
        let script = format!(
            "trap '' PIPE; head -c {EACH} /dev/zero 2>/dev/null; echo done >{here}/{number}"
        );
        let url = node.exec_url(&id, &["sh", "-c", &script])?;
        let (connection, status) = stream::upgrade(&url)?;
        ensure!(status == 101, "{status}");
        connections.push(connection);
        let (connection, status) = stream::upgrade(&node.attach_url(&flood)?)?;
        ensure!(status == 101, "{status}");
        connections.push(connection);
    }
    fs::write(marks.join("go"), "")?;
    // The container does not wait for those who are attached: they are cut off.
    let wait = format!("until [ -e {here}/flood ]; do sleep 0.2; done");
    node.exec_sync(&id, &["sh", "-c", &wait], 200)?;
    // Processes of exec wait for their clients, who asked for them.
    let ended = (0..SESSIONS).find(|number| marks.join(number.to_string()).exists());
    ensure!(ended.is_none(), "nobody read what process {ended:?} wrote");
    peak.check(ROOM)?;
    // It serves others meanwhile.
    ensure!(node.shell(&id, "echo here")? == "here");
    drop(connections);
    node.finish()
}

#[test]
fn a_log_that_nobody_reads_on_costs_no_memory() -> Result<()> {
    let mut node = Node::new()?;
    let pod = node.run_pod(node.pod("a"))?;
    let id =
        node.run(&pod, script("web", "yes 'a line of a log' | head -c 30000000; sleep 1000"))?;
    let log = node.world.path("logs/a/web/0.log");
    let peak = Peak::from_now(&mut node)?;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = node.world.isula(&["logs", "-f", &id])?;
        clients.push(client.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    }
    let wait = || -> Result<()> {
        while fs::metadata(&log)?.len() < 100_000_000 {
            node.shell(&id, "sleep 0.2")?;
        }
        Ok(())
    };
    let waited = wait();
    let checked = peak.check(ROOM);
    for mut client in clients {
        client.kill()?;
        client.wait()?;
    }
    waited.and(checked)?;
    node.finish()
}

#[test]
fn exec_sync_keeps_sixteen_mebibytes_of_a_stream_and_a_crowd_of_them_is_held_to_a_limit()
-> Result<()> {
    const LIMIT: usize = 16 << 20;
    let mut node = Node::new()?;
    let pod = node.run_pod(node.pod("a"))?;
    let id = node.run(&pod, script("web", "sleep 1000"))?;
    let both = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; exit 3";
    let done = node.exec_sync(&id, &["sh", "-c", both], 120)?;
    ensure!((done.stdout.len(), done.stderr.len(), done.exit_code) == (LIMIT, LIMIT, 3));
    let peak = Peak::from_now(&mut node)?;
    let outcomes: Vec<_> = thread::scope(|scope| {
        let crowd = (0..24).map(|_| {
            scope.spawn(|| node.exec_sync(&id, &["head", "-c", "40000000", "/dev/zero"], 120))
        });
        let crowd: Vec<_> = crowd.collect();
        // Small ones go on beside them: a probe does not fail for the outputs of others.
        for _ in 0..20 {
            assert_eq!(node.shell(&id, "echo here").unwrap(), "here");
        }
        crowd.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut whole = 0;
    for outcome in outcomes {
        match outcome {
            Ok(done) => {
                ensure!(done.stdout.len() == LIMIT && done.exit_code == 0);
                whole += 1;
            }
            Err(status) => ensure!(status.code() == Code::ResourceExhausted, "{status:?}"),
        }
    }
    ensure!(whole > 0, "none of them was answered");
    // Twice what all may keep, for an answer is written from it, and some for the rest.
    peak.check(192 << 10)?;
    // What was kept is free again.
    let done = node.exec_sync(&id, &["sh", "-c", both], 120)?;
    ensure!(done.stdout.len() == LIMIT && done.stderr.len() == LIMIT);
    node.finish()
}
