//! `HOME` for an environment that lacks it, as runc sets it and engines rely on.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

use rustix::fs::{FileType, OFlags};

use crate::plan::ProcessPlan;
use crate::root::Root;

/// A `passwd` may be this long; what follows is not read.
const LONGEST: u64 = 10 << 20;

/// The entry to add to the environment, unless there is one.
pub(super) fn missing_entry(process: &ProcessPlan, root: &Root) -> Option<String> {
    if process.env.iter().any(|entry| entry.starts_with("HOME=")) {
        return None;
    }
    let home = of_user(root, process.uid).unwrap_or_else(|| "/".to_owned());
    Some(format!("HOME={home}"))
}

/// The home of a user in the container's own `/etc/passwd`, read as what it is: a file that a
/// stranger wrote.
fn of_user(root: &Root, uid: u32) -> Option<String> {
    // A FIFO would be waited for, a device might do anything when it is read.
    let file = root.open("/etc/passwd", OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let found = rustix::fs::fstat(file.as_fd()).ok()?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return None;
    }
    let lines = BufReader::new(File::from(file).take(LONGEST)).lines();
    lines.map_while(Result::ok).find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let same = fields.get(2).and_then(|field| field.parse().ok()) == Some(uid);
        let home = fields.get(5).filter(|home| home.starts_with('/') && !home.contains('\0'))?;
        same.then(|| (*home).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Mode;
    use std::fs;

    #[test]
    fn the_home_is_that_of_the_containers_passwd_or_the_root() {
        let top = std::env::temp_dir().join(format!("lcr-home-{}", std::process::id()));
        fs::create_dir_all(top.join("etc")).unwrap();
        let open = || Root::new(rustix::fs::open(&top, OFlags::PATH, Mode::empty()).unwrap());
        let process = |uid, env: &[&str]| ProcessPlan {
            uid,
            env: env.iter().map(|entry| (*entry).to_owned()).collect(),
            ..ProcessPlan::default()
        };
        assert_eq!(missing_entry(&process(0, &[]), &open()).as_deref(), Some("HOME=/"));
        fs::write(top.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\na:x:7:7::rel:/bin/sh\n")
            .unwrap();
        assert_eq!(missing_entry(&process(0, &[]), &open()).as_deref(), Some("HOME=/root"));
        assert_eq!(missing_entry(&process(7, &[]), &open()).as_deref(), Some("HOME=/"));
        assert_eq!(missing_entry(&process(0, &["HOME=/x"]), &open()), None);
        fs::remove_file(top.join("etc/passwd")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, top.join("etc/passwd"), FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        assert_eq!(missing_entry(&process(0, &[]), &open()).as_deref(), Some("HOME=/"));
        fs::remove_dir_all(top).unwrap();
    }
}
