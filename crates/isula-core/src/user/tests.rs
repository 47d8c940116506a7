//! Tests.

use super::{UserError, check, resolve};

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
# comment\n\
\n\
broken\n\
huge:x:4294967296:0::/:/bin/sh\n\
minus:x:-1:0::/:/bin/sh\n\
4294967296:x:0:0::/:/bin/sh\n\
alice:x:1000:1000:Alice:/home/alice:/bin/sh\n\
alice:x:0:0:second:/:/bin/sh\n\
bob:x:1001:100:Bob:/home/b\x07b:/bin/sh\n\
short:x:1002:7\n\
bad\xff:x:1003:7::/:\n\
carol:x:1004:1004::relative:/bin/sh";
const GROUP: &[u8] = b"root:x:0:\nwheel:x:10:root,alice\naudio:x:29:alice\nusers:x:100:\n\
huge:x:99999999999:alice\nlast:x:50";

type Resolved = (u32, u32, Vec<u32>, &'static str);

fn found(spec: &str, add: &[&str]) -> Result<(u32, u32, Vec<u32>, String), UserError> {
    let add: Vec<String> = add.iter().map(|name| (*name).to_owned()).collect();
    resolve(spec, Some(PASSWD), Some(GROUP), &add)
        .map(|user| (user.uid, user.gid, user.additional_gids, user.home))
}

#[test]
fn users_and_groups_are_resolved_as_docker_does() {
    let table: [(&str, &[&str], Resolved); 15] = [
        ("", &[], (0, 0, vec![0, 10], "/root")),
        ("root", &[], (0, 0, vec![0, 10], "/root")),
        ("0", &[], (0, 0, vec![0, 10], "/root")),
        ("alice", &[], (1000, 1000, vec![10, 29, 1000], "/home/alice")),
        ("1000", &[], (1000, 1000, vec![10, 29, 1000], "/home/alice")),
        ("alice:users", &[], (1000, 100, vec![100], "/home/alice")),
        ("alice:5", &[], (1000, 5, vec![5], "/home/alice")),
        ("1000:1000", &[], (1000, 1000, vec![1000], "/home/alice")),
        ("4242", &[], (4242, 0, vec![0], "/")),
        ("4242:17", &[], (4242, 17, vec![17], "/")),
        (":users", &[], (0, 100, vec![100], "/root")),
        ("4242", &["wheel", "7", "7"], (4242, 0, vec![0, 7, 10], "/")),
        ("short", &[], (1002, 7, vec![7], "/")),
        ("carol", &["last"], (1004, 1004, vec![50, 1004], "/")),
        ("2147483647", &[], (2_147_483_647, 0, vec![0], "/")),
    ];
    for (spec, add, (uid, gid, additional, home)) in table {
        assert_eq!(found(spec, add), Ok((uid, gid, additional, home.to_owned())), "{spec} {add:?}");
    }
}

#[test]
fn a_home_directory_with_control_characters_is_not_taken_over() {
    assert_eq!(found("bob", &[]), Ok((1001, 100, vec![100], "/".to_owned())));
}

#[test]
fn what_the_files_do_not_know_is_refused_and_a_number_is_never_a_name() {
    let no_user = |name: &str| UserError::NoUser(name.to_owned());
    let no_group = |name: &str| UserError::NoGroup(name.to_owned());
    let range = |text: &str| UserError::Range(text.to_owned());
    let malformed = |text: &str| UserError::Malformed(text.to_owned());
    let table: [(&str, &[&str], UserError); 14] = [
        ("nosuch", &[], no_user("nosuch")),
        ("broken", &[], no_user("broken")),
        ("huge", &[], no_user("huge")),
        ("minus", &[], no_user("minus")),
        ("-1", &[], no_user("-1")),
        ("4294967296", &[], range("4294967296")),
        ("2147483648", &[], range("2147483648")),
        ("1000000000000", &[], range("1000000000000")),
        ("0:4294967295", &[], range("4294967295")),
        ("alice:nosuch", &[], no_group("nosuch")),
        ("alice:huge", &[], no_group("huge")),
        ("alice", &["4294967296"], range("4294967296")),
        ("a:b:c", &[], malformed("a:b:c")),
        ("root\nx", &[], malformed("root\nx")),
    ];
    for (spec, add, wanted) in table {
        assert_eq!(found(spec, add), Err(wanted), "{spec} {add:?}");
    }
    assert_eq!(found("alice", &[""]), Err(no_group("")));
    assert!(check("0:0").is_ok() && check("9:99999999999").is_err());
}

#[test]
fn without_any_file_numbers_and_root_still_work() {
    let user = resolve("", None, None, &[]).unwrap();
    assert_eq!((user.uid, user.gid, user.additional_gids.as_slice()), (0, 0, &[0][..]));
    assert_eq!(user.home, "/root");
    assert!(resolve("7:8", None, None, &[]).is_ok());
    assert_eq!(
        resolve("app", None, None, &[]).unwrap_err().to_string(),
        "unable to find user app: no matching entries in passwd file"
    );
}

#[test]
fn cri_decides_by_policy_whether_the_image_adds_groups() {
    let passwd = b"default-user:x:1000:1000::/home:/bin/sh\n";
    let group = b"extra:x:50000:default-user\nother:x:7:somebody\n";
    let files = (Some(passwd.as_slice()), Some(group.as_slice()));
    let add = ["60000".to_owned()];
    let resolve = |memberships| {
        let user = super::resolve_with("1000:1234", files, &add, memberships).unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1234));
        user.additional_gids
    };
    assert_eq!(resolve(super::Memberships::Always), [1234, 50000, 60000]);
    assert_eq!(resolve(super::Memberships::Never), [1234, 60000]);
    assert_eq!(resolve(super::Memberships::Unchosen), [1234, 60000]);
}
