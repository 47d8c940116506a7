//! Specifications as vendors write them, and as they should not.

use super::*;
use isula_core::ports::{CdiHook, CdiMount, CdiNode};

struct Specs(tempfile::TempDir);

impl Specs {
    fn new() -> Self {
        let specs = Self(tempfile::tempdir().unwrap());
        for name in ["low", "high"] {
            fs::create_dir(specs.0.path().join(name)).unwrap();
        }
        specs
    }

    fn put(&self, name: &str, text: &str) -> &Self {
        fs::write(self.0.path().join(name), text).unwrap();
        self
    }

    fn edits(&self, names: &[&str]) -> std::result::Result<CdiEdits, String> {
        let directories = ["none", "low", "high"].map(|name| self.0.path().join(name));
        let names: Vec<_> = names.iter().map(|name| CdiName::parse(name).unwrap()).collect();
        let specs = CdiSpecs::new(Some(directories.to_vec()));
        specs.edits(&names).map_err(|error| error.to_string())
    }

    fn refused(&self, name: &str, words: &str) {
        let error = self.edits(&[name]).unwrap_err();
        assert!(error.contains(words) && error.contains(name), "{words}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

fn env(value: &str) -> String {
    format!(
        r#"{{"cdiVersion": "0.5.0", "kind": "vendor.com/class",
            "devices": [{{"name": "one", "containerEdits": {{"env": ["FROM={value}"]}}}}]}}"#
    )
}

/// Everything a specification can say.
fn in_json(alias: &std::path::Display<'_>) -> String {
    format!(
        r#"{{"cdiVersion": "1.0.0", "kind": "vendor.com/json", "annotations": {{"a": "b"}},
            "containerEdits": {{"env": ["ALL=1"]}},
            "devices": [
              {{"name": "one", "annotations": {{"x": "y"}}, "containerEdits": {{
                "env": ["A=1"],
                "deviceNodes": [
                  {{"path": "/dev/card", "type": "c", "major": 226, "minor": 1, "fileMode": 432, "permissions": "rw", "uid": 3, "gid": 4}},
                  {{"path": "/dev/nothing", "hostPath": "/dev/null"}},
                  {{"path": "/dev/pipe", "type": "p"}}],
                "mounts": [{{"hostPath": "{alias}", "containerPath": "/lib/x", "options": ["ro", "nosuid"]}},
                           {{"hostPath": "x", "containerPath": "/scratch", "type": "tmpfs"}}],
                "hooks": [{{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "-x"], "env": ["H=1"], "timeout": 5}}],
                "additionalGids": [44]}}}},
              {{"name": "two", "containerEdits": {{"env": ["B=2"]}}}}]}}"#
    )
}

/// The same in YAML, in all its ways of writing.
fn in_yaml(alias: &std::path::Display<'_>) -> String {
    format!(
        "cdiVersion: 0.7.0\nkind: vendor.com/yaml\nannotations: {{a: b}}\ncontainerEdits:\n  env: [\"ALL=1\"]\ndevices:\n\
             - name: one\n  annotations:\n    x: y\n  containerEdits:\n    env:\n    - A=1\n    deviceNodes:\n\
             \x20   - path: /dev/card\n      type: c\n      major: 226\n      minor: 1\n      fileMode: 0660\n      permissions: rw\n      uid: 3\n      gid: 4\n\
             \x20   - path: /dev/nothing\n      hostPath: /dev/null\n    - {{path: /dev/pipe, type: p}}\n    mounts:\n\
             \x20   - hostPath: {alias}\n      containerPath: /lib/x\n      options: [ro, nosuid]\n\
             \x20   - {{hostPath: x, containerPath: /scratch, type: tmpfs}}\n    hooks:\n\
             \x20   - hookName: createContainer\n      path: /bin/hook\n      args: [hook, -x]\n      env: [H=1]\n      timeout: 5\n    additionalGids: [44]\n\
             - name: two\n  containerEdits: {{env: [B=2]}}\n"
    )
}

#[test]
fn json_and_yaml_say_the_same_and_all_of_it_arrives() {
    let specs = Specs::new();
    let source = specs.0.path().join("source");
    fs::write(&source, "").unwrap();
    std::os::unix::fs::symlink("source", specs.0.path().join("alias")).unwrap();
    let alias = specs.0.path().join("alias");
    let alias = alias.display();
    specs.put("low/a.json", &in_json(&alias));
    specs.put("high/b.yaml", &in_yaml(&alias));
    let node = |path: &str, kind, (major, minor), mode| CdiNode {
        path: path.to_owned(),
        kind,
        major,
        minor,
        mode,
        uid: None,
        gid: None,
        access: "rwm".to_owned(),
    };
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let wanted = CdiEdits {
        // What all share is there once.
        env: texts(&["ALL=1", "A=1", "B=2"]),
        nodes: vec![
            CdiNode {
                uid: Some(3),
                gid: Some(4),
                access: "rw".to_owned(),
                ..node("/dev/card", 'c', (226, 1), 0o660)
            },
            node("/dev/nothing", 'c', (1, 3), 0o666),
            node("/dev/pipe", 'p', (0, 0), 0o666),
        ],
        mounts: vec![
            CdiMount {
                source: source.canonicalize().unwrap().display().to_string(),
                target: "/lib/x".to_owned(),
                kind: "bind".to_owned(),
                options: texts(&["ro", "nosuid", "rbind"]),
            },
            CdiMount {
                source: "tmpfs".to_owned(),
                target: "/scratch".to_owned(),
                kind: "tmpfs".to_owned(),
                options: Vec::new(),
            },
        ],
        hooks: vec![CdiHook {
            point: "createContainer".to_owned(),
            path: "/bin/hook".to_owned(),
            args: texts(&["hook", "-x"]),
            env: texts(&["H=1"]),
            timeout: Some(5),
        }],
        additional_gids: vec![44],
    };
    for kind in ["json", "yaml"] {
        let (one, two) = (format!("vendor.com/{kind}=one"), format!("vendor.com/{kind}=two"));
        assert_eq!(specs.edits(&[&one, &two, &one]).unwrap(), wanted, "{kind}");
    }
    assert_eq!(specs.edits(&[]).unwrap(), CdiEdits::default());
}

#[test]
fn the_last_directory_wins_and_two_in_one_are_a_conflict() {
    let specs = Specs::new();
    specs.put("low/a.json", &env("low"));
    assert_eq!(specs.edits(&["vendor.com/class=one"]).unwrap().env, ["FROM=low"]);
    specs.put("high/z.json", &env("high"));
    assert_eq!(specs.edits(&["vendor.com/class=one"]).unwrap().env, ["FROM=high"]);
    specs.put("low/b.json", &env("low too"));
    assert_eq!(specs.edits(&["vendor.com/class=one"]).unwrap().env, ["FROM=high"]);
    specs.put("high/a.json", &env("high too"));
    specs.refused("vendor.com/class=one", "is specified by both");
}

#[test]
fn a_device_that_is_not_there_or_asks_for_too_much_is_named() {
    let specs = Specs::new();
    specs.put("low/a.json", &env("low"));
    specs.refused("vendor.com/class=other", "unknown CDI device");
    specs.refused("vendor.com/other=one", "unknown CDI device");
    let device = |edits: &str| {
        format!(
            r#"{{"cdiVersion": "1.1.0", "kind": "vendor.com/bad",
                "devices": [{{"name": "one", "containerEdits": {edits}}}]}}"#
        )
    };
    for (edits, words) in [
        (r#"{"intelRdt": {"closID": "x"}}"#, "intelRdt is not supported"),
        (r#"{"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}"#, "netDevices"),
        (r#"{"env": ["NOTHING"]}"#, "NAME=value"),
        (r#"{"deviceNodes": [{"path": "dev/x"}]}"#, "absolute path"),
        (r#"{"deviceNodes": [{"path": "/dev/no-such"}]}"#, "/dev/no-such"),
        (r#"{"deviceNodes": [{"path": "/dev/x", "hostPath": "/etc/passwd"}]}"#, "no device node"),
        (r#"{"deviceNodes": [{"path": "/dev/null", "type": "b"}]}"#, "type c"),
        (r#"{"deviceNodes": [{"path": "/dev/null", "type": "x"}]}"#, "no type"),
        (r#"{"deviceNodes": [{"path": "/dev/null", "permissions": "rx"}]}"#, "permissions"),
        (r#"{"mounts": [{"hostPath": "/no/such", "containerPath": "/x"}]}"#, "/no/such"),
        (r#"{"mounts": [{"hostPath": "etc", "containerPath": "/x"}]}"#, "absolute"),
        (r#"{"mounts": [{"hostPath": "/etc", "containerPath": "/"}]}"#, "can't be '/'"),
        (r#"{"mounts": [{"hostPath": "/etc", "containerPath": "/x", "type": "nfs"}]}"#, "nfs"),
        (r#"{"hooks": [{"hookName": "afterlife", "path": "/x"}]}"#, "afterlife"),
        (r#"{"hooks": [{"hookName": "prestart", "path": "x"}]}"#, "absolute"),
        (r#"{"hooks": [{"hookName": "prestart", "path": "/x", "timeout": -1}]}"#, "timeout"),
    ] {
        specs.put("high/bad.json", &device(edits));
        specs.refused("vendor.com/bad=one", words);
        // The others are as they were.
        specs.edits(&["vendor.com/class=one"]).unwrap();
    }
    let off = CdiSpecs::new(None).edits(&[CdiName::parse("vendor.com/class=one").unwrap()]);
    let off = off.unwrap_err();
    assert_eq!(off.kind(), ErrorKind::Unsupported);
    assert!(off.to_string().contains("enable-cdi"));
}

#[test]
fn hostile_files_cost_little_and_spoil_no_other() {
    let specs = Specs::new();
    specs.put("low/good.json", &env("low"));
    let large = format!("{{\"kind\": \"{}\"}}", "x".repeat(5 << 20));
    let deep = format!("{{\"devices\": {}", "[".repeat(100_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n";
    for (name, text, words) in [
        ("high/large.json", large.as_str(), "larger than 4194304 bytes"),
        ("high/deep.json", &deep, "recursion limit"),
        ("high/deep.yaml", &deep[12..], ""),
        ("high/bomb.yaml", bomb, "anchors"),
        ("high/nothing.yaml", "", "empty"),
        ("high/version.json", &env("x").replace("0.5.0", "9.0.0"), "cdiVersion"),
        ("high/kind.json", &env("x").replace("vendor.com/class", "class"), "kind"),
        ("high/field.json", &env("x").replace("\"kind\"", "\"colour\": 1, \"kind\""), "colour"),
        ("high/name.json", &env("x").replace("one", "../one"), "no name of a device"),
        ("high/bytes.yaml", "\u{0}\u{1}", ""),
        (
            "high/twice.json",
            r#"{"cdiVersion": "0.5.0", "kind": "v/c", "devices": [{"name": "a"}, {"name": "a"}]}"#,
            "two devices",
        ),
    ] {
        specs.put(name, text);
        specs.refused("vendor.com/class=none", words);
        let file = name.rsplit('/').next().unwrap();
        specs.refused("vendor.com/class=none", &format!("{file} can't be used"));
        assert_eq!(specs.edits(&["vendor.com/class=one"]).unwrap().env, ["FROM=low"], "{name}");
        fs::remove_file(specs.0.path().join(name)).unwrap();
    }
    // Neither a FIFO nor a directory makes it wait, and no crowd of files takes the memory.
    let fifo = specs.0.path().join("high/fifo.json");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, rustix::fs::Mode::RUSR, 0).unwrap();
    fs::create_dir(specs.0.path().join("high/directory.json")).unwrap();
    specs.refused("vendor.com/class=none", "no regular file");
    for number in 0..COUNT + 10 {
        specs.put(&format!("high/{number}.json"), "{}");
    }
    assert_eq!(specs.edits(&["vendor.com/class=one"]).unwrap().env, ["FROM=low"]);
    specs.refused("vendor.com/class=none", "can't be used");
}
