//! User, groups and capabilities.

use std::io;

use isula_sys::capability::{self, Sets};
use rustix::process::{Gid, Uid};

use crate::capability::Set;
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{Capabilities, ProcessPlan};

/// `CAP_SYS_ADMIN`, which loading a filter takes without `no_new_privs`.
const SYS_ADMIN: u64 = 1 << 21;

/// The capabilities to take on after the filter is loaded.
#[derive(Debug)]
pub(crate) struct Last(Option<Sets>);

impl Last {
    /// Takes them on.
    pub(crate) fn apply(self) -> Result<(), StartError> {
        self.0.map_or(Ok(()), |sets| capability::set(sets).or_fail(Step::Identity, "capabilities"))
    }
}

/// Becomes the user of the plan with its groups and capabilities.
pub(crate) fn assume(process: &ProcessPlan, warn: &dyn Fn(String)) -> Result<Last, StartError> {
    let present = capability::bounding();
    let wanted = within_reach(process.capabilities, present, warn);
    let wanted = wanted.or_fail(Step::Identity, "capabilities")?;
    drop_bounding(present, wanted.bounding).or_fail(Step::Identity, "bounding capabilities")?;
    set_ids(process)?;
    let last = Sets {
        effective: wanted.effective,
        permitted: wanted.permitted,
        inheritable: wanted.inheritable,
    };
    let needs_admin = process.seccomp.is_some() && !process.no_new_privileges;
    let extra = if needs_admin { SYS_ADMIN } else { 0 };
    let now = Sets { effective: last.effective | extra, permitted: last.permitted | extra, ..last };
    capability::set(now).or_fail(Step::Identity, "capabilities")?;
    set_ambient(wanted.ambient).or_fail(Step::Identity, "ambient capabilities")?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).or_fail(Step::Identity, "no_new_privs")?;
    }
    Ok(Last(needs_admin.then_some(last)))
}

/// In a user namespace, files are made by its root: the creator's ids may not be mapped in it.
pub(crate) fn become_root_inside() -> Result<(), StartError> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    let become_root = || {
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    match become_root() {
        // It has no root.
        Err(rustix::io::Errno::INVAL) => Ok(()),
        result => result.or_fail(Step::Identity, "root of the user namespace"),
    }
}

/// What this process, with the bounding set `present`, can give: nobody gets a capability that its
/// creator does not have.
fn within_reach(
    wanted: Capabilities,
    present: u64,
    warn: &dyn Fn(String),
) -> io::Result<Capabilities> {
    let own = capability::get()?.permitted;
    let bounding = own & present;
    let asked = wanted.bounding | wanted.effective | wanted.permitted | wanted.ambient;
    let missing = Set(asked & !bounding);
    if !missing.is_empty() {
        let names: Vec<_> = missing.names().collect();
        warn(format!(
            "cannot give capabilities that the runtime does not have: {}",
            names.join(", ")
        ));
    }
    let permitted = wanted.permitted & bounding;
    let ambient = wanted.ambient & permitted;
    Ok(Capabilities {
        bounding: wanted.bounding & bounding,
        effective: wanted.effective & permitted,
        permitted,
        // An inheritable capability has an effect through files that nobody expects
        // (CVE-2022-24769): there is none but what ambient needs.
        inheritable: wanted.inheritable & ambient,
        ambient,
    })
}

fn drop_bounding(present: u64, keep: u64) -> io::Result<()> {
    for number in (0..64).filter(|number| (present & !keep) >> number & 1 == 1) {
        capability::bounding_drop(number)?;
    }
    Ok(())
}

fn set_ids(process: &ProcessPlan) -> Result<(), StartError> {
    capability::keep_across_setuid(true).or_fail(Step::Identity, "keep capabilities")?;
    let groups: Vec<Gid> = process.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace whose creator may not set groups has none to drop.
        Err(rustix::io::Errno::PERM) if groups.is_empty() => Ok(()),
        result => result,
    }
    .or_fail(Step::Identity, "supplementary groups")?;
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .or_fail(Step::Identity, format!("group {}", process.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .or_fail(Step::Identity, format!("user {}", process.uid))?;
    capability::keep_across_setuid(false).or_fail(Step::Identity, "keep capabilities")
}

fn set_ambient(ambient: u64) -> io::Result<()> {
    capability::ambient_clear()?;
    for number in (0..64).filter(|number| ambient >> number & 1 == 1) {
        capability::ambient_raise(number)?;
    }
    Ok(())
}
