//! `host-local`: addresses from ranges, each a file named by the address, in the directory and form
//! of the reference plugin, so that both may give addresses of one network.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use isula_core::ports::NetworkDns;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{
        call::Call,
        result::{CniResult, Ip, Route, canonical},
    },
    cannot,
    ranges::{Range, RangeConf, RangeSet},
};
use crate::records::make_directory;

const DIRECTORY: &str = "/var/lib/cni/networks";
const LAST: &str = "last_reserved_ip.";
const LOCK: &str = "lock";
/// The file of an address before it has its name.
const NEW: &str = ".new";
/// A larger resolv.conf is none.
const RESOLV_LIMIT: u64 = 64 << 10;

/// The `ipam` object.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Conf {
    #[serde(rename = "type")]
    pub kind: String,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
    subnet: Option<String>,
    gateway: Option<IpAddr>,
    routes: Option<Vec<Value>>,
    data_dir: Option<PathBuf>,
    resolv_conf: Option<PathBuf>,
    ranges: Option<Vec<Vec<RangeConf>>>,
}

impl Conf {
    /// The sets of ranges: those that the runtime gives first, each gives one address.
    fn sets(&self, conf: &Map<String, Value>) -> Result<Vec<RangeSet>, String> {
        let given = conf.get("runtimeConfig").and_then(|runtime| runtime.get("ipRanges"));
        let given = given.cloned().map(serde_json::from_value).transpose();
        let mut all: Vec<Vec<RangeConf>> =
            given.map_err(cannot("read ipRanges"))?.unwrap_or_default();
        if self.subnet.is_some() {
            all.push(vec![RangeConf {
                range_start: self.range_start,
                range_end: self.range_end,
                subnet: self.subnet.clone(),
                gateway: self.gateway,
            }]);
        }
        all.extend(self.ranges.iter().flatten().cloned());
        let sets: Vec<RangeSet> =
            all.iter().map(|set| RangeSet::complete(set)).collect::<Result<_, _>>()?;
        if sets.is_empty() {
            return Err("no ranges of addresses are configured".to_owned());
        }
        for (place, set) in sets.iter().enumerate() {
            if sets.iter().skip(place + 1).any(|other| set.overlaps(other)) {
                return Err("sets of ranges overlap".to_owned());
            }
        }
        Ok(sets)
    }

    fn directory(&self, network: &str) -> PathBuf {
        let base = self.data_dir.as_deref().filter(|path| !path.as_os_str().is_empty());
        base.unwrap_or(Path::new(DIRECTORY)).join(network)
    }
}

/// The addresses that a request asks for by name.
fn wanted(call: &Call, conf: &Map<String, Value>) -> Result<Vec<IpAddr>, String> {
    let mut texts: Vec<&str> = call.arg("IP").filter(|text| !text.is_empty()).into_iter().collect();
    let in_args = conf.get("args").and_then(|args| args.get("cni")).and_then(|cni| cni.get("ips"));
    let in_runtime = conf.get("runtimeConfig").and_then(|runtime| runtime.get("ips"));
    for list in [in_args, in_runtime].into_iter().flatten() {
        texts.extend(list.as_array().into_iter().flatten().filter_map(Value::as_str));
    }
    let parse = |text: &str| {
        let bare = text.split_once('/').map_or(text, |(ip, _)| ip);
        bare.parse().map(canonical).map_err(|_| format!("{text:?} is no address"))
    };
    texts.into_iter().map(parse).collect()
}

/// Takes an address of each set of ranges.
pub(super) fn add(
    ipam: &Conf,
    call: &Call,
    conf: &Map<String, Value>,
) -> Result<CniResult, String> {
    let sets = ipam.sets(conf)?;
    let mut wanted = wanted(call, conf)?;
    let routes = ipam.routes.iter().flatten().map(Route::parse).collect::<Result<_, _>>()?;
    let dns = match &ipam.resolv_conf {
        Some(path) if !path.as_os_str().is_empty() => resolv_conf(path)?,
        _ => NetworkDns::default(),
    };
    let store = Store::open(ipam.directory(&call.network))?;
    let _lock = store.lock()?;
    let mut ips = Vec::new();
    let taken = sets.iter().enumerate().try_for_each(|(place, set)| {
        let named = wanted.iter().position(|ip| set.range_of(*ip).is_some());
        let named = named.map(|place| wanted.remove(place));
        let (ip, range) = store.take(call, (place, set), named)?;
        let address = (ip, range.subnet.1);
        ips.push(Ip { interface: None, address, gateway: Some(range.gateway) });
        Ok(())
    });
    let taken = taken.and_then(|()| match wanted.first() {
        None => Ok(()),
        Some(ip) => Err(format!("{ip} is in no range of the network")),
    });
    if let Err(message) = taken {
        for ip in &ips {
            // What is left is freed by DEL.
            let _ = fs::remove_file(store.file(ip.address.0));
        }
        return Err(message);
    }
    Ok(CniResult { ips, routes, dns, ..CniResult::default() })
}

/// Frees the addresses of an attachment. `known` are those that it has for sure.
pub(super) fn del(ipam: &Conf, call: &Call, known: &[IpAddr]) -> Result<(), String> {
    let store = Store { directory: ipam.directory(&call.network) };
    if !store.directory.is_dir() {
        return Ok(());
    }
    let _lock = store.lock()?;
    let own = owner(&call.id, &call.interface);
    let mut found = 0;
    for ip in known {
        found += usize::from(store.release(&store.file(*ip), |text| text == own)?);
    }
    if known.is_empty() || found < known.len() {
        store.release_all(|text, _| text == own || text == call.id)?;
    }
    Ok(())
}

/// Whether an attachment has an address.
pub(super) fn check(ipam: &Conf, call: &Call) -> Result<(), String> {
    let store = Store { directory: ipam.directory(&call.network) };
    let own = owner(&call.id, &call.interface);
    let mut found = false;
    store.each(|_, text, _| found |= text == own || text == call.id)?;
    match found {
        true => Ok(()),
        false => Err(format!("no address of {} is reserved", call.id)),
    }
}

/// Frees the addresses of a network that belong to none of these attachments.
pub(super) fn collect(
    ipam: &Conf,
    network: &str,
    valid: &[(String, String)],
) -> Result<(), String> {
    let kept = owners(valid);
    // Without an owner it was left by a process that was killed: the lock is held.
    let stale = |text: &str, _| text.is_empty() || !kept.iter().any(|own| own == text);
    release_stale(&ipam.directory(network), stale)
}

/// Frees the addresses of a network that were given before the machine started and belong to none
/// of these: no namespace outlives that, whoever made it.
pub(in super::super) fn reclaim(
    conf: &Map<String, Value>,
    (network, started): (&str, SystemTime),
    valid: &[(String, String)],
) -> Result<(), String> {
    let Some(ipam) = conf.get("ipam").cloned() else { return Ok(()) };
    let Ok(ipam) = serde_json::from_value::<Conf>(ipam) else { return Ok(()) };
    if ipam.kind != "host-local" {
        return Ok(());
    }
    let kept = owners(valid);
    let stale = |text: &str, given: Option<SystemTime>| {
        given.is_some_and(|given| given < started) && !kept.iter().any(|own| own == text)
    };
    release_stale(&ipam.directory(network), stale)
}

fn release_stale(
    directory: &Path,
    stale: impl Fn(&str, Option<SystemTime>) -> bool,
) -> Result<(), String> {
    let store = Store { directory: directory.to_owned() };
    if !store.directory.is_dir() {
        return Ok(());
    }
    let _lock = store.lock()?;
    store.release_all(stale)
}

/// What the file of an address says.
fn owner(id: &str, interface: &str) -> String {
    format!("{id}\r\n{interface}")
}

/// With interface, and without as the reference plugin wrote it once.
fn owners(valid: &[(String, String)]) -> Vec<String> {
    valid.iter().flat_map(|(id, interface)| [owner(id, interface), id.clone()]).collect()
}

/// The directory of a network's addresses.
struct Store {
    directory: PathBuf,
}

impl Store {
    fn open(directory: PathBuf) -> Result<Self, String> {
        let cannot = cannot(format_args!("make {}", directory.display()).to_string());
        make_directory(&directory, 0o755).map_err(cannot)?;
        Ok(Self { directory })
    }

    /// The lock that every plugin of this directory takes, for as long as the file is open. Within
    /// this process one thread at a time asks for it: the kernel hands a file's lock over in turn,
    /// and each turn would wait until that thread runs.
    fn lock(&self) -> Result<(File, MutexGuard<'static, ()>), String> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.directory.join(LOCK);
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.and_then(|file| {
            while let Err(error) = flock(&file, FlockOperation::LockExclusive) {
                if error != rustix::io::Errno::INTR {
                    return Err(error.into());
                }
            }
            Ok(file)
        });
        file.map(|file| (file, turn)).map_err(cannot(format!("lock {}", path.display())))
    }

    fn file(&self, ip: IpAddr) -> PathBuf {
        self.directory.join(ip.to_string())
    }

    /// Takes one address of a set: the one that is wanted, or the next free one.
    fn take<'a>(
        &self,
        call: &Call,
        (place, set): (usize, &'a RangeSet),
        wanted: Option<IpAddr>,
    ) -> Result<(IpAddr, &'a Range), String> {
        let last = self.directory.join(format!("{LAST}{place}"));
        let own = owner(&call.id, &call.interface);
        if let Some(ip) = wanted {
            let range = set.range_of(ip).ok_or_else(|| format!("{ip} is in no range"))?;
            if ip == range.gateway {
                return Err(format!("the address {ip} is the gateway's"));
            }
            return match self.reserve(ip, &own)? {
                true => self.remember(&last, ip).map(|()| (ip, range)),
                false => Err(format!("the address {ip} is taken")),
            };
        }
        let before = fs::read_to_string(&last).ok().and_then(|text| text.trim().parse().ok());
        for (ip, range) in set.walk(before) {
            if self.reserve(ip, &own)? {
                return self.remember(&last, ip).map(|()| (ip, range));
            }
        }
        let ranges: Vec<String> =
            set.0.iter().map(|range| format!("{}-{}", range.first, range.last)).collect();
        Err(format!("no address is free in {}", ranges.join(",")))
    }

    /// Reserves an address if it is free. Its file has its owner from the first moment: one that a
    /// killed process left without would never be freed.
    fn reserve(&self, ip: IpAddr, owner: &str) -> Result<bool, String> {
        let (path, new) = (self.file(ip), self.directory.join(NEW));
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(owner.as_bytes())?;
            Ok(rustix::fs::renameat_with(CWD, &new, CWD, &path, RenameFlags::NOREPLACE)?)
        };
        // The lock is held: who is there now stays.
        if path.exists() {
            return Ok(false);
        }
        match write() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(cannot(format!("reserve {}", path.display()))(error)),
        }
    }

    fn remember(&self, last: &Path, ip: IpAddr) -> Result<(), String> {
        let write = || {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(last)?;
            file.write_all(ip.to_string().as_bytes())
        };
        write().map_err(cannot(format!("write {}", last.display())))
    }

    /// Removes the file of an address if it is `wanted`.
    fn release(&self, path: &Path, wanted: impl Fn(&str) -> bool) -> Result<bool, String> {
        match fs::read_to_string(path) {
            Ok(text) if wanted(text.trim()) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(format!("cannot free {}: {error}", path.display()))
                }
                _ => Ok(true),
            },
            _ => Ok(false),
        }
    }

    fn release_all(&self, wanted: impl Fn(&str, Option<SystemTime>) -> bool) -> Result<(), String> {
        let mut files = Vec::new();
        self.each(|path, text, given| {
            if wanted(text, given) {
                files.push(path.to_owned());
            }
        })?;
        for file in files {
            self.release(&file, |_| true)?;
        }
        Ok(())
    }

    /// Every address with its owner, and when it was given.
    fn each(&self, mut see: impl FnMut(&Path, &str, Option<SystemTime>)) -> Result<(), String> {
        let shown = self.directory.display();
        let entries = fs::read_dir(&self.directory).map_err(cannot(format!("list {shown}")))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            // Files that are no addresses are the lock, the last ones given, and other people's.
            if name.to_str().is_none_or(|name| name.parse::<IpAddr>().is_err()) {
                continue;
            }
            let path = entry.path();
            let given = entry.metadata().and_then(|found| found.modified()).ok();
            if let Ok(text) = fs::read_to_string(&path) {
                see(&path, text.trim(), given);
            }
        }
        Ok(())
    }
}

/// Name resolution as a file of the host says it.
fn resolv_conf(path: &Path) -> Result<NetworkDns, String> {
    use io::Read;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(RESOLV_LIMIT).read_to_string(&mut text));
    read.map_err(cannot(format!("read {}", path.display())))?;
    let mut dns = NetworkDns::default();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        match (words.next().as_deref(), words.next()) {
            (Some("nameserver"), Some(server)) => dns.nameservers.push(server),
            (Some("domain"), Some(domain)) => dns.domain = Some(domain),
            (Some("search"), Some(first)) => {
                dns.search.push(first);
                dns.search.extend(words);
            }
            (Some("options"), Some(first)) => {
                dns.options.push(first);
                dns.options.extend(words);
            }
            _ => {}
        }
    }
    Ok(dns)
}

#[cfg(test)]
mod tests;
