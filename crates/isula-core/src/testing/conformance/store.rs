//! The promises of [`Images`], [`Snapshots`] and [`Volumes`].

use std::sync::Arc;

use super::id;
use crate::{
    error::ErrorKind,
    id::Name,
    image::{ImageId, Reference},
    ports::{Images, RemovedImage, Rootfs, Snapshots, Volumes},
};

/// The image store passes with one image in it, named `name`.
///
/// # Panics
/// A promise is broken.
pub async fn images(store: Arc<dyn Images>, name: &str) {
    let reference: Reference = name.parse().expect("a reference");
    let image = store.find(name).expect("the image is found by its name");
    assert!(image.tags.contains(&reference));
    assert_eq!(store.get(&image.id).as_deref(), Some(&*image));
    assert_eq!(store.list().len(), 1);
    let digits = image.id.hex();
    for query in [digits, &format!("sha256:{digits}"), digits.get(..12).expect("64 digits")] {
        assert_eq!(store.find(query).expect("the image is found by its id").id, image.id);
    }
    for query in ["nosuchimage", "nosuchimage:1", &"0".repeat(64)] {
        let error = store.find(query).expect_err("nobody has it");
        assert_eq!(error.kind(), ErrorKind::ImageNotFound, "{query}");
        assert!(error.to_string().contains(query), "{error} names {query}");
    }

    let other: Reference = "conformance/other:1".parse().expect("a reference");
    store.tag(&image.id, &other).await.expect("it gets a further name");
    assert_eq!(store.find("conformance/other:1").expect("it has two names").id, image.id);
    let several = store.remove(digits, false).await.expect_err("an id with two names is ambiguous");
    assert_eq!(several.kind(), ErrorKind::InUse);
    let removed = store.remove("conformance/other:1", false).await.expect("a name is taken");
    assert_eq!(removed, [RemovedImage::Untagged(other.familiar())]);
    let removed = store.remove(name, false).await.expect("the last name is taken");
    assert!(removed.contains(&RemovedImage::Deleted(image.id.clone())), "{removed:?}");
    assert!(store.list().is_empty() && store.get(&image.id).is_none());
}

/// The snapshots pass with an image in the store.
///
/// # Panics
/// A promise is broken.
pub async fn snapshots(store: Arc<dyn Snapshots>, image: &ImageId) {
    let container = id(1);
    assert!(store.rootfs(&container, image, false).is_err(), "nothing is prepared");
    let nothing: crate::image::Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("one");
    store.prepare(&container, &ImageId(nothing)).await.expect_err("there is no such image");
    assert!(store.list().await.expect("a list").is_empty(), "a failure leaves nothing");

    store.prepare(&container, image).await.expect("a layer is made");
    assert_eq!(store.list().await.expect("a list"), std::slice::from_ref(&container));
    let rootfs = store.rootfs(&container, image, true).expect("it can be mounted");
    let Rootfs::Overlay { lower, upper, work, volatile } = rootfs else {
        panic!("an image is mounted as an overlay");
    };
    assert!(!lower.is_empty() && volatile);
    assert!(upper != work && upper.parent() == work.parent(), "they are on one file system");
    let missing = store.read(&container, image, "/no/such/file", 10).await.expect("no error");
    assert_eq!(missing, None);

    store.remove(&container).await.expect("it is removed");
    store.remove(&container).await.expect("removing it again is no error");
    assert!(store.list().await.expect("a list").is_empty());
}

/// The volumes pass on an empty store.
///
/// # Panics
/// A promise is broken.
pub async fn volumes(store: Arc<dyn Volumes>) {
    let name = Name::try_from("conformance.1".to_owned()).expect("a name");
    assert!(store.list().await.expect("a list").is_empty());
    let (volume, new) = store.ensure(&name).await.expect("it is made");
    assert!(new);
    assert_eq!(volume.path, store.path(&name));
    let (again, new) = store.ensure(&name).await.expect("it is there");
    assert!(!new);
    assert_eq!(again, volume);
    assert_eq!(store.list().await.expect("a list"), [volume]);
    store.remove(&name).await.expect("it is removed");
    store.remove(&name).await.expect("removing it again is no error");
    assert!(store.list().await.expect("a list").is_empty());
}
