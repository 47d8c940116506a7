//! Tests of the log as a whole.

use super::*;
use std::path::PathBuf;

/// A directory that goes away with the test.
pub struct Directory {
    pub path: PathBuf,
}

impl Directory {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("isulad-shim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub fn open(&self) -> OwnedFd {
        isula_sys::files::open_directory(&self.path).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

const TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 1 };

/// The texts of the records, still escaped, with `!` for those of standard error.
fn texts(directory: &Directory) -> Vec<String> {
    let log = std::fs::read_to_string(directory.path.join("console.log")).unwrap();
    log.lines()
        .map(|line| {
            let text = line.strip_prefix("{\"log\":\"").unwrap();
            let (text, rest) = text.split_once("\",\"stream\":\"std").unwrap();
            let mark = if rest.starts_with("err") { "!" } else { "" };
            assert!(rest.ends_with("\",\"time\":\"1970-01-01T00:00:00.000000001Z\"}"), "{rest}");
            format!("{mark}{text}")
        })
        .collect()
}

fn log(directory: &Directory) -> Log {
    Log::open(directory.open(), Rotation { max_size: 0, max_files: 1 }).unwrap()
}

#[test]
fn lines_are_put_together_for_each_stream_and_the_last_one_is_written_at_the_end() {
    let directory = Directory::new("lines");
    let mut log = log(&directory);
    log.write(Output::Stdout, b"one\ntw", TIME);
    log.write(Output::Stderr, b"err", TIME);
    log.write(Output::Stdout, b"o\n\nthree", TIME);
    assert_eq!(texts(&directory), ["one\\n", "two\\n", "\\n"]);
    log.finish(Output::Stdout, TIME);
    log.finish(Output::Stderr, TIME);
    log.finish(Output::Stdout, TIME);
    assert_eq!(texts(&directory), ["one\\n", "two\\n", "\\n", "three", "!err"]);
}

#[test]
fn long_lines_are_split_without_cutting_a_character() {
    let directory = Directory::new("long");
    let mut log = log(&directory);
    // 3 bytes a character: 16,384 is in the middle of one.
    let line = "✓".repeat(12_000);
    for piece in line.as_bytes().chunks(1000) {
        log.write(Output::Stdout, piece, TIME);
    }
    log.write(Output::Stdout, b"\n", TIME);
    let texts = texts(&directory);
    let lengths: Vec<_> = texts.iter().map(String::len).collect();
    assert_eq!(lengths, [16_383, 16_383, 36_000 - 2 * 16_383 + 2]);
    assert_eq!(texts.concat(), format!("{line}\\n"));
}

#[test]
fn bytes_that_are_no_text_are_split_and_end() {
    let directory = Directory::new("binary");
    let mut log = log(&directory);
    for length in [1usize, 16_383, 16_384, 16_385, 40_000] {
        log.write(Output::Stdout, &vec![0xf0; length], TIME);
        log.finish(Output::Stdout, TIME);
    }
    let count: usize = texts(&directory).iter().map(|text| text.len() / 6).sum();
    assert_eq!(count, 1 + 16_383 + 16_384 + 16_385 + 40_000);
}

#[test]
fn rotation_never_divides_a_record() {
    let directory = Directory::new("whole");
    let rotation = Rotation { max_size: 1000, max_files: 4 };
    let mut log = Log::open(directory.open(), rotation).unwrap();
    let lines: String = (0..200).map(|number| format!("line {number}\n")).collect();
    log.write(Output::Stdout, lines.as_bytes(), TIME);
    let mut last = 200;
    for name in ["console.log", "console.log.1", "console.log.2", "console.log.3"] {
        let text = std::fs::read_to_string(directory.path.join(name)).unwrap();
        assert!(text.len() <= 1000 && text.ends_with("\"}\n"), "{name}");
        for line in text.lines().rev() {
            last -= 1;
            assert!(line.starts_with(&format!("{{\"log\":\"line {last}\\n\"")), "{line}");
        }
    }
    assert!(!directory.path.join("console.log.4").exists());
}

#[test]
fn a_full_disk_leaves_no_part_of_a_record() {
    let filesystem = isula_sys::mount::Filesystem::open("tmpfs").unwrap();
    filesystem.set("size", "4k").unwrap();
    let directory = filesystem.mount(0).unwrap();
    let same = isula_sys::process::duplicate(&directory).unwrap();
    let mut log = Log::open(same, Rotation { max_size: 0, max_files: 1 }).unwrap();
    let line = [b'x'; 999];
    for _ in 0..8 {
        log.write(Output::Stdout, &line, TIME);
        log.finish(Output::Stdout, TIME);
    }
    let path = isula_sys::mount::descriptor_path(std::os::fd::AsFd::as_fd(&directory));
    let path = format!("{}/console.log", path.to_str().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("\"}\n"));
    assert_eq!(text.lines().count(), 3, "as many whole records as fit into 4 KiB");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    log.write(Output::Stdout, b"again\n", TIME);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("{\"log\":\"again\\n\""));
}
