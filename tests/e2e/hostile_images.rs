//! Images that attack the host: nothing outside changes, and what is refused is refused clearly.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use isula_tests::World;

/// A tar made by a small program of ours in Python: tar(1) refuses to write such things.
fn hostile_tar(world: &World, body: &str) -> Result<String> {
    let file = world.path("hostile.tar");
    let program = format!(
        "import tarfile, io, sys\n\
         t = tarfile.open(sys.argv[1], 'w')\n\
         def entry(name, kind=tarfile.REGTYPE, link='', data=b'', mode=0o755, **more):\n\
         \x20   i = tarfile.TarInfo(name); i.type = kind; i.linkname = link; i.size = len(data); i.mode = mode\n\
         \x20   for k, v in more.items(): setattr(i, k, v)\n\
         \x20   t.addfile(i, io.BytesIO(data))\n\
         box = open('/bin/busybox', 'rb').read()\n\
         entry('bin', tarfile.DIRTYPE)\n\
         entry('bin/busybox', data=box)\n\
         entry('bin/sh', tarfile.SYMTYPE, 'busybox')\n\
         entry('bin/cat', tarfile.SYMTYPE, 'busybox')\n\
         {body}\n\
         t.close()\n"
    );
    let output =
        Command::new("python3").arg("-c").arg(program).arg(&file).output().context("python3")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(file.display().to_string())
}

#[test]
fn no_entry_of_a_layer_reaches_outside_it() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let target = world.path("target");
    fs::create_dir(&target)?;
    fs::write(target.join("victim"), "untouched")?;
    let outside = target.display();
    for body in [
        format!("entry('../../../../../../../..{outside}/new', data=b'x')"),
        format!("entry('{outside}/new', data=b'x')"),
        format!(
            "entry('out', tarfile.SYMTYPE, '{outside}')\nentry('out/new', data=b'x')\nentry('out/victim', data=b'x')"
        ),
        format!("entry('hard', tarfile.LNKTYPE, '{outside}/victim')\nentry('hard', data=b'x')"),
        format!("entry('hard', tarfile.LNKTYPE, '../../../../../../../..{outside}/victim')"),
        format!("entry('out', tarfile.SYMTYPE, '{outside}')\nentry('out/.wh.victim')"),
        format!("entry('out', tarfile.SYMTYPE, '{outside}')\nentry('out/.wh..wh..opq')"),
        "entry('.wh...')".to_owned(),
        "entry('.wh.')".to_owned(),
    ] {
        let tar = hostile_tar(&world, &body)?;
        // Refused or unpacked harmlessly, as Docker does with an absolute name: both are fine.
        let outcome = world.run(&["import", &tar, "hostile:1"])?;
        assert!(outcome.code == 0 || outcome.stderr.lines().count() == 1, "{body}: {outcome:#?}");
        assert_eq!(fs::read_to_string(target.join("victim"))?, "untouched", "{body}");
        assert_eq!(fs::read_dir(&target)?.count(), 1, "{body}");
    }
    world.finish()
}

#[test]
fn symlinks_in_place_of_system_directories_are_not_followed() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let target = world.path("target");
    fs::create_dir(&target)?;
    for name in ["proc", "sys", "dev"] {
        let tar = hostile_tar(
            &world,
            &format!("entry('{name}', tarfile.SYMTYPE, '{}')", target.display()),
        )?;
        let image = format!("link/{name}:1");
        world.ok(&["import", &tar, &image])?;
        let outcome = world.run(&["run", "--rm", &image, "/bin/cat", "/bin/sh"])?;
        assert_ne!(outcome.code, 0, "{name}: a container ran on a symlinked /{name}");
        assert_eq!(fs::read_dir(&target)?.count(), 0, "{name}");
    }
    world.finish()
}

#[test]
fn special_files_where_text_is_expected_do_not_hang_anything() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    for (number, entry) in [
        "entry('etc', tarfile.DIRTYPE)\nentry('etc/passwd', tarfile.FIFOTYPE)\nentry('etc/group', tarfile.FIFOTYPE)",
        "entry('etc', tarfile.DIRTYPE)\nentry('etc/passwd', tarfile.SYMTYPE, '/dev/zero')",
        "entry('etc', tarfile.DIRTYPE)\nentry('etc/passwd', tarfile.SYMTYPE, '/proc/self/environ')",
        "entry('etc', tarfile.SYMTYPE, '/etc')",
        "entry('etc', tarfile.SYMTYPE, '../../../../../../etc')",
    ]
    .iter()
    .enumerate()
    {
        let tar = hostile_tar(&world, entry)?;
        let image = format!("special:{number}");
        world.ok(&["import", &tar, &image])?;
        // `root` of the host's passwd must not be found through the image.
        let outcome = world.run(&["run", "--rm", "-u", "daemon", &image, "/bin/cat", "/bin/sh"])?;
        assert_eq!(outcome.code, 125, "{entry}: {outcome:#?}");
        world.ok(&["rmi", &image])?;
    }
    world.finish()
}

#[test]
fn files_of_the_engine_are_not_written_through_links_of_the_image() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let target = world.path("target");
    fs::create_dir(&target)?;
    fs::write(target.join("hosts"), "untouched")?;
    let outside = target.display();
    for entry in [
        format!("entry('etc', tarfile.SYMTYPE, '{outside}')"),
        format!(
            "entry('etc', tarfile.DIRTYPE)\nentry('etc/hosts', tarfile.SYMTYPE, '{outside}/hosts')\nentry('etc/mtab', tarfile.SYMTYPE, '{outside}/mtab')"
        ),
    ] {
        let tar = hostile_tar(&world, &entry)?;
        world.ok(&["import", &tar, "links:1"])?;
        let outcome = world.run(&[
            "run",
            "--rm",
            "-w",
            "/etc/deep/down",
            "links:1",
            "/bin/cat",
            "/etc/hosts",
        ])?;
        assert!(!outcome.stdout.contains("untouched"), "{outcome:#?}");
        assert_eq!(fs::read_to_string(target.join("hosts"))?, "untouched");
        assert_eq!(fs::read_dir(&target)?.count(), 1, "{entry}");
    }
    world.finish()
}
