//! The filter that libseccomp makes of a profile, when it is used as runc uses it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use lcr::seccomp::Architecture;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompArg};

use crate::reference::answer;

/// The program in `libseccomp.c`, compiled once.
fn generator() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp_meaning/libseccomp.c");
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("libseccomp-generator");
        let built = Command::new("cc").arg("-o").arg(&program).args([source, "-lseccomp"]).output();
        let built = built.expect("this test needs a C compiler: apt-get install gcc");
        assert!(
            built.status.success(),
            "this test needs the C library libseccomp: apt-get install libseccomp-dev\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        program
    })
}

fn token(native: Architecture) -> Arch {
    match native {
        Architecture::Aarch64 => Arch::ScmpArchAarch64,
        _ => Arch::ScmpArchX86_64,
    }
}

fn check(text: &mut String, arg: &LinuxSeccompArg) {
    let (first, second) = (arg.value(), arg.value_two().unwrap_or(0));
    write!(text, " {:x} {:x} {first:x} {second:x}", arg.index(), arg.op() as u32).unwrap();
}

/// The profile in the generator's language, split into rules as runc splits it.
fn script(profile: &LinuxSeccomp, native: Architecture) -> String {
    let default = answer(profile.default_action(), profile.default_errno_ret());
    let (own, here) = (token(native), token(Architecture::native()));
    let mut text = format!("default {default:x}\narch {:x}\n", own as u32);
    if own != here {
        writeln!(text, "without {:x}", here as u32).unwrap();
    }
    for arch in profile.architectures().iter().flatten() {
        writeln!(text, "arch {:x}", *arch as u32).unwrap();
    }
    for syscall in profile.syscalls().iter().flatten() {
        let action = answer(syscall.action(), syscall.errno_ret());
        let args = syscall.args().as_deref().unwrap_or_default();
        let mut seen = HashSet::new();
        let together = args.iter().all(|arg| seen.insert(arg.index()));
        let rules: Vec<&[LinuxSeccompArg]> =
            if together { vec![args] } else { args.chunks(1).collect() };
        for name in syscall.names().iter().filter(|_| action != default) {
            for rule in &rules {
                write!(text, "rule {action:x} {name} {:x}", rule.len()).unwrap();
                rule.iter().for_each(|arg| check(&mut text, arg));
                text.push('\n');
            }
        }
    }
    text
}

/// The program and the names that this version of libseccomp does not know.
pub fn build(profile: &LinuxSeccomp, native: Architecture) -> (Vec<u8>, Vec<String>) {
    let mut command = Command::new(generator());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let script = script(profile, native);
    // Written by another thread: the generator may fill its standard error before it reads all.
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    (output.stdout, errors.lines().map(str::to_owned).collect())
}
