//! The root file system: taken from the host, made the root of the mount namespace.

use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use isula_sys::mount::{self, Depth, Filesystem};
use isula_sys::process;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::idmap;
use super::sources::{self, bit};
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{IdMap, Plan, Propagation, PropagationKind, Rootfs};

/// The longest string that `fsconfig(2)` takes.
const LONGEST_VALUE: usize = 255;

/// A detached mount of the root file system.
pub(crate) fn take(plan: &Plan) -> Result<OwnedFd, StartError> {
    let (tree, text) = match &plan.rootfs {
        Rootfs::Directory(path) => {
            let text = path.display().to_string();
            (sources::clone(path, Depth::Tree).or_fail(Step::Rootfs, &text)?, text)
        }
        Rootfs::Overlay { upper, .. } => {
            (overlay(plan)?, format!("the overlay of {}", upper.display()))
        }
    };
    // A root that is shared cannot be pivoted to: sharing is set once it is the root.
    let propagation = match plan.rootfs_propagation {
        Some(slave @ Propagation { kind: PropagationKind::Slave, .. }) => vec![slave],
        _ => Vec::new(),
    };
    sources::set_propagation(tree.as_fd(), &propagation).or_fail(Step::Rootfs, &text)?;
    Ok(tree)
}

/// Attaches the root file system and returns its root. It covers its own directory, or for an
/// overlay the bundle's, in this mount namespace only.
pub(crate) fn attach(plan: &Plan, tree: &OwnedFd) -> Result<OwnedFd, StartError> {
    let place = match &plan.rootfs {
        Rootfs::Directory(path) => path,
        Rootfs::Overlay { .. } => &plan.bundle,
    };
    attach_at(place, tree)
}

/// As [`attach`], over a directory of the host.
pub(crate) fn attach_at(place: &Path, tree: &OwnedFd) -> Result<OwnedFd, StartError> {
    let text = place.display().to_string();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::open(place, flags, Mode::empty()).or_fail(Step::Rootfs, &text)?;
    mount::attach(tree.as_fd(), target.as_fd()).or_fail(Step::Rootfs, &text)?;
    rustix::fs::openat(tree, c".", flags, Mode::empty()).or_fail(Step::Rootfs, &text)
}

/// Makes the directory of `root` the root of the mount namespace, and lets go of the old one.
pub(crate) fn pivot(root: BorrowedFd<'_>, no_pivot: bool) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    if no_pivot {
        let flags = rustix::mount::MoveMountFlags::empty();
        let here = rustix::fs::CWD;
        rustix::mount::move_mount(here, c".", here, c"/", flags)?;
        rustix::process::chroot(c".")?;
    } else {
        // The old root ends up on top of the new one, and is taken off (pivot_root(2), "."). It is
        // private already, so the host notices nothing.
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)?;
    }
    Ok(rustix::process::chdir(c"/")?)
}

/// Sets what can only be set on the root once everything below it is there.
pub(crate) fn finish(plan: &Plan) -> Result<(), StartError> {
    let wanted = plan.rootfs_propagation;
    if let Some(wanted) = wanted.filter(|wanted| wanted.kind != PropagationKind::Slave) {
        let depth = if wanted.recursive { Depth::Tree } else { Depth::One };
        mount::change_propagation(c"/", depth, bit(wanted.kind))
            .or_fail(Step::Rootfs, "propagation")?;
    }
    if plan.rootfs_readonly {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty()).or_fail(Step::Rootfs, "/")?;
        match mount::set_attributes(root.as_fd(), Depth::One, (mount::RDONLY, 0)) {
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                mount::remount_bind(root.as_fd(), (mount::RDONLY, 0))
            }
            result => result,
        }
        .or_fail(Step::Rootfs, "read-only")?;
    }
    Ok(())
}

/// Layers that nothing is written to, with the topmost first.
pub(crate) fn layers(
    plan: &Plan,
    lower: &[PathBuf],
    idmap: Option<&IdMap>,
    attributes: u32,
) -> Result<OwnedFd, StartError> {
    let filesystem = Filesystem::open("overlay").or_fail(Step::Mount, "overlay")?;
    let configure = || {
        filesystem.set("source", "overlay")?;
        let _held = add_layers(&filesystem, plan, lower, idmap)?;
        if let Some(label) = &plan.mount_label {
            filesystem.set("context", label)?;
        }
        filesystem.mount(attributes | mount::RDONLY)
    };
    configure().map_err(|error| {
        let detail = filesystem.message().unwrap_or_else(|| "overlay".to_owned());
        StartError::new(Step::Mount, error, detail)
    })
}

/// Names the layers. What comes back has to stay open until the overlay is made: a mount that is
/// attached nowhere goes with its last descriptor, and overlayfs takes none that is gone.
fn add_layers(
    filesystem: &Filesystem,
    plan: &Plan,
    lower: &[PathBuf],
    idmap: Option<&IdMap>,
) -> io::Result<Vec<OwnedFd>> {
    let mut open = Vec::new();
    for layer in lower {
        match idmap {
            Some(map) => {
                let tree = mapped(plan, layer, map)?;
                filesystem.set_file("lowerdir+", tree.as_fd())?;
                open.push(tree);
            }
            None => {
                let name = name(layer, LONGEST_VALUE, &mut open)?;
                filesystem.set("lowerdir+", text(&name)?)?;
            }
        }
    }
    Ok(open)
}

/// A layer as the container's user namespace shall see it: overlayfs itself can't be idmapped.
fn mapped(plan: &Plan, layer: &Path, map: &IdMap) -> io::Result<OwnedFd> {
    let tree = sources::clone(layer, Depth::One)?;
    idmap::apply(plan, map, tree.as_fd())?;
    Ok(tree)
}

/// What overlayfs says of a kernel that takes no layers by descriptor.
const TOO_OLD: &str = "user namespaces over an overlay need Linux 6.15";

fn idmapped_overlay(plan: &Plan) -> Result<OwnedFd, StartError> {
    let Rootfs::Overlay { lower, upper, work, volatile } = &plan.rootfs else {
        return Err(StartError::refused(Step::Rootfs, "an overlay"));
    };
    let map = IdMap::of_container();
    let filesystem = Filesystem::open("overlay").or_fail(Step::Rootfs, "overlay")?;
    let configure = || {
        filesystem.set("source", "overlay")?;
        let _held = add_layers(&filesystem, plan, lower, Some(&map))?;
        // Both have to be on one mount.
        let parent = upper.parent().ok_or(Errno::INVAL)?;
        let own = mapped(plan, parent, &map)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for (key, path) in [("upperdir", upper), ("workdir", work)] {
            let name = path.file_name().ok_or(Errno::INVAL)?;
            let directory = rustix::fs::openat(&own, name, flags, Mode::empty())?;
            filesystem.set_file(key, directory.as_fd())?;
        }
        if *volatile {
            filesystem.set_flag("volatile")?;
        }
        if let Some(label) = &plan.mount_label {
            filesystem.set("context", label)?;
        }
        // Whoever mounts it makes the directories it works in: on a mapped mount only an owner can
        // who is mapped, and nobody else's `work` would leave the overlay read-only.
        let root = rustix::fs::fstat(&own)?;
        process::with_file_ids((root.st_uid, root.st_gid), || filesystem.mount(0))
    };
    configure().map_err(|error| {
        let detail = filesystem.message().unwrap_or_else(|| TOO_OLD.to_owned());
        StartError::new(Step::Rootfs, error, detail)
    })
}

fn overlay(plan: &Plan) -> Result<OwnedFd, StartError> {
    if plan.rootfs_idmapped {
        return idmapped_overlay(plan);
    }
    match overlay_by_layer(plan) {
        // Linux before 6.7 does not know `lowerdir+`; it takes one option of up to a page.
        Err(error) if error.errno == Errno::INVAL.raw_os_error() => {
            overlay_by_string(plan).map_err(|_| error)
        }
        result => result,
    }
}

/// The layers of an overlay, those beside the upper one, as strings that `fsconfig(2)` takes.
struct Layers {
    lower: Vec<CString>,
    upper: CString,
    work: CString,
    volatile: bool,
    /// Directories whose path is too long, named by descriptor.
    _open: Vec<OwnedFd>,
}

impl Layers {
    fn of(plan: &Plan, longest: usize) -> io::Result<Self> {
        let Rootfs::Overlay { lower, upper, work, volatile } = &plan.rootfs else {
            return Err(Errno::INVAL.into());
        };
        let mut open = Vec::new();
        let mut short = |path: &PathBuf| name(path, longest, &mut open);
        let lower = lower.iter().map(&mut short).collect::<io::Result<_>>()?;
        let (upper, work) = (short(upper)?, short(work)?);
        Ok(Self { lower, upper, work, volatile: *volatile, _open: open })
    }
}

/// The path, or a short one through a descriptor when it is too long.
fn name(path: &Path, longest: usize, open: &mut Vec<OwnedFd>) -> io::Result<CString> {
    if path.as_os_str().len() <= longest {
        return Ok(CString::new(path.as_os_str().as_bytes())?);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let name = mount::descriptor_path(directory.as_fd());
    open.push(directory);
    Ok(name)
}

fn text(name: &CString) -> io::Result<&str> {
    name.to_str().map_err(|_| Errno::ILSEQ.into())
}

fn overlay_by_layer(plan: &Plan) -> Result<OwnedFd, StartError> {
    let layers = Layers::of(plan, LONGEST_VALUE).or_fail(Step::Rootfs, "layers")?;
    let filesystem = Filesystem::open("overlay").or_fail(Step::Rootfs, "overlay")?;
    let configure = || {
        filesystem.set("source", "overlay")?;
        for lower in &layers.lower {
            filesystem.set("lowerdir+", text(lower)?)?;
        }
        filesystem.set("upperdir", text(&layers.upper)?)?;
        filesystem.set("workdir", text(&layers.work)?)?;
        if layers.volatile {
            filesystem.set_flag("volatile")?;
        }
        if let Some(label) = &plan.mount_label {
            filesystem.set("context", label)?;
        }
        filesystem.mount(0)
    };
    configure().map_err(|error| {
        let detail = filesystem.message().unwrap_or_else(|| "overlay".to_owned());
        StartError::new(Step::Rootfs, error, detail)
    })
}

/// In one string: every layer is named by descriptor, so that 127 of them fit into a page and no
/// character of a path has a meaning. What is too long for `fsconfig(2)` is mounted over the
/// bundle with `mount(2)`, copied, and taken off again.
fn overlay_by_string(plan: &Plan) -> io::Result<OwnedFd> {
    let layers = Layers::of(plan, 0)?;
    let mut lower = String::new();
    for (index, layer) in layers.lower.iter().enumerate() {
        if index > 0 {
            lower.push(':');
        }
        lower.push_str(text(layer)?);
    }
    let mut options = vec![
        ("lowerdir", lower.as_str()),
        ("upperdir", text(&layers.upper)?),
        ("workdir", text(&layers.work)?),
    ];
    if let Some(label) = &plan.mount_label {
        options.push(("context", label));
    }
    if lower.len() > LONGEST_VALUE {
        return overlay_over_bundle(plan, &options, layers.volatile);
    }
    let filesystem = Filesystem::open("overlay")?;
    filesystem.set("source", "overlay")?;
    for (key, value) in options {
        filesystem.set(key, value)?;
    }
    if layers.volatile {
        filesystem.set_flag("volatile")?;
    }
    filesystem.mount(0)
}

fn overlay_over_bundle(
    plan: &Plan,
    options: &[(&str, &str)],
    volatile: bool,
) -> io::Result<OwnedFd> {
    let mut data = String::new();
    for (key, value) in options {
        // A label holds commas; the others are paths of descriptors. Writing cannot fail.
        let quote = if *key == "context" { "\"" } else { "" };
        let _ = write!(data, "{key}={quote}{value}{quote},");
    }
    data.push_str(if volatile { "volatile" } else { "index=off" });
    let data = CString::new(data)?;
    let place = CString::new(plan.bundle.as_os_str().as_bytes())?;
    mount::mount(Some(c"overlay"), &place, Some(c"overlay"), (0, Some(&data)))?;
    let copy = mount::clone(&place, Depth::One);
    mount::detach(&place)?;
    copy
}

#[cfg(test)]
mod tests;
