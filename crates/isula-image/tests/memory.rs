//! The memory of an import does not grow with the layer. A process of its own, because the peak
//! is the process's.

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use isula_core::ports::{Images, ImportOptions};
    use isula_image::{Settings, Store, registry};

    const MIB: usize = 1 << 20;
    const SIZE: usize = 96 * MIB;

    /// The header of a file of `SIZE` bytes.
    fn header() -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("large").unwrap();
        header.set_size(SIZE as u64);
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn peak() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[tokio::test]
    async fn a_large_layer_is_imported_in_little_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (root, registry) = (dir.path().join("storage"), registry::Settings::default());
        let store = Store::open(Settings { root, registry, unpacked_limit: None }).unwrap();
        let pieces = (0..SIZE / MIB).map(|number| Bytes::from(vec![number as u8; MIB]));
        let all = std::iter::once(Bytes::from(header()))
            .chain(pieces)
            .chain([Bytes::from(vec![0; 1024])]);
        let before = peak();
        let archive = stream::iter(all).map(Ok);
        let image = store.import(Box::pin(archive), ImportOptions::default()).await.unwrap();
        assert_eq!(image.size, SIZE as u64);
        let grown = peak() - before;
        assert!(grown < 24 * MIB, "{} KiB", grown / 1024);
    }
}
