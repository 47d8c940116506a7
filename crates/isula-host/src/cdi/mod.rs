//! The Container Device Interface, versions 0.3.0 to 1.1.0: specifications of devices that vendors
//! put into a few directories, as JSON or YAML (tags.cncf.io/container-device-interface, SPEC.md).
//!
//! They are read whenever a container with such devices is made or started, and nothing is kept: a
//! driver may change them at any time, and few containers have any.

mod spec;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use isula_core::{
    cdi::CdiName,
    error::{ErrorKind, PortError},
    ports::{CdiDevices, CdiEdits, Result},
};

use spec::Spec;

/// Bytes of the largest specification: one with thousands of devices.
const LARGEST: u64 = 4 << 20;
/// Bytes of all of them together, and how many are read.
const TOGETHER: u64 = 32 << 20;
const COUNT: usize = 512;
/// Files that a message names.
const NAMED: usize = 3;

/// The specifications in some directories.
#[derive(Debug)]
pub struct CdiSpecs {
    /// The last one wins; none when the interface is switched off.
    directories: Option<Vec<PathBuf>>,
}

impl CdiSpecs {
    /// Those of these directories, of which the last wins; nothing is read yet.
    #[must_use]
    pub fn new(directories: Option<Vec<PathBuf>>) -> Self {
        Self { directories }
    }
}

impl CdiDevices for CdiSpecs {
    fn edits(&self, names: &[CdiName]) -> Result<CdiEdits> {
        let Some(directories) = &self.directories else {
            let message = "devices named by CDI are switched off (enable-cdi)".to_owned();
            return Err(PortError::new(ErrorKind::Unsupported, message));
        };
        Loaded::read(directories).edits(names)
    }
}

/// All specifications, and which one has a device.
#[derive(Debug, Default)]
struct Loaded {
    directories: Vec<PathBuf>,
    specs: Vec<(PathBuf, Spec)>,
    devices: BTreeMap<(String, String), Place>,
    /// What could not be used, and why.
    damaged: Vec<(PathBuf, String)>,
}

/// Where a device is specified.
#[derive(Debug)]
struct Place {
    /// The place of its directory.
    priority: usize,
    /// The place of its specification and its own there.
    spec: usize,
    device: usize,
    /// Another specification of the same directory that has it as well.
    rival: Option<usize>,
}

impl Loaded {
    fn read(directories: &[PathBuf]) -> Self {
        let mut loaded = Self { directories: directories.to_vec(), ..Self::default() };
        let mut room = TOGETHER;
        for (priority, directory) in directories.iter().enumerate() {
            let files = match files(directory) {
                Ok(files) => files,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    loaded.damaged.push((directory.clone(), error.to_string()));
                    continue;
                }
            };
            for path in files {
                if loaded.specs.len() + loaded.damaged.len() >= COUNT {
                    loaded.damaged.push((path, format!("there are more than {COUNT} files")));
                    break;
                }
                let parsed = bytes(&path, room).and_then(|bytes| {
                    room = room.saturating_sub(bytes.len() as u64);
                    parse(&path, &bytes)
                });
                match parsed {
                    Ok(spec) => loaded.add(priority, path, spec),
                    Err(reason) => loaded.damaged.push((path, reason)),
                }
            }
        }
        loaded
    }

    /// A directory with a higher priority hides what those before it have; of two in the same one
    /// neither is right.
    fn add(&mut self, priority: usize, path: PathBuf, spec: Spec) {
        let number = self.specs.len();
        for (place, device) in spec.devices.iter().enumerate() {
            let key = (spec.kind.clone(), device.name.clone());
            let new = Place { priority, spec: number, device: place, rival: None };
            match self.devices.get_mut(&key) {
                Some(known) if known.priority == priority => known.rival = Some(number),
                Some(known) => *known = new,
                None => drop(self.devices.insert(key, new)),
            }
        }
        self.specs.push((path, spec));
    }

    fn edits(&self, names: &[CdiName]) -> Result<CdiEdits> {
        let mut edits = CdiEdits::default();
        let mut common = BTreeSet::new();
        let mut done = BTreeSet::new();
        for name in names.iter().filter(|name| done.insert(*name)) {
            let (number, path, spec, device) = self.find(name)?;
            // What all devices of a specification share comes before the first of them.
            if common.insert(number) {
                self.apply(&mut edits, &spec.container_edits, name, path)?;
            }
            self.apply(&mut edits, &device.container_edits, name, path)?;
        }
        Ok(edits)
    }

    fn apply(
        &self,
        edits: &mut CdiEdits,
        wanted: &spec::Edits,
        name: &CdiName,
        path: &Path,
    ) -> Result<()> {
        wanted.add_to(edits).map_err(|fault| {
            let text = format!("CDI device {name} of {}: {}", path.display(), fault.message);
            PortError::new(fault.kind, text)
        })
    }

    fn find(&self, name: &CdiName) -> Result<(usize, &Path, &Spec, &spec::Device)> {
        let place = self.devices.get(&(name.kind.clone(), name.device.clone()));
        let found = place.and_then(|place| {
            let (path, spec) = self.specs.get(place.spec)?;
            Some((place, path, spec, spec.devices.get(place.device)?))
        });
        let Some((place, path, spec, device)) = found else {
            let text = format!("unknown CDI device {name}: {}", self.looked());
            return Err(PortError::new(ErrorKind::InvalidInput, text));
        };
        match place.rival.and_then(|rival| self.specs.get(rival)) {
            None => Ok((place.spec, path, spec, device)),
            Some((rival, _)) => {
                let (path, rival) = (path.display(), rival.display());
                let text = format!("CDI device {name} is specified by both {path} and {rival}");
                Err(PortError::new(ErrorKind::InvalidInput, text))
            }
        }
    }

    /// Where a device was looked for, and what could not be read there.
    fn looked(&self) -> String {
        let places: Vec<_> = self.directories.iter().map(|path| path.to_string_lossy()).collect();
        let mut text = format!("no specification in {} has it", places.join(" or "));
        for (path, reason) in self.damaged.iter().take(NAMED) {
            let plain: String =
                reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
            // A text takes everything.
            let _ = write!(text, "; {} can't be used: {plain}", path.display());
        }
        text
    }
}

/// The specifications of a directory by name; what is in a directory of its own does not count.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)?.take(8 * COUNT) {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("json" | "yaml")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The content of a regular file of a bounded size.
fn bytes(path: &Path, room: u64) -> std::result::Result<Vec<u8>, String> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let limit = LARGEST.min(room);
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > limit {
        true if limit < LARGEST => Err(format!("all files together are larger than {TOGETHER}")),
        true => Err(format!("it is larger than {LARGEST} bytes")),
        false => Ok(bytes),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> std::result::Result<Spec, String> {
    let value = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_slice(bytes).map_err(|error| error.to_string())?,
        _ => yaml::parse(std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?)?,
    };
    let spec: Spec = serde_json::from_value(value).map_err(|error| error.to_string())?;
    spec.verify()?;
    Ok(spec)
}

#[cfg(test)]
mod tests;
