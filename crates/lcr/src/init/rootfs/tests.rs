//! Overlays in every way they are mounted, and the calls of old kernels.

use super::*;
use crate::plan::Plan;
use std::fs;
use std::os::fd::AsFd;

/// Directories of an overlay, in a mount namespace of this test's thread.
struct Layered {
    top: PathBuf,
    plan: Plan,
}

impl Layered {
    fn new(name: &str, layers: usize) -> Self {
        isula_sys::namespace::unshare(crate::plan::NamespaceKind::Mount.bit()).unwrap();
        sources::make_all_private().unwrap();
        let top = std::env::temp_dir().join(format!("lcr-{name}-{}", std::process::id()));
        let lower: Vec<PathBuf> = (0..layers)
            .map(|index| {
                let layer = top.join(format!("layer,{index}:"));
                fs::create_dir_all(&layer).unwrap();
                fs::write(layer.join(format!("file{index}")), "").unwrap();
                fs::write(layer.join("same"), index.to_string()).unwrap();
                layer
            })
            .collect();
        for name in ["upper", "work", "bundle"] {
            fs::create_dir_all(top.join(name)).unwrap();
        }
        let rootfs = Rootfs::Overlay {
            lower,
            upper: top.join("upper"),
            work: top.join("work"),
            volatile: true,
        };
        let plan = Plan { rootfs, bundle: top.join("bundle"), ..crate::plan::tests::plan() };
        Self { top, plan }
    }
}

impl Drop for Layered {
    fn drop(&mut self) {
        let _ = mount::detach(&CString::new(self.top.join("bundle").to_str().unwrap()).unwrap());
        fs::remove_dir_all(&self.top).unwrap();
    }
}

/// What is in a detached mount: number of files, contents of `same`, whether it can be written.
fn look(tree: &OwnedFd) -> (usize, Vec<u8>) {
    let open =
        |name: &str, flags| rustix::fs::openat(tree, name, flags, Mode::from_raw_mode(0o600));
    let mut same = [0u8; 8];
    let count = rustix::io::read(open("same", OFlags::RDONLY).unwrap(), &mut same).unwrap();
    open("new", OFlags::WRONLY | OFlags::CREATE).unwrap();
    let names = rustix::fs::Dir::read_from(open(".", OFlags::RDONLY).unwrap()).unwrap();
    let files = names.filter(|name| name.as_ref().is_ok_and(|name| name.file_name() != c"."));
    (files.count() - 1, same[..count].to_vec())
}

#[test]
fn an_overlay_has_its_layers_in_order_however_it_is_mounted() {
    type Mount = fn(&Plan) -> Result<OwnedFd, StartError>;
    let by_string: Mount = |plan| overlay_by_string(plan).or_fail(Step::Rootfs, "string");
    for (name, layers, mount) in [
        ("by-layer", 3, overlay_by_layer as Mount),
        ("by-string", 3, by_string),
        // Too long for fsconfig(2), and the names of all must fit into a page.
        ("by-mount", 100, by_string),
    ] {
        let layered = Layered::new(name, layers);
        let tree = mount(&layered.plan).unwrap();
        assert_eq!(look(&tree), (layers + 2, b"0".to_vec()), "{name}");
        assert!(layered.top.join("upper/new").exists(), "{name}");
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!mounts.contains(layered.top.to_str().unwrap()), "nothing stays attached");
        let attached = attach(&layered.plan, &tree).unwrap();
        assert!(fs::read(layered.plan.bundle.join("same")).is_ok(), "{name}");
        drop((attached, tree));
    }
}

#[test]
fn attributes_of_an_attached_mount_are_changed_on_an_old_kernel_too() {
    let layered = Layered::new("old-kernel", 1);
    let tree = take(&layered.plan).unwrap();
    let root = attach(&layered.plan, &tree).unwrap();
    mount::remount_bind(root.as_fd(), (mount::RDONLY | mount::NODEV | mount::NOATIME, 0)).unwrap();
    let flags = rustix::fs::fstatvfs(&root).unwrap().f_flag;
    use rustix::fs::StatVfsMountFlags as Flags;
    assert!(flags.contains(Flags::RDONLY | Flags::NODEV | Flags::NOATIME));
    mount::remount_bind(root.as_fd(), (0, mount::RDONLY)).unwrap();
    let flags = rustix::fs::fstatvfs(&root).unwrap().f_flag;
    assert!(!flags.contains(Flags::RDONLY) && flags.contains(Flags::NODEV | Flags::NOATIME));
    // The attributes of a plan end up the same where they can be set by descriptor.
    let attributes = crate::plan::Attributes { set: mount::RDONLY, ..Default::default() };
    sources::set_attributes(root.as_fd(), attributes).unwrap();
    sources::late_attributes(|| process::duplicate(&root), attributes).unwrap();
    assert!(rustix::fs::fstatvfs(&root).unwrap().f_flag.contains(Flags::RDONLY));
}

#[test]
fn a_long_path_is_named_by_descriptor_and_means_the_same_directory() {
    let mut path = std::env::temp_dir().join(format!("lcr-long-{}", std::process::id()));
    let top = path.clone();
    for _ in 0..4 {
        path.push("x".repeat(100));
    }
    fs::create_dir_all(&path).unwrap();
    let mut open = Vec::new();
    let short = name(&path, LONGEST_VALUE, &mut open).unwrap();
    assert!(short.as_bytes().len() < 30);
    let reopened = rustix::fs::open(&short, OFlags::PATH, Mode::empty()).unwrap();
    let inode = |file: &OwnedFd| rustix::fs::fstat(file).unwrap().st_ino;
    assert_eq!(inode(&reopened), inode(open.first().unwrap()));
    fs::remove_dir_all(top).unwrap();
}
