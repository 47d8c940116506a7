//! All that comes from the host's file system, taken before anything of the container is entered.
//!
//! Each source is resolved once, in the host's view, and kept as a detached copy of its mount with
//! its attributes set. Nothing the container's image contains can redirect it any more, and the
//! mounts themselves need no path of the host. With a user namespace the parent does this, which
//! may read what the container's root may not.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use isula_sys::mount::{self, Depth};
use rustix::fs::{FileType, Mode, OFlags};

use super::idmap;
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{
    Attributes, Device, Mount, MountKind, NamespaceKind, Plan, Propagation, PropagationKind,
};

/// What the host provides to one container.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The root file system, detached.
    pub(crate) rootfs: OwnedFd,
    /// For each mount of the plan, the trees that it binds.
    pub(crate) mounts: Vec<Vec<OwnedFd>>,
    /// A detached mount of the host's `/dev/null`, checked to be one.
    pub(crate) null: OwnedFd,
    /// With a user namespace, which can make no device: those of the host, in the plan's order,
    /// the default ones first.
    pub(crate) devices: Vec<OwnedFd>,
}

impl Sources {
    /// In the parent, for a child that cannot.
    pub(crate) fn take_for_child(plan: &Plan) -> Result<Self, StartError> {
        let mounts = all_trees(plan)?;
        let devices = match plan.namespaces.separates(NamespaceKind::User) {
            true => super::dev::all(plan).map(|device| bound_device(&device)).collect(),
            false => Ok(Vec::new()),
        }?;
        Ok(Self { rootfs: super::rootfs::take(plan)?, mounts, null: null()?, devices })
    }

    /// The descriptors in it.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let one = [&self.rootfs, &self.null];
        one.into_iter()
            .chain(self.mounts.iter().flatten())
            .chain(&self.devices)
            .map(AsFd::as_fd)
            .collect()
    }

    /// In the container's mount namespace. Every mount in it becomes private, after the sources
    /// are taken: those may share events with the host if that is asked for.
    pub(crate) fn take(plan: &Plan) -> Result<Self, StartError> {
        let mounts = all_trees(plan)?;
        make_all_private()?;
        let rootfs = super::rootfs::take(plan)?;
        Ok(Self { rootfs, mounts, null: null()?, devices: Vec::new() })
    }
}

fn bound_device(device: &Device) -> Result<OwnedFd, StartError> {
    clone(Path::new(&device.path), Depth::One).or_fail(Step::Device, &device.path)
}

/// Cuts every mount of this namespace off from the host's.
pub(crate) fn make_all_private() -> Result<(), StartError> {
    mount::change_propagation(c"/", Depth::Tree, mount::PRIVATE).or_fail(Step::Rootfs, "private")
}

fn all_trees(plan: &Plan) -> Result<Vec<Vec<OwnedFd>>, StartError> {
    plan.mounts.iter().map(|mount| trees(plan, mount)).collect()
}

fn trees(plan: &Plan, mount: &Mount) -> Result<Vec<OwnedFd>, StartError> {
    match &mount.kind {
        MountKind::Filesystem { .. } => Ok(Vec::new()),
        MountKind::Bind { source, recursive, idmap } => {
            let depth = if *recursive { Depth::Tree } else { Depth::One };
            let source = plan.bundle.join(source);
            let text = source.display().to_string();
            let tree = clone(&source, depth).or_fail(Step::Mount, &text)?;
            if let Some(map) = idmap {
                idmap::apply(plan, map, tree.as_fd()).or_fail(Step::IdMap, &text)?;
            }
            set_attributes(tree.as_fd(), mount.attributes).or_fail(Step::Mount, &text)?;
            set_propagation(tree.as_fd(), &mount.propagation).or_fail(Step::Mount, &text)?;
            Ok(vec![tree])
        }
        MountKind::Layers { lower, idmap, .. } => {
            let set = mount.attributes.set;
            Ok(vec![super::rootfs::layers(plan, lower, idmap.as_ref(), set)?])
        }
        MountKind::CgroupV1 { groups, .. } => groups
            .iter()
            .map(|(_, group)| {
                let text = group.display().to_string();
                let tree = clone(group, Depth::One).or_fail(Step::Mount, &text)?;
                set_attributes(tree.as_fd(), mount.attributes).or_fail(Step::Mount, &text)?;
                set_propagation(tree.as_fd(), &[]).or_fail(Step::Mount, &text)?;
                Ok(tree)
            })
            .collect(),
    }
}

/// A detached copy of the mount at a path of the host.
pub(crate) fn clone(path: &Path, depth: Depth) -> io::Result<OwnedFd> {
    mount::clone(&CString::new(path.as_os_str().as_bytes())?, depth)
}

/// Sets what `attributes` says on a mount that may be detached. Does nothing where the kernel is
/// too old: [`late_attributes`] does it then, once the mount is attached.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes) -> io::Result<()> {
    let Attributes { set, clear, set_recursive, clear_recursive } = attributes;
    for (depth, change) in
        [(Depth::Tree, (set_recursive, clear_recursive)), (Depth::One, (set, clear))]
    {
        // `relatime` is the zero of its field: clearing the field is all there is to it.
        if change != (0, 0) {
            unless_too_old(mount::set_attributes(mount, depth, change))?;
        }
    }
    Ok(())
}

/// Sets attributes with `mount(2)` on a kernel without `mount_setattr(2)`, on the mount that `find`
/// opens.
pub(crate) fn late_attributes(
    find: impl FnOnce() -> io::Result<OwnedFd>,
    attributes: Attributes,
) -> io::Result<()> {
    let Attributes { set, clear, set_recursive, clear_recursive } = attributes;
    if attributes == Attributes::default() || has_setattr() {
        return Ok(());
    }
    let mount = find()?;
    let mount = mount.as_fd();
    if set_recursive != 0 || clear_recursive != 0 {
        return Err(rustix::io::Errno::NOSYS.into());
    }
    mount::remount_bind(mount, (set, clear))
}

/// Sets propagation on a mount that may be detached: private unless something else is asked for.
pub(crate) fn set_propagation(mount: BorrowedFd<'_>, wanted: &[Propagation]) -> io::Result<()> {
    let private = [Propagation { kind: PropagationKind::Private, recursive: true }];
    for one in if wanted.is_empty() { &private } else { wanted } {
        let depth = if one.recursive { Depth::Tree } else { Depth::One };
        match mount::set_propagation(mount, depth, bit(one.kind)) {
            // Linux 5.10 and 5.11: mount(2) takes the path of the descriptor.
            Err(error) if is_too_old(&error) => {
                let path = mount::descriptor_path(mount);
                mount::change_propagation(&path, depth, bit(one.kind))?;
            }
            result => result?,
        }
    }
    Ok(())
}

/// The `MS_*` bit of a kind of propagation.
pub(crate) const fn bit(kind: PropagationKind) -> u32 {
    match kind {
        PropagationKind::Shared => mount::SHARED,
        PropagationKind::Slave => mount::SLAVE,
        PropagationKind::Private => mount::PRIVATE,
        PropagationKind::Unbindable => mount::UNBINDABLE,
    }
}

fn is_too_old(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error())
}

fn unless_too_old(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_too_old(&error) => Ok(()),
        result => result,
    }
}

/// Whether the kernel has `mount_setattr(2)`: it looks at the change before the mount, and takes
/// an empty one for what is none, too.
fn has_setattr() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let none = rustix::fs::CWD;
    let change = || mount::set_attributes(none, Depth::One, (0, 0));
    *KNOWN.get_or_init(|| !matches!(change(), Err(error) if is_too_old(&error)))
}

/// A detached mount of `/dev/null` of the host, which masks files: it has to be the real one.
fn null() -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null =
        rustix::fs::open("/dev/null", flags, Mode::empty()).or_fail(Step::Mask, "/dev/null")?;
    let found = rustix::fs::fstat(&null).or_fail(Step::Mask, "/dev/null")?;
    let is_null = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(1, 3);
    if is_null {
        mount::clone_of(null.as_fd(), Depth::One).or_fail(Step::Mask, "/dev/null")
    } else {
        Err(StartError::refused(Step::Mask, "with /dev/null of the host, which is not one"))
    }
}

/// Whether the parent has to take the sources: in a user namespace the child cannot, and for an
/// idmapped mount a process is needed that can be found in procfs.
pub(crate) fn taken_by_parent(plan: &Plan) -> bool {
    let idmapped = |mount: &Mount| {
        matches!(
            mount.kind,
            MountKind::Bind { idmap: Some(_), .. } | MountKind::Layers { idmap: Some(_), .. }
        )
    };
    plan.namespaces.separates(NamespaceKind::User) || plan.mounts.iter().any(idmapped)
}
