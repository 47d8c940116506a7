//! The way of a container's first process from its birth to its program.

use std::{convert::Infallible, io, os::fd::AsFd, path::Path};

use isula_core::{
    container::capability,
    spec::seccomp::{architecture, default_profile},
};
use isula_sys::{
    capability::{Sets, bounding, bounding_drop, set},
    exec::{self, Strings},
    namespace, process, seccomp, signal,
};
use oci_spec::runtime::Capabilities;
use rustix::fs::{Mode, OFlags};

use crate::{groups::Groups, mounts};

/// What a container may do: Docker's capabilities and filter.
pub struct Confinement {
    capabilities: u64,
    filter: Vec<u8>,
}

impl Confinement {
    /// The engine's default, compiled once as the engine does.
    pub fn of_the_engine() -> io::Result<Self> {
        let names = capability::DEFAULT;
        let mut capabilities = 0;
        let mut given = Capabilities::default();
        for name in names {
            let number = capability::NAMES.iter().position(|known| known == &name);
            capabilities |= number.map_or(0, |number| 1u64 << number);
            let capability = serde_json::from_value(name.into()).map_err(io::Error::other)?;
            given.insert(capability);
        }
        let machine = architecture(std::env::consts::ARCH)
            .ok_or_else(|| io::Error::other("no filter for this architecture"))?;
        let profile = default_profile(&given, machine);
        let filter = lcr::seccomp::compile(&profile).map_err(io::Error::other)?.program;
        Ok(Self { capabilities, filter })
    }
}

/// Where a container lives.
pub struct Place<'a> {
    /// The lower directory of its overlay.
    pub rootfs: &'a Path,
    /// Directory of the files that are mounted into it.
    pub files: &'a Path,
    /// Its own directory.
    pub directory: &'a Path,
    /// Its control groups.
    pub groups: &'a Groups,
}

/// Goes the way; comes back only to say why it could not.
pub fn run(place: &Place<'_>, confinement: &Confinement, program: &Strings) -> String {
    match go(place, confinement, program) {
        Ok(never) => match never {},
        Err((step, error)) => format!("{step}: {error}"),
    }
}

fn go(
    place: &Place<'_>,
    confinement: &Confinement,
    program: &Strings,
) -> Result<Infallible, (&'static str, io::Error)> {
    let at = |step: &'static str| move |error: io::Error| (step, error);
    place.groups.join().map_err(at("control groups"))?;
    let root = mounts::root(place.rootfs, place.directory).map_err(at("overlay"))?;
    namespace::loopback_up().map_err(at("loopback"))?;
    rustix::system::sethostname(b"floor").map_err(|error| ("host name", error.into()))?;
    rustix::process::umask(Mode::empty());
    mounts::fill(root.as_fd(), place.groups.paths(), place.files).map_err(at("mounts"))?;
    mounts::protect(root.as_fd()).map_err(at("masks"))?;
    mounts::pivot(root.as_fd()).map_err(at("root"))?;
    streams().map_err(at("streams"))?;
    process::new_session_keyring().map_err(at("keyring"))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let last = confine(confinement).map_err(at("capabilities"))?;
    signal::reset_all().map_err(at("signals"))?;
    exec::close_on_exec_from(3).map_err(at("descriptors"))?;
    let environment = Strings::new(["PATH=/bin"]).map_err(at("environment"))?;
    seccomp::install_filter(&confinement.filter, 0).map_err(at("filter"))?;
    set(last).map_err(at("capabilities"))?;
    let path = program.as_slice().first().ok_or(("program", io::ErrorKind::NotFound.into()))?;
    Err(("program", exec::execve(path, program, &environment)))
}

fn streams() -> io::Result<()> {
    rustix::process::setsid()?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
    exec::set_standard_streams([null.as_fd(), null.as_fd(), null.as_fd()])
}

/// Drops what the program shall not have, but for what loading the filter takes.
fn confine(confinement: &Confinement) -> io::Result<Sets> {
    const SYS_ADMIN: u64 = 1 << 21;
    let present = bounding();
    let kept = present & confinement.capabilities;
    for number in (0..64).filter(|number| (present & !kept) >> number & 1 == 1) {
        bounding_drop(number)?;
    }
    let last = Sets { effective: kept, permitted: kept, inheritable: 0 };
    set(Sets { effective: kept | SYS_ADMIN, permitted: kept | SYS_ADMIN, inheritable: 0 })?;
    Ok(last)
}
