//! Archives as they should be, as they should not, and as GNU tar makes them.

use std::io::{BufReader, Read};

use super::{Entry, Error, Kind, Reader, Segment};
use crate::testing::Tar;

fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    // A small buffer, so that everything crosses its end.
    let mut reader = Reader::new(BufReader::with_capacity(100, bytes));
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data = Vec::new();
        reader.data().read_to_end(&mut data)?;
        all.push((entry, data));
    }
    Ok(all)
}

fn one(bytes: Vec<u8>) -> (Entry, Vec<u8>) {
    let mut all = read(&bytes).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_pax_size_wins_over_the_headers_and_smuggles_nothing_in() {
    // The header says 0: who believes it takes the data for entries (CVE-2025-62518).
    let hidden = Tar::default().file("smuggled", b"x").open();
    let size = hidden.len().to_string();
    let mut tar = Tar::default().pax(&[("size", size.as_bytes())]);
    tar.header((b'0', b"outer"), b"", (0o644, 0), |_| {});
    let all = read(&tar.data(&hidden).file("next", b"y").end()).unwrap();
    let names: Vec<_> = all.iter().map(|(entry, _)| entry.path.as_slice()).collect();
    assert_eq!(names, [b"outer", b"next".as_slice()]);
    assert_eq!(all[0].1, hidden);
}

#[test]
fn long_names_come_from_gnu_and_pax_headers() {
    let long = "d/".repeat(300) + "file";
    for tar in [
        Tar::default()
            .raw(b"././@LongLink", b'L', b"", format!("{long}\0").as_bytes())
            .file("x", b"1"),
        Tar::default().pax(&[("path", long.as_bytes())]).file("x", b"1"),
    ] {
        assert_eq!(one(tar.end()).0.path, long.as_bytes());
    }
    let tar = Tar::default()
        .raw(b"././@LongLink", b'K', b"", format!("{long}\0").as_bytes())
        .symlink("s", "short")
        .end();
    assert_eq!(one(tar).0.kind, Kind::Symlink(long.clone().into_bytes()));
    let mut tar = Tar::default();
    tar.header((b'0', b"name"), b"", (0o644, 0), |block| {
        block[345..351].copy_from_slice(b"prefix")
    });
    assert_eq!(one(tar.end()).0.path, b"prefix/name");
}

#[test]
fn what_is_malformed_or_ambiguous_is_refused() {
    let huge = vec![b'a'; (1 << 20) + 1];
    let mut far = Tar::default();
    far.header((b'0', b"f"), b"", (0o644, 0), |block| block[124..136].copy_from_slice(&[0xff; 12]));
    let mut uid = Tar::default().pax(&[("uid", b"4294967296")]);
    uid.header((b'0', b"f"), b"", (0o644, 0), |_| {});
    let mut nobody = Tar::default().pax(&[("uid", b"4294967295")]);
    nobody.header((b'0', b"f"), b"", (0o644, 0), |_| {});
    let mut sum = Tar::default().file("f", b"").end();
    sum[0] = b'g';
    for (bytes, why) in [
        (Tar::default().raw(b"x", b'x', b"", &huge).file("f", b"").end(), "larger than 1 MiB"),
        (Tar::default().raw(b"x", b'L', b"", &huge).file("f", b"").end(), "larger than 1 MiB"),
        (Tar::default().raw(b"x", b'L', b"", b"").file("f", b"").end(), "long name is empty"),
        (
            Tar::default().raw(b"x", b'g', b"", b"11 size=12\n").file("f", b"").end(),
            "global header",
        ),
        (Tar::default().pax(&[("size", b"-1")]).file("f", b"").end(), "malformed value"),
        (
            Tar::default().pax(&[("size", b"18446744073709551615")]).file("f", b"").end(),
            "malformed value",
        ),
        (Tar::default().pax(&[("path", b"a\0b")]).file("f", b"").end(), "malformed value"),
        (Tar::default().pax(&[("path", b"a")]).end(), "cut off"),
        (far.end(), "its size is no number"),
        (uid.end(), "user id is out of range"),
        (nobody.end(), "user id is out of range"),
        (sum, "checksum is wrong"),
        (vec![b'x'; 2000], "checksum"),
        (Tar::default().raw(b"f", b'Z', b"", b"").end(), "unknown type"),
        (Tar::default().raw(b"f", b'2', b"", b"").end(), "link to nothing"),
        ([vec![0; 512], Tar::default().file("f", b"").end()].concat(), "lone block"),
        (Tar::default().file("f", &[1; 5000]).end()[..3000].to_vec(), "cut off"),
        (Tar::default().file("f", &[1; 5000]).end()[..300].to_vec(), "cut off"),
    ] {
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn links_and_devices_have_no_data_whatever_their_size_says() {
    let mut tar = Tar::default();
    tar.header((b'1', b"link"), b"target", (0o644, 512), |_| {});
    tar.header((b'5', b"dir"), b"", (0o755, 1024), |_| {});
    tar.header((b'3', b"null"), b"", (0o666, 0), |block| {
        block[329..337].copy_from_slice(b"0000001\0");
        block[337..345].copy_from_slice(b"0000003\0");
    });
    let all = read(&tar.file("after", b"x").end()).unwrap();
    let kinds: Vec<_> = all.into_iter().map(|(entry, _)| entry.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Hardlink(b"target".to_vec()),
            Kind::Directory,
            Kind::Character(1, 3),
            Kind::File { size: 1, sparse: None },
        ]
    );
}

#[test]
fn sparse_maps_of_all_versions_are_read() {
    let segments = vec![Segment { offset: 0, length: 2 }, Segment { offset: 1000, length: 1 }];
    let expected = Kind::File { size: 2000, sparse: Some(segments) };
    let mut old = Tar::default();
    let number = |value: u64| format!("{value:011o}\0");
    old.header((b'S', b"f"), b"", (0o644, 3), |block| {
        let map = [number(0), number(2), number(1000), number(1)].concat();
        block[257..265].copy_from_slice(b"ustar  \0");
        block[386..386 + 48].copy_from_slice(map.as_bytes());
        block[483..495].copy_from_slice(number(2000).as_bytes());
    });
    let v00: [(&str, &[u8]); 6] = [
        ("GNU.sparse.size", b"2000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", b"1000"),
        ("GNU.sparse.numbytes", b"1"),
    ];
    let v01: [(&str, &[u8]); 3] = [
        ("GNU.sparse.size", b"2000"),
        ("GNU.sparse.map", b"0,2,1000,1"),
        ("GNU.sparse.name", b"f"),
    ];
    let v10: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"f"),
        ("GNU.sparse.realsize", b"2000"),
    ];
    let map = [&b"2\n0\n2\n1000\n1\n"[..], &[0; 499]].concat();
    for tar in [
        old.data(b"abc"),
        Tar::default().pax(&v00).file("f", b"abc"),
        Tar::default().pax(&v01).file("GNUSparseFile.0/f", b"abc"),
        Tar::default().pax(&v10).file("GNUSparseFile.0/f", &[&map[..], b"abc"].concat()),
    ] {
        let all = read(&tar.file("next", b"n").end()).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(
            (&all[0].0.path[..], &all[0].0.kind, &all[0].1[..]),
            (&b"f"[..], &expected, &b"abc"[..])
        );
    }
    for bad in
        ["0,2,1,1", "0,2,1000", "0,2,1000,2", "1999,3", "0,18446744073709551615,5,9", "a,b", ""]
    {
        let tar =
            Tar::default().pax(&[("GNU.sparse.size", b"2000"), ("GNU.sparse.map", bad.as_bytes())]);
        assert!(read(&tar.file("f", b"abc").end()).is_err(), "{bad}");
    }
    let endless = Tar::default().pax(&v10).file("f", &[&b"65537\n"[..], &[b'0'; 600]].concat());
    assert!(read(&endless.end()).is_err());
}

#[test]
fn what_gnu_tar_and_the_tar_crate_write_is_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("d")).unwrap();
    std::fs::write(root.join("d/file"), vec![7; 3000]).unwrap();
    std::fs::write(root.join("x".repeat(150)), "long").unwrap();
    std::os::unix::fs::symlink("d/file", root.join("link")).unwrap();
    std::fs::hard_link(root.join("d/file"), root.join("hard")).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 1 << 20).unwrap();
    for format in ["gnu", "pax", "ustar", "v7"] {
        let name = dir.path().join(format);
        let mut command = std::process::Command::new("tar");
        command.args(["--sort=name", "--format", format, "-cf"]).arg(&name).arg("-C").arg(&root);
        if format != "ustar" && format != "v7" {
            command.arg("--sparse");
        } else {
            command.args(["--exclude", "x*"]);
        }
        assert!(command.arg(".").status().unwrap().success());
        let bytes = std::fs::read(&name).unwrap();
        let ours = read(&bytes).unwrap();
        let mut theirs = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let entry = entry.unwrap();
            theirs.push((entry.path_bytes().into_owned(), entry.header().mode().unwrap()));
        }
        // The crate does not read the names of PAX's sparse files.
        let names = ours.iter().map(|(entry, _)| (entry.path.clone(), entry.mode));
        let same = names.zip(&theirs).filter(|(ours, theirs)| ours == *theirs).count();
        assert!(same >= ours.len() - 1 && ours.len() == theirs.len(), "{format}");
        if format == "gnu" || format == "pax" {
            let sparse = ours.iter().find(|(entry, _)| entry.path == b"./sparse").unwrap();
            let Kind::File { size, sparse: Some(map) } = &sparse.0.kind else {
                panic!("{sparse:?}")
            };
            assert_eq!(
                (*size, map.iter().map(|s| s.length).sum::<u64>()),
                ((1 << 20) + 3, sparse.1.len() as u64)
            );
        }
    }
}
