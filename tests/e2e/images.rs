//! Images from a registry, from archives and from root file systems; layers are shared.

use std::{fs, process::Command};

use anyhow::Result;
use isula_tests::{World, images};

fn digits(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn a_missing_image_is_pulled_with_the_lines_of_old() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let layout = format!("oci:{}:latest", images::busybox()?.display());
    let reference = world.registry()?.push(&layout, "team/busybox:1")?;
    let outcome = world.run(&["create", "--name", "web", &reference, "echo", "hello"])?;
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(digits(outcome.stdout.trim_end()), "{outcome:#?}");
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines[0], format!("Unable to find image '{reference}' locally"));
    assert_eq!(lines[1], format!("Image \"{reference}\" pulling"));
    let last = lines[lines.len() - 1];
    let id = last.strip_prefix("Image \"").and_then(|rest| rest.strip_suffix("\" pulled")).unwrap();
    assert!(digits(id), "{last}");
    assert_eq!(world.ok(&["start", "-a", "web"])?, "hello");

    // By digest, and a second pull finds everything there.
    let digest = world.ok(&["images", "--digests", "--format", "{{.Digest}}"])?;
    let by_digest = format!("{}@{digest}", reference.trim_end_matches(":1"));
    world.ok(&["pull", "-q", &by_digest])?;
    assert_eq!(world.ok(&["run", "--rm", &by_digest, "echo", "again"])?, "again");
    assert_eq!(world.ok(&["images", "-q", "--no-trunc"])?.lines().count(), 1);

    world.refused(&["rmi", &reference], 1, "needs it")?;
    world.ok(&["rm", "web"])?;
    assert_eq!(world.ok(&["rmi", &reference])?, format!("Image \"{reference}\" removed"));
    // With the last tag of a repository its digests go, as Docker's do.
    assert_eq!(world.ok(&["images", "-q"])?, "");
    // Layers go behind the answer.
    while fs::read_dir(world.path("data/storage/layers"))?.count() > 0 {}
    world.finish()
}

#[test]
fn a_debian_image_is_imported_run_and_removed() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let tar = images::debian_rootfs()?.display().to_string();
    let id =
        world.ok(&["import", "-c", "CMD [\"/bin/bash\"]", "-c", "ENV A=b", &tar, "debian:12"])?;
    assert!(digits(id.strip_prefix("sha256:").unwrap()), "{id}");
    assert_eq!(world.ok(&["run", "--rm", "debian:12", "sh", "-c", "echo $A"])?, "b");
    let release = world.ok(&["run", "--rm", "debian:12", "cat", "/etc/os-release"])?;
    assert!(release.contains("ID=debian"), "{release}");
    world.ok(&["run", "-d", "--name", "d", "debian:12", "sleep", "1000"])?;
    assert_eq!(world.ok(&["exec", "d", "bash", "-c", "echo $((6 * 7))"])?, "42");
    assert_eq!(world.ok(&["exec", "-u", "www-data", "d", "id", "-un"])?, "www-data");
    world.ok(&["stop", "-t", "0", "d"])?;
    world.ok(&["rm", "d"])?;
    world.ok(&["rmi", "debian:12"])?;
    world.finish()
}

#[test]
fn a_debian_image_of_the_registry_is_pulled_run_and_removed() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    // The image is made by umoci, which shares no code with us.
    let layout = world.path("layout");
    let image = format!("{}:12", layout.display());
    let rootfs = world.path("bundle/rootfs");
    let umoci = |arguments: &[&str]| -> Result<()> {
        let output = Command::new("umoci").args(arguments).output()?;
        anyhow::ensure!(output.status.success(), "umoci {arguments:?}: {output:?}");
        Ok(())
    };
    umoci(&["init", "--layout", &layout.display().to_string()])?;
    umoci(&["new", "--image", &image])?;
    let bundle = world.path("bundle").display().to_string();
    umoci(&["unpack", "--image", &image, &bundle])?;
    let tar = images::debian_rootfs()?;
    let status = Command::new("tar").arg("-C").arg(&rootfs).arg("-xf").arg(&tar).status()?;
    assert!(status.success());
    umoci(&["repack", "--image", &image, &bundle])?;
    umoci(&[
        "config",
        "--image",
        &image,
        "--config.cmd",
        "/bin/bash",
        "--config.user",
        "www-data",
    ])?;
    let reference = world.registry()?.push(&format!("oci:{image}"), "debian:12")?;
    world.ok(&["pull", &reference])?;
    assert_eq!(world.ok(&["run", "--rm", &reference, "id", "-un"])?, "www-data");
    // What was unpacked is what was packed: Debian's own checksums hold.
    let check = "cd / && for list in /var/lib/dpkg/info/*.md5sums; do md5sum --quiet -c $list 2>/dev/null; done | \
                 grep -v -e usr/share/doc -e usr/share/locale | head -n 5";
    assert_eq!(world.ok(&["run", "--rm", "-u", "0", &reference, "bash", "-c", check])?, "");
    // setuid bits and file capabilities survive.
    let mode = world.ok(&["run", "--rm", &reference, "stat", "-c", "%a", "/usr/bin/passwd"])?;
    assert_eq!(mode, "4755");
    world.ok(&["rmi", &reference])?;
    world.finish()
}

#[test]
fn archives_of_docker_and_oci_are_loaded_and_layers_are_shared() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let docker = images::busybox_docker_archive()?.display().to_string();
    let oci = images::busybox_oci_archive()?.display().to_string();
    assert_eq!(
        world.ok(&["load", "-i", &docker])?,
        format!("Load image from \"{docker}\" success")
    );
    world.ok(&["load", "-i", &oci, "--tag", "other:2"])?;
    let layers = fs::read_dir(world.path("data/storage/layers"))?.count();
    assert_eq!(layers, 2, "two images of the same two layers");
    let rows = world.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows, ["busybox:latest", "other:2"]);
    // From standard input, compressed.
    let packed = Command::new("gzip").args(["-c", "-1", &docker]).output()?.stdout;
    let outcome = world.run_with(&["load"], &packed)?;
    assert_eq!(outcome.code, 0, "{outcome:#?}");

    world.ok(&["tag", "busybox", "shop/front:9"])?;
    assert_eq!(world.ok(&["run", "--rm", "shop/front:9", "echo", "hi"])?, "hi");
    world.ok(&["rmi", "shop/front:9"])?;
    let inspected =
        world.ok(&["inspect", "-f", "{{.Architecture}} {{index .RepoTags 0}}", "busybox"])?;
    assert_eq!(inspected, "amd64 busybox:latest");
    world.ok(&["rmi", "busybox", "other:2"])?;
    assert_eq!(world.ok(&["images", "-q"])?, "");
    world.finish()
}

#[test]
fn a_root_file_system_is_imported_in_every_compression() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let rootfs = world.path("rootfs");
    images::busybox_rootfs(&rootfs)?;
    let tar = world.path("rootfs.tar");
    let status =
        Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&tar).arg(".").status()?;
    assert!(status.success());
    for (tool, suffix) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst"), ("cat", "tar")] {
        let packed = Command::new(tool)
            .args(if tool == "cat" { vec![] } else { vec!["-c", "-1"] })
            .arg(&tar)
            .output()?
            .stdout;
        let file = world.path(&format!("packed.{suffix}"));
        fs::write(&file, packed)?;
        let name = format!("from/{tool}:1");
        world.ok(&["import", &file.display().to_string(), &name])?;
        assert_eq!(world.ok(&["run", "--rm", &name, "/bin/echo", tool])?, tool);
    }
    assert_eq!(fs::read_dir(world.path("data/storage/layers"))?.count(), 1);
    world.finish()
}
