//! The URLs of exec, attach and port-forward: for one client, once, and for nobody who guesses.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use isula_tests::{Node, cri::script, stream};

#[test]
fn a_url_is_good_once_for_what_it_was_given_for_and_dies_with_the_daemon() -> Result<()> {
    let mut node = Node::new()?;
    let pod = node.run_pod(node.pod("a"))?;
    let id = node.run(&pod, script("web", "sleep 1000"))?;
    let url = node.exec_url(&id, &["true"])?;
    ensure!(url.starts_with("http://127.0.0.1:"), "{url}");
    for wrong in [
        url.replace("/exec/", "/attach/"),
        url.replace("/exec/", "/portforward/"),
        url.replace("/exec/", "/exec/../exec/"),
        url.replace("/exec/", "/exec/%2e/"),
        format!("{url}/"),
        format!("{url}A"),
        url.get(..url.len() - 1).context("short")?.to_owned(),
    ] {
        ensure!(stream::upgrade(&wrong)?.1 != 101, "{wrong}");
    }
    ensure!(stream::upgrade(&url)?.1 == 101, "wrong guesses spent it");
    ensure!(stream::upgrade(&url)?.1 == 404, "it was good twice");
    // Of several at once one gets in.
    let url = node.exec_url(&id, &["true"])?;
    let statuses = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| stream::upgrade(&url))).collect();
        all.into_iter().map(|one| Ok(one.join().unwrap()?.1)).collect::<Result<Vec<u16>>>()
    })?;
    ensure!(statuses.iter().filter(|status| **status == 101).count() == 1, "{statuses:?}");
    // What was asked of one daemon is nothing to the next.
    let url = node.exec_url(&id, &["true"])?;
    let path = stream::parts(&url)?.1.to_owned();
    node.world.kill_and_restart()?;
    // The connection of before is lost; the next request makes a new one.
    let mut attempts = (0..50).map(|_| node.exec_url(&id, &["true"]));
    let fresh = attempts.find_map(Result::ok).context("the new daemon does not answer")?;
    let address = stream::parts(&fresh)?.0;
    ensure!(stream::upgrade(&format!("http://{address}/{path}"))?.1 == 404);
    ensure!(stream::upgrade(&fresh)?.1 == 101);
    node.finish()
}

#[test]
fn tokens_tell_nothing_of_each_other_and_a_flood_of_them_ends() -> Result<()> {
    let node = Node::new()?;
    let pod = node.run_pod(node.pod("a"))?;
    let id = node.run(&pod, script("web", "sleep 1000"))?;
    let mut tokens = BTreeSet::new();
    let refused = loop {
        match node.exec_url(&id, &["true"]) {
            Ok(url) => {
                let token = url.rsplit('/').next().unwrap_or_default().to_owned();
                ensure!(token.len() == 32, "{url}");
                ensure!(tokens.insert(token), "the same twice: {url}");
            }
            Err(status) => break status,
        }
        ensure!(tokens.len() < 10_000, "they are never refused");
    };
    ensure!(refused.code() == tonic::Code::ResourceExhausted, "{refused:?}");
    ensure!(tokens.len() == 1000, "{}", tokens.len());
    // In no place do they agree: 64 letters, of which each place shows nearly all.
    for place in 0..32 {
        let seen: BTreeSet<u8> = tokens.iter().map(|token| token.as_bytes()[place]).collect();
        ensure!(seen.len() > 55, "place {place}: {} letters", seen.len());
    }
    node.finish()
}

#[test]
fn a_url_whose_container_has_ended_says_so() -> Result<()> {
    let node = Node::new()?;
    let pod = node.run_pod(node.pod("a"))?;
    let id = node.run(&pod, script("web", "sleep 1000"))?;
    let url = node.exec_url(&id, &["true"])?;
    node.remove(&id)?;
    let (mut connection, status) = stream::upgrade(&url)?;
    ensure!(status == 101, "{status}");
    let mut told = Vec::new();
    // Closed, or cut: what was said is there.
    drop(std::io::Read::read_to_end(&mut connection, &mut told));
    let told = String::from_utf8_lossy(&told);
    ensure!(told.contains("InternalError"), "{told}");
    let error = node.exec_url(&id, &["true"]).unwrap_err();
    ensure!(error.code() == tonic::Code::NotFound, "{error:?}");
    node.finish()
}
