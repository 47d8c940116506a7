//! Values of the configuration with a form of their own: limits, hooks, storage.

use std::path::PathBuf;

use isula_core::container::Ulimit;

use super::{ConfigError, keys::File, parse, resolve::Sources};

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
