//! Taking names away, and images with their last one, as Docker does.

use std::{collections::BTreeSet, sync::Arc};

use isula_core::{
    error::{ErrorKind, PortError},
    fault,
    image::{Image, Reference},
    ports::RemovedImage,
};

use super::{Shared, StoredImage, Tables, commit::needed_blobs, files, index::Meant};

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
            Meant::Id(_) if has_several_names(image) && !force => {
                return Err(PortError::new(
                    ErrorKind::InUse,
                    format!("cannot remove image {query}: it has several names (use force)"),
                ));
            }
            Meant::Id(_) => (image.tags.iter().chain(&image.digests).cloned().collect(), true),
        };
        let image = Arc::clone(image);
        let taken = match deletes {
            true => self.take_from_view(&mut tables, &image, &untagged, (query, force))?,
            false => None,
        };
        let removed = match taken {
            Some(stored) => {
                self.delete(&mut tables, &image, &untagged, stored)?;
                drop(tables);
                self.collect_later();
                Some(RemovedImage::Deleted(image.id.clone()))
            }
            None => {
                self.untag(&mut tables, &untagged)?;
                None
            }
        };
        let names = untagged.iter().map(|name| RemovedImage::Untagged(name.familiar()));
        Ok(names.chain(removed).collect())
    }

    /// Takes the image from the readers' view, unless a container needs it; then nothing is done
    /// with `force`, and it is an error without. From here on no container can be made of it.
    fn take_from_view(
        &self,
        tables: &mut Tables,
        image: &Arc<Image>,
        names: &[Reference],
        (query, force): (&str, bool),
    ) -> Result<Option<Arc<StoredImage>>, PortError> {
        let uses = self.uses();
        let user = uses.iter().find(|(_, used)| used.as_ref().is_none_or(|used| *used == image.id));
        if let Some((container, used)) = user {
            let needs = if used.is_some() { "needs" } else { "may need" };
            let container = container.short();
            return match force {
                true => Ok(None),
                false => Err(PortError::new(
                    ErrorKind::InUse,
                    format!("cannot remove image {query}: container {container} {needs} it"),
                )),
            };
        }
        let stored = tables.images.remove(&image.id);
        names.iter().for_each(|name| drop(tables.names.remove(name)));
        self.publish(tables);
        Ok(stored)
    }

    fn untag(&self, tables: &mut Tables, names: &[Reference]) -> Result<(), PortError> {
        // The tag last: digests without it would stay, and nobody would ask for their removal.
        for name in names.iter().rev() {
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
    fn delete(
        &self,
        tables: &mut Tables,
        image: &Image,
        names: &[Reference],
        stored: Arc<StoredImage>,
    ) -> Result<(), PortError> {
        if let Err(error) = files::remove(&self.layout.image(&image.id)) {
            let names = names.iter().map(|name| (name.clone(), image.id.clone()));
            tables.names.extend(names);
            tables.images.insert(image.id.clone(), stored);
            self.publish(tables);
            return Err(error);
        }
        files::sync_dir(&self.layout.images())?;
        fault::point("rmi.record_removed");
        for name in names {
            files::remove(&self.layout.name(name))?;
        }
        files::sync_dir(&self.layout.names())?;
        fault::point("rmi.names_removed");
        let needed = needed_blobs(tables);
        for digest in stored.manifests.iter().chain([&image.id.0]) {
            if !needed.contains(digest) {
                files::remove(&self.layout.blob(digest))?;
            }
        }
        fault::point("rmi.blobs_removed");
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

/// A tag and digests of the same repository count as one name.
fn has_several_names(image: &Image) -> bool {
    let names = image.tags.iter().chain(&image.digests);
    let repositories: BTreeSet<_> = names.map(Reference::familiar_name).collect();
    image.tags.len() > 1 || repositories.len() > 1
}
