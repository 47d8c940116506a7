//! An archive of images, as `load` takes it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // In memory: a disk would be the slowest part.
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    isula_image::probe::archive(bytes, scratch.path());
});
