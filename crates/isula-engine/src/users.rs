//! Whom processes run as, by the container's own files.

use isula_core::{
    container::{Container, Source},
    sandbox::GroupsPolicy,
    user::{self, Memberships, ResolvedUser},
};

use crate::{Engine, Result};

/// The largest `/etc/passwd` or `/etc/group` that is read: 10 MiB, as moby/sys/user.
const DATABASE_LIMIT: u64 = 10 << 20;

/// Where a container's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// In the layers of its image: it was made just now.
    New,
    /// In its layers.
    Stopped,
    /// Through the root of its init process.
    Running,
}

impl Engine {
    /// Whom `wanted` (`user[:group]`) means by the container's own passwd and group files.
    pub(crate) async fn resolve_user(
        &self,
        container: &Container,
        wanted: &str,
        root: Root,
    ) -> Result<ResolvedUser> {
        let group_add = &container.host.group_add;
        let memberships = match container.pod.as_ref().map(|pod| pod.groups_policy) {
            None => Memberships::Unchosen,
            Some(GroupsPolicy::Merge) => Memberships::Always,
            Some(GroupsPolicy::Strict) => Memberships::Never,
        };
        let mut paths = vec!["/etc/passwd"];
        if memberships == Memberships::Always || user::needs_groups(wanted, group_add) {
            paths.push("/etc/group");
        }
        let mut files = self.read(container, root, &paths).await?.into_iter();
        let (passwd, group) = (files.next().flatten(), files.next().flatten());
        let files = (passwd.as_deref(), group.as_deref());
        Ok(user::resolve_with(wanted, files, group_add, memberships)?)
    }

    async fn read(
        &self,
        container: &Container,
        root: Root,
        paths: &[&'static str],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        const LIMIT: u64 = DATABASE_LIMIT;
        let (id, ports) = (&container.id, &self.ports);
        let work = async {
            if root == Root::Running {
                return ports.runtime.read(id, paths, LIMIT).await;
            }
            let mut files = Vec::with_capacity(paths.len());
            for path in paths {
                files.push(match &container.source {
                    Source::Image { id: image, .. } if root == Root::New => {
                        ports.snapshots.read_image(image, path, LIMIT).await?
                    }
                    Source::Image { id: image, .. } => {
                        ports.snapshots.read(id, image, path, LIMIT).await?
                    }
                    Source::Directory(root) => {
                        let (root, path) = (root.clone(), *path);
                        self.on_host(move |host| host.read_beneath(&root, path, LIMIT)).await?
                    }
                });
            }
            Ok(files)
        };
        self.port(container, "read its user database", work).await
    }
}
