//! The files that the containers of a sandbox share, and the host name that they have.

use std::fmt::Write as _;

use super::{Dns, Sandbox};
use crate::ports::{Attachment, HostFacts, NetworkDns, SandboxFiles};

/// The longest host name the kernel takes (`__NEW_UTS_LEN`).
const HOSTNAME_LIMIT: usize = 64;

impl Sandbox {
    /// The host name: the host's own on its network, else what was asked for, else the pod's name
    /// as far as it can be one.
    #[must_use]
    pub fn hostname(&self, host: &HostFacts) -> String {
        if !self.has_network() {
            return host.hostname.clone();
        }
        if let Some(name) = &self.config.hostname {
            return name.clone();
        }
        let fits = |char: &char| char.is_ascii_alphanumeric() || "_.-".contains(*char);
        let name: String =
            self.config.metadata.name.chars().filter(fits).take(HOSTNAME_LIMIT).collect();
        if name.is_empty() { self.id.short().to_owned() } else { name }
    }

    /// The files. `of_host` are the host's `resolv.conf`, for a sandbox that has no wishes, and its
    /// `hosts`, for one on its network.
    #[must_use]
    pub fn files(
        &self,
        host: &HostFacts,
        of_host: (&[u8], Option<&[u8]>),
        attachment: Option<&Attachment>,
    ) -> SandboxFiles {
        let hostname = self.hostname(host);
        let resolv_conf = match (&self.config.dns, attachment.map(|attachment| &attachment.dns)) {
            (Some(dns), _) if *dns != Dns::default() => {
                resolv_conf(&dns.servers, &dns.searches, &dns.options)
            }
            (_, Some(dns)) if *dns != NetworkDns::default() => {
                let domain = dns.domain.iter().cloned();
                let search: Vec<String> = dns.search.iter().cloned().chain(domain).collect();
                resolv_conf(&dns.nameservers, &search, &dns.options)
            }
            _ => of_host.0.to_vec(),
        };
        SandboxFiles {
            hosts: match of_host.1 {
                Some(bytes) => bytes.to_vec(),
                None => hosts(&hostname, attachment),
            },
            hostname: format!("{hostname}\n").into_bytes(),
            resolv_conf,
        }
    }
}

fn resolv_conf(servers: &[String], search: &[String], options: &[String]) -> Vec<u8> {
    let mut text = String::new();
    for (keyword, words) in [("search", search), ("options", options)] {
        if keyword == "options" {
            for server in servers {
                let _ = writeln!(text, "nameserver {server}");
            }
        }
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    text.into_bytes()
}

fn hosts(hostname: &str, attachment: Option<&Attachment>) -> Vec<u8> {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    let addresses = attachment.map(|attachment| attachment.addresses.as_slice());
    match addresses.unwrap_or_default() {
        [] => {
            let _ = writeln!(text, "127.0.0.1\t{hostname}");
        }
        addresses => {
            for address in addresses {
                let _ = writeln!(text, "{}\t{hostname}", address.ip);
            }
        }
    }
    text.into_bytes()
}
