//! A registry on loopback, filled by skopeo: neither is ours, so neither shares our mistakes.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::programs::tool;

/// A running registry.
pub struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    /// Starts one that keeps its blobs below `directory`.
    pub fn start(directory: &Path) -> Result<Self> {
        Self::start_with(directory, "")
    }

    /// As [`Registry::start`], with more lines of its configuration.
    pub fn start_with(directory: &Path, more: &str) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let free = TcpListener::bind("127.0.0.1:0")?;
        let address = free.local_addr()?.to_string();
        drop(free);
        let config = directory.join("config.yml");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, \
                 delete: {{enabled: true}}}}\nhttp: {{addr: '{address}'}}\n{more}",
                directory.join("blobs").display()
            ),
        )?;
        let mut child = Command::new(tool("docker-registry"))
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("docker-registry is missing: run `tools/setup.sh test`")?;
        let mut log = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(log.read_line(&mut line)? > 0, "the registry ended before it listened");
        }
        // The registry must never wait for somebody to read its log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Self { child, address })
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Copies an image in the way skopeo names it (`oci:DIR:TAG`, `docker-archive:FILE`) to
    /// `NAME` here, and gives back the full reference.
    pub fn push(&self, source: &str, name: &str) -> Result<String> {
        let reference = format!("{}/{name}", self.address);
        let output = Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false", source])
            .arg(format!("docker://{reference}"))
            .output()?;
        ensure!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
        Ok(reference)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
