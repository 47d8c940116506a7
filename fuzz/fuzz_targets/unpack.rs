//! A tar unpacked into a directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // In memory: a disk would be the slowest part.
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    isula_image::probe::unpack(bytes, scratch.path());
});
