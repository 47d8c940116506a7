//! The files that the containers of a sandbox share.

use isula_core::{
    error::chain,
    ports::{Attachment, SandboxFiles},
    sandbox::Sandbox,
};

use crate::Engine;

/// The largest `/etc/hosts` of the host.
const HOSTS_LIMIT: u64 = 1 << 20;

impl Engine {
    /// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a sandbox.
    pub(super) async fn sandbox_files(
        &self,
        sandbox: &Sandbox,
        attachment: Option<&Attachment>,
    ) -> SandboxFiles {
        let host = &self.ports.host;
        let resolv_conf = host.resolv_conf();
        let mut hosts = None;
        if !sandbox.has_network() {
            let work = self.on_host(|host| host.read_beneath("/", "/etc/hosts", HOSTS_LIMIT));
            match self.port_of(&sandbox.id, "read the host's /etc/hosts", work).await {
                Ok(bytes) => hosts = bytes,
                // A host may do without the file.
                Err(error) => tracing::debug!("{}", chain(&error)),
            }
        }
        sandbox.files(host.facts(), (&resolv_conf, hosts.as_deref()), attachment)
    }
}
