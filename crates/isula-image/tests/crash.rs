//! The process dies at each fault point of the image store; the next start finds either the whole
//! image or nothing of it, and nothing that needs cleaning.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::process::ExitStatusExt,
        path::{Path, PathBuf},
        process::Command,
    };

    use bytes::Bytes;
    use futures_util::stream;
    use isula_core::ports::{ByteStream, Images, ImportOptions};
    use isula_image::{Settings, Store, registry};

    fn open(root: &Path) -> Store {
        let (root, registry) = (root.to_owned(), registry::Settings::default());
        Store::open(Settings { root, registry, unpacked_limit: None }).unwrap()
    }

    fn archive(content: &'static [u8]) -> ByteStream {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, "file", content).unwrap();
        Box::pin(stream::iter([Ok(Bytes::from(builder.into_inner().unwrap()))]))
    }

    async fn import(store: &Store, content: &'static [u8], name: &str) {
        let reference = Some(name.parse().unwrap());
        let options = ImportOptions { reference, ..ImportOptions::default() };
        store.import(archive(content), options).await.unwrap();
    }

    /// What the process that dies does: `kept` is there, `lost` comes or goes.
    #[tokio::test]
    #[ignore = "started by the other test"]
    async fn operation() {
        isula_core::fault::install(|name| {
            if std::env::var_os("ISULA_TEST_FAULT").is_some_and(|wanted| wanted == name) {
                // No destructor runs and nothing is flushed, as with SIGKILL.
                std::process::abort();
            }
        });
        let root = PathBuf::from(std::env::var_os("ISULA_TEST_ROOT").unwrap());
        let store = open(&root);
        match std::env::var("ISULA_TEST_OPERATION").unwrap().as_str() {
            "import" => import(&store, b"lost", "lost").await,
            "rmi" => drop(Images::remove(&store, "lost", false).await.unwrap()),
            "untag" => drop(Images::remove(&store, "other", false).await.unwrap()),
            other => panic!("{other}"),
        }
    }

    fn die(root: &Path, operation: &str, point: &str) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["tests::operation", "--exact", "--ignored"])
            .env("ISULA_TEST_ROOT", root)
            .env("ISULA_TEST_OPERATION", operation)
            .env("ISULA_TEST_FAULT", point)
            .output()
            .unwrap();
        // The fault point, and no failed assertion.
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.signal(), Some(6), "{point}: {text}");
    }

    fn count(root: &Path, dir: &str) -> usize {
        fs::read_dir(root.join(dir)).unwrap().count()
    }

    #[tokio::test]
    async fn a_start_after_any_crash_finds_whole_images_and_no_remains() {
        for (operation, point, remains) in [
            ("import", "import.layer_unpacked", false),
            ("import", "import.layer_committed", false),
            ("import", "import.blobs_written", false),
            ("import", "import.names_written", false),
            ("import", "import.image_committed", true),
            ("rmi", "rmi.record_removed", false),
            ("rmi", "rmi.names_removed", false),
            ("rmi", "rmi.blobs_removed", false),
            ("untag", "rmi.untagged", true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("storage");
            let store = open(&root);
            import(&store, b"kept", "kept").await;
            if operation != "import" {
                import(&store, b"lost", "lost").await;
            }
            if operation == "untag" {
                let lost = store.find("lost").unwrap();
                store.tag(&lost.id, &"other".parse().unwrap()).await.unwrap();
            }
            drop(store);
            die(&root, operation, point);

            // The second start finds what the sweep of the first one may not have reached.
            drop(open(&root));
            let store = open(&root);
            assert_eq!(store.damage(), Vec::<String>::new(), "{point}");
            assert_eq!(store.find("lost").is_ok(), remains, "{point}");
            assert!(store.find("kept").is_ok() && store.find("other").is_err(), "{point}");
            let images = if remains { 2 } else { 1 };
            for dir in ["images", "refs", "blobs/sha256"] {
                assert_eq!(count(&root, dir), images, "{point}: {dir}");
            }
            assert_eq!(count(&root, "tmp") + count(&root, "quarantine"), 0, "{point}");
            // What is out of use leaves `layers/` in the background; importing it again must work
            // whether that has happened or not.
            import(&store, b"lost", "lost").await;
            assert_eq!(store.find("lost").unwrap().size, 4, "{point}");
        }
    }
}
