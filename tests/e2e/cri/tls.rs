//! The stream server with a certificate of the configuration's.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use isula_tests::{Node, World, cri::script, programs::kubernetes, stream};

/// A certificate and its key in a directory, by their paths.
fn certificate(directory: &std::path::Path) -> Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (chain, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    fs::write(&chain, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((chain.display().to_string(), key.display().to_string()))
}

fn configuration(chain: &str, key: &str) -> String {
    format!(r#"{{"websocket-server-tls-config": {{"CertFile": "{chain}", "KeyFile": "{key}"}}}}"#)
}

#[test]
fn exec_goes_over_tls_where_a_certificate_is_configured() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (chain, key) = certificate(directory.path())?;
    let node = Node::with(&configuration(&chain, &key))?;
    let pod = node.run_pod(node.pod("a"))?;
    let id = node.run(&pod, script("web", "sleep 1000"))?;
    for flags in [&["-stderr=false"][..], &["-stderr=false", "-websocket"]] {
        let url = node.exec_url(&id, &["sh", "-c", "echo through; exit 9"])?;
        ensure!(url.starts_with("https://127.0.0.1:"), "{url}");
        // Who speaks plainly learns nothing, and spends nothing.
        ensure!(stream::upgrade(&url.replace("https", "http")).is_err(), "plain HTTP was answered");
        let output =
            Command::new(kubernetes("stream-client")?).args(flags).args(["run", &url]).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(9), "{flags:?}: {}: {told}", output.status);
        ensure!(output.stdout == b"through\n", "{flags:?}: {told}");
    }
    node.finish()
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start() -> Result<()> {
    let mut world = World::bare(&[])?;
    let (chain, key) = certificate(&world.path(""))?;
    let text = world.path("text.pem").display().to_string();
    fs::write(&text, "nothing\n")?;
    fs::create_dir(world.path("other"))?;
    let (_, other) = certificate(&world.path("other"))?;
    let missing = world.path("missing.pem").display().to_string();
    for (chain, key, words) in [
        (&missing, &key, vec!["missing.pem", "No such file"]),
        (&chain, &missing, vec!["missing.pem", "No such file"]),
        (&text, &key, vec!["text.pem", "no certificate"]),
        (&chain, &text, vec!["text.pem"]),
        (&chain, &other, vec!["cert.pem", "TLS"]),
    ] {
        fs::write(world.path("daemon.json"), configuration(chain, key))?;
        let (status, said) = world.how().refused()?;
        ensure!(!status.success(), "it serves");
        let last = said.lines().last().unwrap_or_default();
        for word in words {
            ensure!(last.contains(word), "{word}: {said}");
        }
    }
    fs::write(
        world.path("daemon.json"),
        "{\"websocket-server-tls-config\": {\n\"CertFile\": \"/c\"}}",
    )?;
    let (status, said) = world.how().refused()?;
    ensure!(!status.success() && said.contains("CertFile needs KeyFile"), "{said}");
    Ok(())
}
