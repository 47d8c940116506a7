//! From `login` to `pull`: credentials are checked, kept as Docker keeps them, and used.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use isula_tests::{Registry, World, images, programs::tool};

/// A registry that knows the user `me` with the password `secret`.
fn registry(world: &World) -> Result<Registry> {
    let libraries =
        isula_tests::programs::repository().join("target/tools/usr/lib/x86_64-linux-gnu");
    let entry = Command::new(tool("htpasswd"))
        .env("LD_LIBRARY_PATH", libraries)
        .args(["-nbB", "me", "secret"])
        .output()
        .context("htpasswd is missing: run `tools/setup.sh test`")?;
    ensure!(entry.status.success(), "{}", String::from_utf8_lossy(&entry.stderr));
    let file = world.path("htpasswd");
    fs::write(&file, entry.stdout)?;
    Registry::start_with(
        &world.path("private"),
        &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display()),
    )
}

fn login(
    world: &World,
    config: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<(i32, String, String)> {
    use std::io::Write;
    let mut command = world.isula(arguments)?;
    command.env("DOCKER_CONFIG", config).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())).transpose()?;
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
}

#[test]
fn a_login_is_checked_kept_and_used_by_pull_and_run_until_the_logout() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let registry = registry(&world)?;
    let layout = format!("oci:{}:latest", images::busybox()?.display());
    let reference = format!("{}/team/busybox:1", registry.address());
    let pushed = Command::new("skopeo")
        .args(["copy", "--quiet", "--dest-tls-verify=false", "--dest-creds", "me:secret", &layout])
        .arg(format!("docker://{reference}"))
        .status()?;
    ensure!(pushed.success());
    let config = world.path("config");
    let server = registry.address().to_owned();
    let with_stdin = ["login", "-u", "me", "--password-stdin", &server];

    let (code, _, told) = login(&world, &config, &["pull", &reference], "")?;
    ensure!(code == 1 && told.contains("denied"), "{told}");
    let (code, out, told) = login(&world, &config, &with_stdin, "wrong\n")?;
    ensure!(code == 1 && out.is_empty() && told.contains("cannot log in"), "{out}{told}");
    ensure!(!config.join("config.json").exists());
    let (code, out, told) = login(&world, &config, &with_stdin, "secret\n")?;
    ensure!(code == 0 && out == "Login Succeeded\n", "{out}{told}");
    let kept = fs::metadata(config.join("config.json"))?;
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    let (code, ..) = login(&world, &config, &["pull", "-q", &reference], "")?;
    assert_eq!(code, 0);
    world.ok(&["rmi", &reference])?;
    let (code, out, told) = login(&world, &config, &["run", "--rm", &reference, "echo", "hi"], "")?;
    ensure!(code == 0 && out == "hi\n", "{out}{told}");
    // Skopeo reads what we wrote.
    let read = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--authfile"])
        .arg(config.join("config.json"))
        .arg(format!("docker://{reference}"))
        .output()?;
    ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    world.ok(&["rmi", &reference])?;
    let (code, out, _) = login(&world, &config, &["logout", &server], "")?;
    assert_eq!((code, out), (0, format!("Removing login credentials for {server}\n")));
    let (code, ..) = login(&world, &config, &["pull", &reference], "")?;
    assert_eq!(code, 1);
    // What podman writes where it does without being told, is read.
    let home = world.path("home");
    fs::create_dir(&home)?;
    let kept = world.path("xdg/containers/auth.json").display().to_string();
    let with_podman =
        ["login", "--tls-verify=false", "--authfile", &kept, "-u", "me", "-p", "secret", &server];
    crate::archives::containers_tool("podman", &home, &with_podman)?;
    let mut pull = world.isula(&["pull", "-q", &reference])?;
    pull.env("DOCKER_CONFIG", &config).env("XDG_RUNTIME_DIR", world.path("xdg"));
    ensure!(pull.status()?.success());
    let (code, out, _) = login(&world, &config, &["logout", &server], "")?;
    assert_eq!((code, out), (0, format!("Not logged in to {server}\n")));
    world.finish()
}

#[test]
fn a_credential_helper_keeps_the_secret_and_gives_it_back() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let registry = registry(&world)?;
    let server = registry.address().to_owned();
    let config = world.path("config");
    fs::create_dir(&config)?;
    let kept = world.path("kept").display().to_string();
    let helper = world.path("docker-credential-test");
    fs::write(
        &helper,
        format!(
            "#!/bin/sh\ncase $1 in\nstore) cat > {kept} ;;\nget) cat {kept} 2>/dev/null || \
             {{ echo credentials not found in native keychain; exit 1; }} ;;\nerase) rm {kept} ;;\nesac\n"
        ),
    )?;
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", world.path("").display(), std::env::var("PATH")?);
    let run = |arguments: &[&str]| -> Result<(bool, String)> {
        let mut command = world.isula(arguments)?;
        let output = command.env("DOCKER_CONFIG", &config).env("PATH", &path).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for helper in [r#""credsStore": "test""#, &format!(r#""credHelpers": {{"{server}": "test"}}"#)]
    {
        let text = format!(r#"{{{helper}, "detachKeys": "ctrl-x"}}"#);
        fs::write(config.join("config.json"), text)?;
        let (success, told) = run(&["login", "-u", "me", "-p", "secret", &server])?;
        ensure!(success, "{told}");
        ensure!(fs::read_to_string(&kept)?.contains("\"Secret\":\"secret\""));
        let text = fs::read_to_string(config.join("config.json"))?;
        ensure!(
            !text.contains("auth\"") && text.contains("detachKeys") && text.contains(&server),
            "{text}"
        );
        let (success, told) = run(&["pull", &format!("{server}/none:1")])?;
        ensure!(!success && told.contains("manifest unknown"), "{told}");
        let (success, told) = run(&["logout", &server])?;
        ensure!(success && !Path::new(&kept).exists(), "{told}");
    }
    world.finish()
}
