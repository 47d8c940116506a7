//! Values of the configuration with a form of their own: limits, hooks, storage.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use isula_core::container::Ulimit;

use super::{
    Bridge, ConfigError, Network,
    keys::{File, OneOrMore},
    parse,
    resolve::{Sources, absolute},
};

/// The device of the network `bridge`.
const BRIDGE: &str = "isula0";
/// The host's address in the network `bridge`: no other engine begins with this network.
const BRIDGE_ADDRESS: &str = "10.83.0.1/16";

impl Sources<'_> {
    pub(super) fn ulimits(&self, file: &File) -> Result<Vec<Ulimit>, ConfigError> {
        let mut ulimits = Vec::new();
        for (name, entry) in file.default_ulimits.iter().flatten() {
            let wrong =
                |message: String| self.wrong("default-ulimits", format!("{name}: {message}"));
            if let Some(other) = entry.name.as_ref().filter(|other| *other != name) {
                return Err(wrong(format!("its Name is {other:?}")));
            }
            let limit = |value: i64| match value {
                -1 => Ok(u64::MAX),
                other => u64::try_from(other)
                    .map_err(|_| wrong(format!("{other} is no limit, and -1 is none at all"))),
            };
            let (soft, hard) = (limit(entry.soft)?, limit(entry.hard)?);
            if soft > hard {
                return Err(wrong("the soft limit is above the hard one".to_owned()));
            }
            ulimits.push(Ulimit { name: name.clone(), soft, hard });
        }
        Ok(ulimits)
    }

    /// The networks: where they are described and what carries them out.
    pub(super) fn network(&self, file: &File) -> Result<Network, ConfigError> {
        match file.network_plugin.as_deref() {
            // iSulad's shipped file has an empty one; there is no other plugin to choose.
            None | Some("" | "cni") => {}
            Some(other) => {
                let message = format!("unknown network plugin {other:?}: it must be cni");
                return Err(self.wrong("network-plugin", message));
            }
        }
        let absolute = |key, text: &str| match PathBuf::from(text) {
            path if path.is_absolute() => Ok(path),
            _ => Err(self.wrong(key, format!("{text} is not an absolute path"))),
        };
        let conf_dir = file.cni_conf_dir.as_deref().filter(|text| !text.is_empty());
        let bin_dirs: Vec<&str> = match &file.cni_bin_dir {
            None => Vec::new(),
            Some(OneOrMore::One(text)) => text.split(':').collect(),
            Some(OneOrMore::More(list)) => list.iter().map(String::as_str).collect(),
        };
        let mut bin_dirs: Vec<&str> =
            bin_dirs.into_iter().filter(|text| !text.is_empty()).collect();
        if bin_dirs.is_empty() {
            bin_dirs.push("/opt/cni/bin");
        }
        let timeout = match file.cni_timeout.as_deref().filter(|text| !text.is_empty()) {
            None => Some(Duration::from_secs(100)),
            Some(text) => parse::duration(text).filter(|duration| !duration.is_zero()),
        };
        Ok(Network {
            conf_dir: absolute("cni-conf-dir", conf_dir.unwrap_or("/etc/cni/net.d"))?,
            bin_dirs: bin_dirs
                .into_iter()
                .map(|text| absolute("cni-bin-dir", text))
                .collect::<Result<_, _>>()?,
            bridge: self.bridge(file)?,
            native: file.native_cni.unwrap_or(true),
            timeout: timeout
                .ok_or_else(|| self.wrong("cni-timeout", "invalid duration: it must be as 100s"))?,
        })
    }

    /// The network `bridge`: Docker's keys, where `none` as the device turns it off.
    fn bridge(&self, file: &File) -> Result<Option<Bridge>, ConfigError> {
        let device = match file.bridge.as_deref() {
            Some("none") => return Ok(None),
            None | Some("") => BRIDGE,
            Some(name) => name,
        };
        // dev_valid_name of the kernel, and what has no place in a file name.
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"/:".contains(&byte);
        if device.len() > 15 || device.starts_with('.') || !device.bytes().all(fits) {
            let message = format!("{device:?} can't be the name of a device");
            return Err(self.wrong("bridge", message));
        }
        let text = file.bip.as_deref().filter(|text| !text.is_empty()).unwrap_or(BRIDGE_ADDRESS);
        let wrong = |why: &str| self.wrong("bip", format!("{text:?} {why}"));
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?))
        });
        let why = "is no IPv4 address with the length of its prefix, such as 10.83.0.1/16";
        let (gateway, prefix) = parsed.ok_or_else(|| wrong(why))?;
        if !(8..=30).contains(&prefix) {
            return Err(wrong("has a prefix that is not 8 to 30 bits long"));
        }
        let hosts = u32::MAX >> prefix;
        let number = gateway.to_bits() & hosts;
        if number == 0 || number == hosts {
            return Err(wrong("is the address of the network itself or of all hosts in it"));
        }
        if gateway.is_loopback() || gateway.is_multicast() || gateway.is_unspecified() {
            return Err(wrong("can't be the address of a network"));
        }
        Ok(Some(Bridge { device: device.to_owned(), gateway, prefix }))
    }

    /// The directories of the specification where none are named.
    pub(super) fn cdi_spec_dirs(&self, file: &File) -> Result<Option<Vec<PathBuf>>, ConfigError> {
        if file.enable_cdi == Some(false) {
            return Ok(None);
        }
        let Some(named) = file.cdi_spec_dirs.as_ref().filter(|named| !named.is_empty()) else {
            return Ok(Some(["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).to_vec()));
        };
        let origin = || self.origin("cdi-spec-dirs");
        let paths = named.iter().map(|text| absolute(origin(), PathBuf::from(text)));
        paths.collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn hooks(&self, file: &File) -> Result<Option<serde_json::Value>, ConfigError> {
        let Some(path) = file.hook_spec.as_ref().filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(hooks @ serde_json::Value::Object(_)) => Ok(Some(hooks)),
            Ok(_) => {
                let message = "it must be an object of OCI hooks".to_owned();
                Err(ConfigError::Parse { path, line: 1, message })
            }
            Err(error) => {
                Err(ConfigError::Parse { path, line: error.line(), message: error.to_string() })
            }
        }
    }

    /// Checks the driver and its options, and gives the limit on unpacked layers.
    pub(super) fn storage(
        &self,
        file: &File,
        warnings: &mut Vec<String>,
    ) -> Result<Option<u64>, ConfigError> {
        let mut layer_limit = None;
        if let Some(driver) = &file.storage_driver
            && !["", "overlay", "overlay2"].contains(&driver.as_str())
        {
            let message = format!("storage driver {driver:?} is not supported: use overlay2");
            return Err(self.wrong("storage-driver", message));
        }
        for option in file.storage_opts.iter().flatten() {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name.strip_prefix("overlay2.").or_else(|| name.strip_prefix("overlay.")) {
                // Of kernels and of mounts that this engine does not have.
                Some("override_kernel_check" | "skip_mount_home") => warnings
                    .push(format!("{}: {name} changes nothing", self.origin("storage-opts"))),
                Some("max_layer_size") => match parse::bytes(value).filter(|bytes| *bytes > 0) {
                    Some(bytes) => layer_limit = Some(bytes),
                    None => {
                        let message = format!("invalid size in {option:?}: it must be as 20g");
                        return Err(self.wrong("storage-opts", message));
                    }
                },
                Some("size" | "basesize" | "mountopt") => {
                    let message = format!("{name} is not supported yet");
                    return Err(self.wrong("storage-opts", message));
                }
                _ => {
                    return Err(self.wrong("storage-opts", format!("unknown option {option:?}")));
                }
            }
        }
        Ok(layer_limit)
    }
}
