//! Taking names away, and images with their last one, as Docker does.

use std::sync::Arc;

use isula_core::{
    error::{ErrorKind, PortError},
    fault,
    image::{Image, Reference},
    ports::RemovedImage,
};

use super::{Shared, Tables, commit::needed_blobs, files, index::Meant};

impl Shared {
    /// See [`isula_core::ports::Images::remove`].
    pub(super) fn remove(
        self: &Arc<Self>,
        query: &str,
        force: bool,
    ) -> Result<Vec<RemovedImage>, PortError> {
        let mut tables = self.tables();
        let index = self.index();
        let meant = index.find(query)?;
        let image = meant.image();
        let (untagged, deletes) = match &meant {
            Meant::Name(name, _) => {
                let names = names_with(image, name);
                let deletes = names.len() == image.tags.len() + image.digests.len();
                (names, deletes)
            }
            Meant::Id(_) => {
                let repositories = repositories(image);
                if repositories > 1 && !force {
                    return Err(PortError::new(
                        ErrorKind::InUse,
                        format!(
                            "cannot remove image {query}: it has names in {repositories} \
                             repositories (remove them, or use force)"
                        ),
                    ));
                }
                (image.tags.iter().chain(&image.digests).cloned().collect(), true)
            }
        };
        let image = Arc::clone(image);
        let deletes = deletes && self.take_from_view(&mut tables, &image, &untagged, query, force)?;
        if !deletes {
            self.untag(&mut tables, &untagged)?;
            let names = untagged.iter().map(|name| RemovedImage::Untagged(name.familiar()));
            return Ok(names.collect());
        }
        self.delete(&tables, &image, &untagged)?;
        drop(tables);
        self.collect_later();
        let names = untagged.iter().map(|name| RemovedImage::Untagged(name.familiar()));
        Ok(names.chain([RemovedImage::Deleted(image.id.clone())]).collect())
    }

    /// Takes the image from the readers' view, unless a container needs it; then `false` with
    /// `force`, else an error. From here on no container can be made of it.
    fn take_from_view(
        &self,
        tables: &mut Tables,
        image: &Arc<Image>,
        names: &[Reference],
        query: &str,
        force: bool,
    ) -> Result<bool, PortError> {
        let uses = self.uses();
        let user = uses.iter().find(|(_, used)| used.as_ref().is_none_or(|used| *used == image.id));
        match user {
            Some(_) if force => return Ok(false),
            Some((container, used)) => {
                let doubt = if used.is_some() { "" } else { " perhaps" };
                return Err(PortError::new(
                    ErrorKind::InUse,
                    format!(
                        "cannot remove image {query}: container {} {doubt}needs it",
                        container.short()
                    )
                    .replace("  ", " "),
                ));
            }
            None => {}
        }
        tables.images.remove(&image.id);
        names.iter().for_each(|name| drop(tables.names.remove(name)));
        self.publish(tables);
        Ok(true)
    }

    fn untag(&self, tables: &mut Tables, names: &[Reference]) -> Result<(), PortError> {
        for name in names {
            files::remove(&self.layout.name(name))?;
            tables.names.remove(name);
            self.publish(tables);
        }
        files::sync_dir(&self.layout.names())?;
        fault::point("rmi.untagged");
        Ok(())
    }

    /// The image's record goes first: without it names, blobs and layers are remains that the
    /// next start removes.
    fn delete(&self, tables: &Tables, image: &Image, names: &[Reference]) -> Result<(), PortError> {
        files::remove(&self.layout.image(&image.id))?;
        files::sync_dir(&self.layout.images())?;
        fault::point("rmi.record_removed");
        for name in names {
            files::remove(&self.layout.name(name))?;
        }
        files::sync_dir(&self.layout.names())?;
        fault::point("rmi.names_removed");
        let needed = needed_blobs(tables);
        if !needed.contains(&image.id.0) {
            files::remove(&self.layout.blob(&image.id.0))?;
        }
        Ok(())
    }
}

/// The name, and with the last tag of a repository the digests of the same repository.
fn names_with(image: &Image, name: &Reference) -> Vec<Reference> {
    let repository = name.familiar_name();
    let same = |other: &&Reference| other.familiar_name() == repository;
    let tags = image.tags.iter().filter(same).count();
    let mut names = vec![name.clone()];
    if name.tag().is_some() && tags == 1 {
        names.extend(image.digests.iter().filter(same).cloned());
    }
    names
}

fn repositories(image: &Image) -> usize {
    let names = image.tags.iter().chain(&image.digests);
    names.map(Reference::familiar_name).collect::<std::collections::BTreeSet<_>>().len()
}
