//! A process between the parent and the init, where one clone cannot do it all.
//!
//! A user namespace that is joined has to be entered before the namespaces that it shall own are
//! made, and namespaces that the host owns have to be joined before a new user namespace takes the
//! right away. The stage does the one, then makes the init as a sibling of itself, tells its id,
//! and goes.

use std::os::fd::{AsFd, OwnedFd};

use isula_sys::namespace;
use isula_sys::process::{self, Spawn};

use super::child::{self, Start};
use crate::channel::Message;
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{NamespaceKind, Namespaces};

/// Whether a stage is needed.
pub(crate) fn is_needed(namespaces: &Namespaces) -> bool {
    let joins_user = namespaces.joined(NamespaceKind::User).is_some();
    joins_user || (namespaces.makes(NamespaceKind::User) && !namespaces.join.is_empty())
}

/// The whole life of a stage.
pub(crate) fn run(mut start: Start<'_>) -> u8 {
    match prepare(&mut start) {
        Ok(()) => {}
        Err(error) => {
            let _ = start.channel.send(&Message::Failed(error));
            return 1;
        }
    }
    let Ok(channel) = start.channel.duplicate() else { return 1 };
    let namespaces = child::new_namespaces(&start.plan.namespaces);
    let request = Spawn { namespaces, cgroup: None, sibling: true };
    let message = match process::spawn(request, || child::run(start)) {
        Ok(init) => Message::Pid(init.pid),
        Err(error) => Message::Failed(StartError::new(Step::Clone, error, "")),
    };
    u8::from(channel.send(&message).is_err())
}

fn prepare(start: &mut Start<'_>) -> Result<(), StartError> {
    child::set_initial_affinity(start.plan)?;
    child::join_cgroup(start)?;
    start.born_in_cgroup = true;
    let mut user: Option<OwnedFd> = None;
    // All files are opened before the first is joined: a path means what it means here.
    let opened = child::open_joined(&start.plan.namespaces)?;
    for (kind, file, text) in &opened {
        if *kind == NamespaceKind::User {
            user = Some(process::duplicate(file).or_fail(Step::Namespace, text)?);
        } else {
            namespace::join(file.as_fd(), kind.bit()).or_fail(Step::Namespace, text)?;
        }
    }
    // The user namespace comes last: the rights over the others are those of this one's parent.
    if let Some(user) = user {
        namespace::join(user.as_fd(), NamespaceKind::User.bit())
            .or_fail(Step::Namespace, "user")?;
    }
    Ok(())
}
