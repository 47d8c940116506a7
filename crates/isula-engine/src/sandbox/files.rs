//! The files that the containers of a sandbox share.

use isula_core::{
    ports::{Attachment, SandboxFiles},
    sandbox::Sandbox,
};

use crate::Engine;

impl Engine {
    /// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a sandbox.
    pub(super) fn sandbox_files(
        &self,
        sandbox: &Sandbox,
        attachment: Option<&Attachment>,
    ) -> SandboxFiles {
        let host = &self.ports.host;
        let of_host = host.resolv_conf();
        sandbox.files(host.facts(), &of_host, attachment)
    }
}
