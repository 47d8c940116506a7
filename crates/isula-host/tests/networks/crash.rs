//! A daemon that is killed while it attaches and detaches leaves nothing that the next one does not
//! take away.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use isula_core::ports::{Networks, PortMapping, Protocol};

use crate::world::{BRIDGE, Pod, World, on_a_host};

const ROOT: &str = "ISULA_TEST_NETWORKS_ROOT";

/// The process that is killed: it attaches and detaches for ever.
#[test]
#[ignore = "only as the victim of another test"]
fn victim() {
    let root = std::env::var(ROOT).unwrap();
    let world = World::at(Path::new(&root));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = std::sync::Arc::new(world);
        let busy = (1..=6).map(|number| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move {
                loop {
                    let pod = world.pod(number).await;
                    world.networks.attach(&with_port(&pod, number)).await.unwrap();
                    println!("attached");
                    pod.end(&world).await;
                }
            })
        });
        // None of them ends but by a failure.
        let (task, _, _) = futures_util::future::select_all(busy.collect::<Vec<_>>()).await;
        task.unwrap()
    });
}

fn with_port(pod: &Pod, number: u8) -> isula_core::ports::NetworkRequest {
    let mut request = pod.request();
    request.capabilities.port_mappings = vec![PortMapping {
        host_port: 8000 + u16::from(number),
        container_port: 80,
        protocol: Protocol::Udp,
        host_ip: None,
    }];
    request
}

#[test]
fn what_a_killed_daemon_left_is_taken_away() {
    on_a_host(BRIDGE, |world| async move {
        for round in 0..12usize {
            let mut victim = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "crash::victim", "--nocapture"])
                .env(ROOT, &world.root)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
            // Killed in the middle of what it does after so many attachments.
            let attached = lines.map_while(Result::ok).filter(|line| line.contains("attached"));
            assert_eq!(attached.take(3 + 7 * round % 11).count(), 3 + 7 * round % 11);
            victim.kill().unwrap();
            victim.wait().unwrap();
            let next = World::at(&world.root);
            next.networks.collect(&[]).await.unwrap();
            next.assert_nothing_left();
        }
    });
}
