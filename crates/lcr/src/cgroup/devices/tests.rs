//! Tests of device rules: the program is run here, and in the kernel by the tests of the group.

use super::*;

fn rule(text: &str) -> LinuxDeviceCgroup {
    let (allow, text) = (text.starts_with('+'), &text[1..]);
    let words: Vec<_> = text.split(' ').collect();
    let mut rule = LinuxDeviceCgroup::default();
    let (major, minor) = words[1].split_once(':').unwrap();
    rule.set_allow(allow).set_typ(Some(words[0].parse().unwrap()));
    rule.set_major(major.parse().ok()).set_minor(minor.parse().ok());
    rule.set_access(Some(words[2].to_owned()));
    rule
}

fn rules(texts: &[&str]) -> Result<Rules, CgroupError> {
    Rules::read(&texts.iter().map(|text| rule(text)).collect::<Vec<_>>())
}

/// Runs a program as the kernel would; only what ours contain.
fn run(program: &[u8], kind: u8, access: u8, (major, minor): (u32, u32)) -> bool {
    let mut registers = [0_i64; 11];
    let context = [i64::from(access) << 16 | i64::from(kind), i64::from(major), i64::from(minor)];
    let mut at = 0;
    loop {
        let i = &program[at * 8..at * 8 + 8];
        let (to, from) = (usize::from(i[1] & 15), usize::from(i[1] >> 4));
        let offset = usize::from(u16::from_ne_bytes([i[2], i[3]]));
        let k = i64::from(i32::from_ne_bytes([i[4], i[5], i[6], i[7]]));
        at += 1;
        match i[0] {
            0x61 => registers[to] = context[offset / 4],
            0x77 => registers[to] >>= k,
            0x57 => registers[to] &= k,
            0xb7 => registers[to] = k,
            0xbf => registers[to] = registers[from],
            0x15 => at += if registers[to] == k { offset } else { 0 },
            0x55 => at += if registers[to] == k { 0 } else { offset },
            0x95 => return registers[0] == 1,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// The last rule about each kind of access decides.
fn meaning(rules: &Rules, kind: u8, access: u8, (major, minor): (u32, u32)) -> bool {
    let device = Which { kind, major: Some(major), minor: Some(minor) };
    [MKNOD, READ, WRITE].iter().filter(|bit| access & **bit != 0).all(|bit| {
        let about = |rule: &&Rule| rule.which.covers(device) && rule.access & bit != 0;
        rules.list.iter().rev().find(about).map_or(rules.allow, |rule| rule.allow)
    })
}

#[test]
fn a_program_allows_what_the_last_rules_allow() {
    for texts in [
        &["-a *:* rwm"] as &[&str],
        &["-a *:* rwm", "+c *:* m", "+c 1:3 rwm", "+c 1:5 r", "+b 8:* rw"],
        &["+a *:* rwm", "-b *:* w", "-c 1:3 m", "+b 8:1 w"],
        &["-a *:* rwm", "+c 1:* rwm", "-c 1:3 w", "-c *:5 r", "+a *:3 r"],
        &["+c 1:3 rwm", "-a *:* rwm", "+u 5:1 wm", "+c 5:1 r"],
        &["+a *:* rwm", "-a *:* rw", "+a 1:* r"],
    ] {
        let rules = rules(texts).unwrap();
        let program = program::compile(&rules);
        for kind in [BLOCK, CHARACTER] {
            for access in 1..=ALL_ACCESS {
                for major in [0, 1, 5, 8, 4095] {
                    for minor in [0, 1, 3, 5] {
                        let device = (major, minor);
                        let expected = meaning(&rules, kind, access, device);
                        let allowed =
                            program.as_deref().is_none_or(|it| run(it, kind, access, device));
                        assert_eq!(allowed, expected, "{texts:?} {kind} {access} {device:?}");
                    }
                }
            }
        }
    }
    assert_eq!(program::compile(&rules(&["+a *:* rwm"]).unwrap()), None);
}

#[test]
fn version_1_gets_a_default_and_its_exceptions() {
    let files = |texts: &[&str]| {
        let lines = rules(texts).unwrap().to_files().unwrap();
        let sign = |allow| if allow { '+' } else { '-' };
        lines.into_iter().map(|(allow, line)| format!("{}{line}", sign(allow))).collect::<Vec<_>>()
    };
    let docker = ["-a *:* rwm", "+c 1:5 rwm", "+c 1:3 rw", "+c 1:3 m", "+c *:* m"];
    assert_eq!(files(&docker), ["-a", "+c *:* m", "+c 1:3 rwm", "+c 1:5 rwm"]);
    assert_eq!(files(&["+a *:* rwm", "-b 8:* w"]), ["+a", "-b 8:* w"]);
    assert_eq!(files(&["+c 1:3 rwm", "-c 1:3 w", "+b 1:1 r", "-b 1:* r"]), ["-a", "+c 1:3 rm"]);
    assert_eq!(files(&["+c 1:3 r", "+a *:* rwm"]), ["+a"]);
    let refused = rules(&["+c 1:* rwm", "-c 1:3 w"]).unwrap().to_files().unwrap_err();
    let text = "linux.resources.devices: cgroup version 1 cannot except c 1:3 from c 1:*";
    assert_eq!(refused.to_string(), text);
}

#[test]
fn rules_without_meaning_are_refused_by_field() {
    for (text, field) in [
        ("+c 1:3 rx", "[0].access"),
        ("+p 1:3 r", "[0].type"),
        ("+c -2:3 r", "[0].major"),
        ("+c 1:4294967296 r", "[0].minor"),
    ] {
        let message = rules(&[text]).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{FIELD}{field}: ")), "{message}");
    }
}
