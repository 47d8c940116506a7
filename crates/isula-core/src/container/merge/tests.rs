//! Tests.

use std::time::Duration;

use super::merge;
use crate::{
    container::{Healthcheck, Invalid, Overrides},
    image::ImageConfig,
};

fn texts(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn entrypoint_and_command_follow_docker() {
    // image entrypoint, image command, given entrypoint, given command, argument vector
    for (image_entrypoint, image_cmd, entrypoint, cmd, wanted) in [
        ("", "sh", None, "", "sh"),
        ("", "sh", None, "ls -l", "ls -l"),
        ("/init", "serve", None, "", "/init serve"),
        ("/init", "serve", None, "check", "/init check"),
        ("/init", "serve", Some("/bin/sh"), "", "/bin/sh"),
        ("/init", "serve", Some("/bin/sh"), "-c x", "/bin/sh -c x"),
        ("/init", "serve", Some(""), "ls", "ls"),
        ("/init", "serve", Some(""), "", "-"),
        ("", "", None, "", "-"),
        ("", "", Some("/a"), "b", "/a b"),
    ] {
        let image = ImageConfig {
            entrypoint: texts(image_entrypoint),
            cmd: texts(image_cmd),
            ..ImageConfig::default()
        };
        let overrides = Overrides {
            entrypoint: entrypoint.map(texts),
            cmd: texts(cmd),
            ..Overrides::default()
        };
        let found = merge(&overrides, Some(&image), "h").map(|config| config.args().join(" "));
        let found = match &found {
            Ok(args) => args.as_str(),
            Err(error) => {
                assert_eq!(*error, Invalid::NoCommand);
                "-"
            }
        };
        assert_eq!(found, wanted, "{image_entrypoint} {image_cmd} {entrypoint:?} {cmd}");
    }
    let cleared = Overrides {
        entrypoint: Some(vec![String::new()]),
        cmd: texts("ls"),
        ..Overrides::default()
    };
    assert_eq!(merge(&cleared, None, "h").unwrap().args(), ["ls"]);
}

fn with(overrides: Overrides, image: ImageConfig) -> Result<super::Config, Invalid> {
    merge(&Overrides { cmd: texts("x"), ..overrides }, Some(&image), "host")
}

#[test]
fn variables_of_the_user_replace_add_and_remove() {
    for (image, user, wanted) in [
        ("A=1 B=2", "B=3 C=4", "A=1 B=3 C=4"),
        ("A=1 B=2", "A", "B=2"),
        ("A=1", "A=", "A="),
        ("A=1", "Z", "A=1"),
        ("A=1 A=2 broken =x", "", "A=2"),
        ("P=a=b", "P=c=d", "P=c=d"),
    ] {
        let overrides = Overrides { env: texts(user), ..Overrides::default() };
        let image = ImageConfig { env: texts(image), ..ImageConfig::default() };
        assert_eq!(with(overrides, image).unwrap().env, texts(wanted));
    }
    for bad in ["", "=x", "A=\0"] {
        let overrides = Overrides { env: vec![bad.to_owned()], ..Overrides::default() };
        assert!(with(overrides, ImageConfig::default()).is_err(), "{bad:?}");
    }
}

#[test]
fn the_rest_comes_from_the_user_first_and_from_the_image_else() {
    let image = ImageConfig {
        user: "app".to_owned(),
        working_dir: "srv/../data".to_owned(),
        labels: [("a", "1"), ("b", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        exposed_ports: texts("80 nonsense 443/tcp"),
        volumes: texts("/../../etc /data/"),
        stop_signal: Some("SIGQUIT".to_owned()),
        ..ImageConfig::default()
    };
    let config = with(Overrides::default(), image.clone()).unwrap();
    assert_eq!(config.user, "app");
    assert_eq!(config.working_dir, "/data");
    assert_eq!(config.exposed_ports, ["443/tcp", "80/tcp"]);
    assert_eq!(config.volumes, ["/data", "/etc"]);
    assert_eq!(config.stop_signal.map(|signal| signal.number()), Some(3));
    assert_eq!(config.hostname, "host");

    let overrides = Overrides {
        user: Some("0:0".to_owned()),
        working_dir: Some("/w/./x".to_owned()),
        labels: [("b".to_owned(), "2".to_owned())].into(),
        expose: texts("53/UDP 8000-8001"),
        stop_signal: Some(crate::signal::Signal::KILL),
        hostname: Some("web".to_owned()),
        ..Overrides::default()
    };
    let config = with(overrides, image).unwrap();
    assert_eq!(config.user, "0:0");
    assert_eq!(config.working_dir, "/w/x");
    assert_eq!(config.labels.get("a").map(String::as_str), Some("1"));
    assert_eq!(config.labels.get("b").map(String::as_str), Some("2"));
    assert_eq!(config.exposed_ports, ["443/tcp", "53/udp", "80/tcp", "8000-8001/tcp"]);
    assert_eq!(config.hostname, "web");
    assert_eq!(config.stop_signal, Some(crate::signal::Signal::KILL));
}

#[test]
fn malformed_values_are_refused() {
    let workdir =
        |text: &str| Overrides { working_dir: Some(text.to_owned()), ..Overrides::default() };
    assert!(with(workdir("relative"), ImageConfig::default()).is_err());
    for port in ["0", "65536", "x", "80/icmp", "9-8", "80-", ""] {
        let overrides = Overrides { expose: vec![port.to_owned()], ..Overrides::default() };
        assert!(with(overrides, ImageConfig::default()).is_err(), "{port}");
    }
    for image in [
        ImageConfig { volumes: texts("data"), ..ImageConfig::default() },
        ImageConfig { volumes: texts("/.."), ..ImageConfig::default() },
        ImageConfig { stop_signal: Some("SIGFOO".to_owned()), ..ImageConfig::default() },
        ImageConfig { working_dir: "/a\nb".to_owned(), ..ImageConfig::default() },
    ] {
        assert!(with(Overrides::default(), image).is_err());
    }
}

#[test]
fn a_health_check_may_be_overridden_in_part() {
    let check = |test: &str, seconds: u64, retries: u32| Healthcheck {
        test: texts(test),
        interval: Duration::from_secs(seconds),
        timeout: Duration::ZERO,
        start_period: Duration::ZERO,
        retries,
    };
    let image = ImageConfig { healthcheck: Some(check("CMD true", 30, 3)), ..Default::default() };
    for (user, wanted) in [
        (None, Some(check("CMD true", 30, 3))),
        (Some(check("", 5, 0)), Some(check("CMD true", 5, 3))),
        (Some(check("NONE", 0, 0)), Some(check("NONE", 30, 3))),
    ] {
        let overrides = Overrides { healthcheck: user, ..Overrides::default() };
        assert_eq!(with(overrides, image.clone()).unwrap().healthcheck, wanted);
    }
}
