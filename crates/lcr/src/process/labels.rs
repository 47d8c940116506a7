//! Labels of security modules, set on the exec of the program.

use std::fs::File;
use std::io::Write;

use rustix::fs::{Mode, OFlags};

use crate::error::{OrFail as _, StartError, Step};
use crate::plan::ProcessPlan;
use crate::root::is_in_proc;
use std::os::fd::AsFd;

/// `/proc/self/attr` files that take the label of the next exec.
///
/// They are opened in the host's procfs, before the process sees anything of the container's: an
/// image or a mount cannot put another file in their place (CVE-2019-16884, CVE-2025-52881).
#[derive(Debug, Default)]
pub(crate) struct LabelFiles {
    apparmor: Option<File>,
    selinux: Option<File>,
}

impl LabelFiles {
    /// Opens what the plan needs, of the process that calls.
    pub(crate) fn open(process: &ProcessPlan) -> Result<Self, StartError> {
        let apparmor = process.apparmor.as_ref().map(|_| {
            // A kernel that stacks modules has a directory for each of them.
            open("/proc/thread-self/attr/apparmor/exec")
                .or_else(|_| open("/proc/thread-self/attr/exec"))
        });
        let selinux = process.selinux.as_ref().map(|_| open("/proc/thread-self/attr/exec"));
        Ok(Self { apparmor: apparmor.transpose()?, selinux: selinux.transpose()? })
    }

    /// Sets the labels for the exec.
    pub(crate) fn apply(self, process: &ProcessPlan) -> Result<(), StartError> {
        if let (Some(mut file), Some(profile)) = (self.apparmor, &process.apparmor) {
            let order = format!("exec {profile}");
            file.write_all(order.as_bytes())
                .or_fail(Step::Label, format!("apparmor profile {profile}"))?;
        }
        if let (Some(mut file), Some(context)) = (self.selinux, &process.selinux) {
            file.write_all(context.as_bytes())
                .or_fail(Step::Label, format!("selinux context {context}"))?;
        }
        Ok(())
    }
}

fn open(path: &str) -> Result<File, StartError> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).or_fail(Step::Label, path)?;
    if is_in_proc(file.as_fd()).or_fail(Step::Label, path)? {
        Ok(File::from(file))
    } else {
        Err(StartError::refused(Step::Label, format!("{path}, which is not in procfs")))
    }
}
