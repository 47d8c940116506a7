//! Tests of user profiles.

use super::*;

const X86: Arch = Arch::ScmpArchX86_64;

fn parse(json: &str) -> Result<LinuxSeccomp, ProfileError> {
    parse_profile(json.as_bytes(), &Capabilities::from([Capability::SysAdmin]), X86, (5, 10))
}

/// The names of a profile whose only rule has this condition.
fn kept(condition: &str) -> bool {
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{{"names": ["x"], "action": "SCMP_ACT_ALLOW", {condition}}}]}}"#
    );
    !parse(&json).unwrap().syscalls().as_ref().unwrap().is_empty()
}

#[test]
fn everything_of_a_rule_arrives() {
    let profile = parse(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 2, "comment": "mine",
            "archMap": [
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {"name": "read", "action": "SCMP_ACT_ALLOW", "args": [], "comment": "",
                 "includes": {}, "excludes": {}},
                {"name": "", "names": ["clone", "fork"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
                 "args": [{"index": 1, "value": 4, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}],
                 "includes": null}]}"#,
    )
    .unwrap();
    assert_eq!(profile.default_errno_ret(), Some(2));
    assert_eq!(profile.architectures().as_ref().unwrap(), &[X86, Arch::ScmpArchX86]);
    assert_eq!(profile.flags().as_ref().unwrap().len(), 1);
    let syscalls = profile.syscalls().as_ref().unwrap();
    assert_eq!((syscalls[0].names().len(), syscalls[0].args()), (1, &None));
    assert_eq!(syscalls[1].names(), &["clone", "fork"]);
    assert_eq!(syscalls[1].errno_ret(), Some(38));
    let arg = syscalls[1].args().as_ref().unwrap()[0];
    assert_eq!((arg.index(), arg.value(), arg.value_two()), (1, 4, Some(5)));
}

#[test]
fn conditions_are_decided() {
    for (condition, expected) in [
        (r#""includes": {"caps": ["CAP_SYS_ADMIN"]}"#, true),
        (r#""includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}"#, false),
        (r#""excludes": {"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}"#, false),
        (r#""excludes": {"caps": ["CAP_BPF"]}"#, true),
        (r#""includes": {"arches": ["arm64", "amd64"]}"#, true),
        (r#""includes": {"arches": ["s390x"]}"#, false),
        (r#""excludes": {"arches": ["amd64"]}"#, false),
        (r#""includes": {"minKernel": "5.10"}"#, true),
        (r#""includes": {"minKernel": "5.11"}"#, false),
        (r#""includes": {"minKernel": ""}"#, true),
        (r#""excludes": {"minKernel": "4.20"}"#, false),
        (r#""includes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["arm64"]}"#, false),
        (r#""excludes": {"caps": ["CAP_BPF"], "arches": ["amd64"]}"#, false),
        (r#""includes": {"caps": ["CAP_SYS_ADMIN"]}, "excludes": {"arches": ["amd64"]}"#, false),
    ] {
        assert_eq!(kept(condition), expected, "{condition}");
    }
}

#[test]
fn what_could_mean_something_else_is_refused() {
    let rule =
        |text: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{{text}}}]}}"#);
    let x = r#""names": ["x"], "action": "SCMP_ACT_ERRNO""#;
    for (json, expected) in [
        ("{}".to_owned(), "missing field `defaultAction`"),
        (r#"{"defaultAction": "SCMP_ACT_DENY"}"#.to_owned(), "unknown variant"),
        (
            r#"{"defaultAction": "SCMP_ACT_KILL", "defaultAction": "SCMP_ACT_ALLOW"}"#.to_owned(),
            "duplicate field `defaultAction`",
        ),
        (r#"{"defaultAction": "SCMP_ACT_KILL", "syscall": []}"#.to_owned(), "`syscall`"),
        (
            r#"{"defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_X86"],
                "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#
                .to_owned(),
            "archMap",
        ),
        (rule(&format!(r#"{x}, "exclude": {{}}"#)), "unknown field `exclude`"),
        (rule(&format!(r#"{x}, "excludes": {{"cap": []}}"#)), "unknown field `cap`"),
        (rule(&format!(r#"{x}, "excludes": {{"caps": ["CAP_NONE"]}}"#)), "CAP_NONE"),
        (rule(&format!(r#"{x}, "excludes": {{"caps": ["SYS_ADMIN"]}}"#)), "SYS_ADMIN"),
        (rule(&format!(r#"{x}, "includes": {{"minKernel": "5"}}"#)), "includes.minKernel"),
        (rule(&format!(r#"{x}, "includes": {{"minKernel": "5.1.2"}}"#)), "includes.minKernel"),
        (rule(&format!(r#"{x}, "name": "y""#)), "syscalls[0]"),
        (rule(r#""action": "SCMP_ACT_ERRNO""#), "syscalls[0]"),
        (rule(r#""names": ["x"]"#), "missing field `action`"),
        (
            rule(&format!(r#"{x}, "args": [{{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}}]"#)),
            "syscalls[0]",
        ),
        (
            rule(&format!(r#"{x}, "args": [{{"index": -1, "value": 0, "op": "SCMP_CMP_EQ"}}]"#)),
            "invalid value",
        ),
    ] {
        let message = parse(&json).unwrap_err().to_string();
        assert!(message.contains(expected), "{json}: {message}");
    }
    let long = vec![b' '; MOST_BYTES + 1];
    let refused = parse_profile(&long, &Capabilities::new(), X86, (5, 10));
    assert!(matches!(refused, Err(ProfileError::TooLong(_))));
}
