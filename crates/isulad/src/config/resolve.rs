//! File and flags become one configuration: flags override the file, the file the defaults.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use isula_core::container::LogConfig;
use tracing::level_filters::LevelFilter;

use super::{
    Config, ConfigError, DEFAULT_FILE, Group, Log, Sink, file,
    keys::File,
    parse::{self, Options},
};
use crate::flags::Flags;

const DATA_ROOT: &str = "/var/lib/isulad";
const STATE: &str = "/run/isulad";
const SOCKET: &str = "isulad.sock";
const GROUP: &str = "isula";
const PIDFILE: &str = "/run/isulad.pid";

/// Runtimes that may be asked for by name without being configured, if they are installed.
const KNOWN_RUNTIMES: [&str; 2] = ["runc", "crun"];

impl Config {
    /// The configuration that these flags, and the file they name or the default one, ask for.
    ///
    /// # Errors
    /// Names file, line and key, or the flag.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let path = flags.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let file = match (file::read(path)?, &flags.config) {
            (Some(file), _) => file,
            (None, None) => File::default(),
            (None, Some(path)) => {
                let source = std::io::ErrorKind::NotFound.into();
                return Err(ConfigError::Read { path: path.clone(), source });
            }
        };
        Sources { path, flags }.resolve(file)
    }
}

/// Where values come from.
pub(super) struct Sources<'a> {
    pub(super) path: &'a Path,
    pub(super) flags: &'a Flags,
}

/// A value, and what to call it in an error.
pub(super) type Said<T> = Option<(String, T)>;

impl Sources<'_> {
    pub(super) fn origin(&self, key: &str) -> String {
        format!("{}: {key}", self.path.display())
    }

    /// The value of a flag, or that of a key.
    pub(super) fn either<T: Clone>(
        &self,
        flag: (&str, Option<T>),
        keys: &[(&str, Option<T>)],
    ) -> Said<T> {
        let (name, value) = flag;
        if let Some(value) = value {
            return Some((format!("--{name}"), value));
        }
        let (key, value) = keys.iter().find(|(_, value)| value.is_some())?;
        Some((self.origin(key), value.clone()?))
    }

    pub(super) fn wrong(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::Value { origin: self.origin(key), message: message.into() }
    }

    pub(super) fn resolve(&self, file: File) -> Result<Config, ConfigError> {
        if let Some(key) = file.not_yet.first() {
            return Err(self.wrong(key, "not supported yet"));
        }
        let mut warnings: Vec<String> = file
            .passed_over
            .iter()
            .map(|key| format!("{}: the key changes nothing", self.origin(key)))
            .collect();
        let layer_limit = self.storage(&file, &mut warnings)?;
        let flags = self.flags;
        let data_root = self.directory(
            ("graph", flags.graph.as_deref()),
            &[("data-root", &file.data_root), ("graph", &file.graph)],
            DATA_ROOT,
        )?;
        let state_dir = self.directory(
            ("state", flags.state.as_deref()),
            &[("exec-root", &file.exec_root), ("state", &file.state)],
            STATE,
        )?;
        if data_root == state_dir {
            let path = data_root.display();
            let message = format!("{path} can't hold both the data and the state of what runs");
            return Err(self.wrong("state", message));
        }
        let runtimes = runtimes(&file);
        Ok(Config {
            sockets: self.sockets(&file, &state_dir)?,
            pidfile: self.pidfile(&file)?,
            group: self.group(&file),
            log: self.log(&file, &state_dir)?,
            default_runtime: self.default_runtime(&file, &runtimes)?,
            cri: self.cri(&file, &runtimes)?,
            runtimes,
            container_log: self.container_log(&file)?,
            ulimits: self.ulimits(&file)?,
            cdi_spec_dirs: self.cdi_spec_dirs(&file)?,
            hooks: self.hooks(&file)?,
            secure_umask: self.secure_umask(&file)?,
            start_timeout: self.start_timeout(&file)?,
            cgroup_parent: self.cgroup_parent(&file)?,
            cgroup_driver: self.cgroup_driver(&file)?,
            mirrors: several(&flags.registry_mirrors, &file.registry_mirrors),
            insecure_registries: several(&flags.insecure_registries, &file.insecure_registries),
            concurrent_downloads: match file.max_concurrent_downloads {
                None => 3,
                Some(0) => return Err(self.wrong("max-concurrent-downloads", "must be above 0")),
                Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
            },
            network: self.network(&file)?,
            download_attempts: self.download_attempts(&file)?,
            proxies: file.proxies.clone().unwrap_or_default(),
            layer_limit,
            shim: flags.shim.clone().unwrap_or_else(shim),
            data_root,
            state_dir,
            warnings,
        })
    }

    fn download_attempts(&self, file: &File) -> Result<Option<u32>, ConfigError> {
        match file.max_download_attempts {
            Some(0) => Err(self.wrong("max-download-attempts", "must be above 0")),
            attempts => Ok(attempts),
        }
    }

    fn directory(
        &self,
        flag: (&str, Option<&Path>),
        keys: &[(&str, &Option<String>)],
        default: &str,
    ) -> Result<PathBuf, ConfigError> {
        let given: Vec<_> = keys.iter().filter(|(_, value)| value.is_some()).collect();
        if let [(first, _), (second, _), ..] = given.as_slice() {
            let message = format!("{first} says the same: only one of them can be there");
            return Err(self.wrong(second, message));
        }
        let keys: Vec<_> =
            keys.iter().map(|(key, value)| (*key, value.as_ref().map(PathBuf::from))).collect();
        let said = self.either((flag.0, flag.1.map(Path::to_path_buf)), &keys);
        let (origin, path) = said.unwrap_or_else(|| (String::new(), default.into()));
        absolute(origin, path)
    }

    fn sockets(&self, file: &File, state_dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
        let flag = (!self.flags.hosts.is_empty()).then(|| self.flags.hosts.clone());
        let keys = [("hosts", file.hosts.clone().filter(|hosts| !hosts.is_empty()))];
        let Some((origin, hosts)) = self.either(("host", flag), &keys) else {
            return Ok(vec![state_dir.join(SOCKET)]);
        };
        let mut sockets = Vec::new();
        for host in hosts {
            let wrong = |message: &str| ConfigError::Value {
                origin: origin.clone(),
                message: format!("cannot listen on {host:?}: {message}"),
            };
            match host.split_once("://") {
                Some(("unix", path)) if path.starts_with('/') => sockets.push(path.into()),
                Some(("unix", _)) => return Err(wrong("the path must be absolute")),
                Some(("tcp", _)) => {
                    return Err(wrong(
                        "tcp needs mutual TLS, which is not available in this version",
                    ));
                }
                _ => return Err(wrong("it must be unix://PATH")),
            }
        }
        Ok(sockets)
    }

    fn pidfile(&self, file: &File) -> Result<Option<PathBuf>, ConfigError> {
        let key = file.pidfile.as_ref().map(PathBuf::from);
        match self.either(("pidfile", self.flags.pidfile.clone()), &[("pidfile", key)]) {
            Some((_, path)) if path.as_os_str().is_empty() => Ok(None),
            Some((origin, path)) => absolute(origin, path).map(Some),
            // A daemon with a state directory of its own must not write over the host's file.
            None if self.flags.state.is_some()
                || file.state.is_some()
                || file.exec_root.is_some() =>
            {
                Ok(None)
            }
            None => Ok(Some(PIDFILE.into())),
        }
    }

    fn group(&self, file: &File) -> Group {
        match self.either(("group", self.flags.group.clone()), &[("group", file.group.clone())]) {
            Some((_, name)) => Group { required: name != GROUP && !name.is_empty(), name },
            None => Group { name: GROUP.to_owned(), required: false },
        }
    }

    fn log(&self, file: &File, state_dir: &Path) -> Result<Log, ConfigError> {
        let debug = (self.flags.debug).then(|| "DEBUG".to_owned());
        let flag = self.flags.log_level.clone().or(debug);
        let verbose = file.debug.unwrap_or(false).then(|| "DEBUG".to_owned());
        let keys = [("debug", verbose), ("log-level", file.log_level.clone())];
        let level = match self.either(("log-level", flag), &keys) {
            Some((origin, text)) => {
                parse::level(&text).map_err(|message| ConfigError::Value { origin, message })?
            }
            None => LevelFilter::INFO,
        };
        let flag = self.flags.log_driver.clone();
        let driver = self.either(("log-driver", flag), &[("log-driver", file.log_driver.clone())]);
        let mut options = file.log_opts.clone().unwrap_or_default();
        let (origin, driver) = driver.unwrap_or_else(|| (String::new(), "stdout".to_owned()));
        let sink = match driver.as_str() {
            "stdout" => Sink::Stderr,
            "file" => sink(&mut Options(&mut options), state_dir)
                .map_err(|message| self.wrong("log-opts", message))?,
            other => {
                let message = format!("invalid log driver {other:?}: it must be stdout or file");
                return Err(ConfigError::Value { origin, message });
            }
        };
        let known = ["log-path", "log-file-mode", "max-file", "max-size"];
        match options.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.wrong("log-opts", format!("unknown option {key:?}"))),
            None => Ok(Log { level, sink }),
        }
    }

    fn container_log(&self, file: &File) -> Result<LogConfig, ConfigError> {
        let log = file.container_log.clone().unwrap_or_default();
        parse::log_options(log.driver.as_deref(), &log.opts, &LogConfig::default())
            .map_err(|message| self.wrong("container-log", message))
    }

    fn default_runtime(
        &self,
        file: &File,
        runtimes: &BTreeMap<String, (String, Vec<String>)>,
    ) -> Result<String, ConfigError> {
        let key = [("default-runtime", file.default_runtime.clone())];
        let said = self.either(("default-runtime", self.flags.default_runtime.clone()), &key);
        match said {
            None => Ok("lcr".to_owned()),
            Some((_, name)) if name == "lcr" || runtimes.contains_key(&name) => Ok(name),
            Some((origin, name)) => {
                let message = format!("unknown runtime {name:?}: it is not among the runtimes");
                Err(ConfigError::Value { origin, message })
            }
        }
    }

    fn secure_umask(&self, file: &File) -> Result<bool, ConfigError> {
        match file.native_umask.as_deref() {
            None | Some("" | "normal") => Ok(false),
            Some("secure") => Ok(true),
            Some(other) => {
                let message = format!("invalid value {other:?}: it must be normal or secure");
                Err(self.wrong("native.umask", message))
            }
        }
    }

    fn start_timeout(&self, file: &File) -> Result<Duration, ConfigError> {
        let Some(text) = file.start_timeout.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(Duration::from_mins(2));
        };
        parse::duration(text).filter(|duration| !duration.is_zero()).ok_or_else(|| {
            self.wrong("start-timeout", format!("invalid duration {text:?}: it must be as 2m"))
        })
    }
}

pub(super) fn absolute(origin: String, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("{} is not an absolute path", path.display());
    Err(ConfigError::Value { origin, message })
}

fn several(flag: &[String], key: &Option<Vec<String>>) -> Vec<String> {
    if flag.is_empty() { key.clone().unwrap_or_default() } else { flag.to_vec() }
}

fn runtimes(file: &File) -> BTreeMap<String, (String, Vec<String>)> {
    let known = KNOWN_RUNTIMES.map(|name| (name.to_owned(), (name.to_owned(), Vec::new())));
    let mut runtimes = BTreeMap::from(known);
    for (name, entry) in file.runtimes.iter().flatten() {
        runtimes.insert(name.clone(), (entry.path.clone(), entry.args.clone()));
    }
    runtimes
}

/// The daemon's own log as a file.
fn sink(options: &mut Options<'_>, state_dir: &Path) -> Result<Sink, String> {
    let octal = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    let directory = options.take("log-path", "an absolute directory", |text| {
        text.starts_with('/').then(|| PathBuf::from(text))
    })?;
    Ok(Sink::File {
        path: directory.unwrap_or_else(|| state_dir.to_owned()).join("isulad.log"),
        mode: options
            .take("log-file-mode", "octal permissions such as 0600", octal)?
            .unwrap_or(0o600),
        max_size: options
            .take("max-size", "a size such as 10MB", parse::bytes)?
            .unwrap_or(10 << 20),
        max_files: options
            .take("max-file", "a number above 0", |text| {
                text.parse().ok().filter(|files| *files > 0)
            })?
            .unwrap_or(3),
    })
}

/// The shim beside this program, or where packages put it.
fn shim() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| {
        let path = own.parent()?.join("isulad-shim");
        path.is_file().then_some(path)
    });
    beside.unwrap_or_else(|| "/usr/bin/isulad-shim".into())
}
