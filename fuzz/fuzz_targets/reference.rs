//! Image references.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| isula_image::probe::reference(bytes));
