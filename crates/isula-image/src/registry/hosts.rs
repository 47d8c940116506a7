//! `hosts.toml` below `certs.d`, as containerd reads it: where a registry's images may also be pulled
//! from, in which order, and how each place is spoken to.

use std::{
    fs::File,
    io::{ErrorKind as Io, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use toml::{Table, Value};

use super::origin::{Url, bracketed};

/// Largest file that is read.
const FILE_LIMIT: u64 = 1024 * 1024;
/// Most `host` blocks of one file.
const HOSTS_LIMIT: usize = 64;
/// Holds the file of every registry that has none of its own.
const DEFAULT: &str = "_default";

/// A `hosts.toml` can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct HostsError {
    path: String,
    reason: String,
}

/// What the file of a registry says.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// In the order of the file, which is that of the attempts.
    pub(super) mirrors: Vec<Place>,
    /// The registry itself, which comes last.
    pub(super) server: Place,
}

/// One place to pull from.
#[derive(Debug)]
pub(super) struct Place {
    /// Absent where the file leaves the registry where it is.
    pub(super) url: Option<Url>,
    /// May be asked what a tag means.
    pub(super) resolves: bool,
    /// May be asked for manifests by digest and for blobs.
    pub(super) pulls: bool,
    /// The URL's path is all that goes before the repository, without a further `/v2`.
    pub(super) overrides_path: bool,
    /// Sent along with each request to this place, and nowhere else.
    pub(super) headers: HeaderMap,
    pub(super) connection: Connection,
}

/// How a place is connected to.
#[derive(Debug, Clone, Default)]
pub(super) struct Connection {
    /// Files of certificates that sign the server's.
    pub(super) authorities: Vec<PathBuf>,
    /// Certificate and key; the key is in the certificate's file where it is absent.
    pub(super) clients: Vec<(PathBuf, Option<PathBuf>)>,
    /// Any certificate will do.
    pub(super) skips_verification: bool,
    /// For name, connection and TLS together.
    pub(super) limit: Option<Duration>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            url: None,
            resolves: true,
            pulls: true,
            overrides_path: false,
            headers: HeaderMap::new(),
            connection: Connection::default(),
        }
    }
}

/// The file of a registry (`host[:port]`), if there is one. Blocks.
pub(super) fn load(certs_dir: &Path, registry: &str) -> Result<Option<Hosts>, HostsError> {
    let (host, port) = super::origin::split_authority(registry).unwrap_or((registry, None));
    let host = bracketed(host);
    let names = match port {
        Some(port) => vec![format!("{host}:{port}"), format!("{host}_{port}_")],
        None => vec![host],
    };
    // A host of dots must not lead out of the directory.
    let own = names.iter().map(String::as_str).filter(|name| !name.starts_with('.'));
    for name in own.chain([DEFAULT]) {
        let folder = certs_dir.join(name);
        let path = folder.join("hosts.toml");
        let failed = |reason: String| HostsError { path: path.display().to_string(), reason };
        let mut text = String::new();
        match File::open(&path) {
            Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => continue,
            opened => opened
                .and_then(|file| file.take(FILE_LIMIT).read_to_string(&mut text))
                .map_err(|error| failed(error.to_string()))?,
        };
        return parse(&text, &folder).map(Some).map_err(failed);
    }
    Ok(None)
}

fn parse(text: &str, folder: &Path) -> Result<Hosts, String> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| {
            text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
        });
        format!("line {line}: {}", error.message())
    })?;
    let server = match table.remove("server") {
        None => None,
        Some(Value::String(url)) => Some(url),
        Some(_) => return Err("server must be a URL".to_owned()),
    };
    let blocks = match table.remove("host") {
        None => Table::new(),
        Some(Value::Table(blocks)) => blocks,
        Some(_) => return Err("host must be a table for each URL".to_owned()),
    };
    if blocks.len() > HOSTS_LIMIT {
        return Err(format!("it has more than {HOSTS_LIMIT} hosts"));
    }
    let mut mirrors = Vec::new();
    for (url, block) in blocks {
        let Value::Table(block) = block else {
            return Err(format!("host {url:?} must be a table"));
        };
        let place = place(Some(&url), block, folder);
        mirrors.push(place.map_err(|reason| format!("host {url:?}: {reason}"))?);
    }
    Ok(Hosts { mirrors, server: place(server.as_deref(), table, folder)? })
}

fn place(url: Option<&str>, mut block: Table, folder: &Path) -> Result<Place, String> {
    let mut place = Place { url: url.map(self::url).transpose()?, ..Place::default() };
    if let Some(list) = block.remove("capabilities") {
        let words = words(list).ok_or("capabilities must be a list of words")?;
        let known = ["pull", "resolve", "push", "referrers"];
        if let Some(other) = words.iter().find(|word| !known.contains(&word.as_str())) {
            return Err(format!("unknown capability {other:?}"));
        }
        let has = |wanted| words.iter().any(|word| word == wanted);
        (place.pulls, place.resolves) = (has("pull"), has("resolve"));
    }
    let connection = &mut place.connection;
    if let Some(value) = block.remove("ca") {
        let files = words(value).ok_or("ca must be a file or a list of files")?;
        connection.authorities = files.iter().map(|file| folder.join(file)).collect();
    }
    if let Some(value) = block.remove("client") {
        connection.clients = clients(value, folder)
            .ok_or("client must be a file, or a list of files or of pairs of files")?;
    }
    if let Some(value) = block.remove("dial_timeout") {
        let text = value.as_str().unwrap_or_default();
        connection.limit = Some(duration(text).ok_or("dial_timeout must be as \"5s\"")?);
    }
    connection.skips_verification = flag(&mut block, "skip_verify")?;
    place.overrides_path = flag(&mut block, "override_path")?;
    if let Some(value) = block.remove("header") {
        place.headers = headers(value)?;
    }
    match block.keys().next() {
        Some(key) => Err(format!("unknown key {key:?}")),
        None => Ok(place),
    }
}

/// A host may be written without a scheme; then it is https.
fn url(text: &str) -> Result<Url, String> {
    let full = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let url = Url::parse(&full).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    match url.target.contains('?') {
        true => Err(format!("{text:?} has a query")),
        false => Ok(url),
    }
}

/// One word or a list of words.
fn words(value: Value) -> Option<Vec<String>> {
    let word = |value: Value| match value {
        Value::String(word) => Some(word),
        _ => None,
    };
    match value {
        Value::Array(list) => list.into_iter().map(word).collect(),
        one => word(one).map(|word| vec![word]),
    }
}

fn clients(value: Value, folder: &Path) -> Option<Vec<(PathBuf, Option<PathBuf>)>> {
    let one = |value: Value| match words(value)?.as_slice() {
        [both] => Some((folder.join(both), None)),
        [certificate, key] if key.is_empty() => Some((folder.join(certificate), None)),
        [certificate, key] => Some((folder.join(certificate), Some(folder.join(key)))),
        _ => None,
    };
    match value {
        Value::Array(list) => list.into_iter().map(one).collect(),
        file => one(file).map(|one| vec![one]),
    }
}

fn flag(block: &mut Table, key: &str) -> Result<bool, String> {
    match block.remove(key) {
        None => Ok(false),
        Some(Value::Boolean(flag)) => Ok(flag),
        Some(_) => Err(format!("{key} must be true or false")),
    }
}

fn headers(value: Value) -> Result<HeaderMap, String> {
    let Value::Table(table) = value else { return Err("header must be a table".to_owned()) };
    let mut headers = HeaderMap::new();
    for (name, value) in table {
        let wrong = || format!("header {name:?} must be a text or a list of texts");
        let key = HeaderName::try_from(&name).map_err(|_| format!("{name:?} names no header"))?;
        for text in words(value).ok_or_else(wrong)? {
            let mut value = HeaderValue::try_from(text).map_err(|_| wrong())?;
            // It may be a password.
            value.set_sensitive(true);
            headers.append(key.clone(), value);
        }
    }
    Ok(headers)
}

/// `5s`, `500ms`, `1m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
    .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use super::{load, parse};

    const FULL: &str = r#"
server = "https://registry.example"
ca = "server.crt"

[host."https://z.example/path/v2"]
  capabilities = ["pull", "resolve"]
  ca = ["/etc/z.crt", "y.crt"]
  client = [["c.cert", "c.key"], ["both.pem", ""]]
  override_path = true
  dial_timeout = "5s"
  [host."https://z.example/path/v2".header]
    x-one = ["a", "b"]
    x-two = "c"

[host."http://a.example:5000"]
  capabilities = ["pull"]
  skip_verify = true
  client = "one.pem"

[host."plain.example"]
"#;

    #[test]
    fn every_key_is_read_and_the_order_is_that_of_the_file() {
        let hosts = parse(FULL, Path::new("/d")).unwrap();
        let urls: Vec<_> = hosts.mirrors.iter().map(|m| m.url.clone().unwrap()).collect();
        let shown: Vec<_> =
            urls.iter().map(|url| format!("{}{}", url.origin, url.target)).collect();
        let wanted =
            ["https://z.example/path/v2", "http://a.example:5000/", "https://plain.example/"];
        assert_eq!(shown, wanted);
        let [z, a, plain] = hosts.mirrors.as_slice() else { panic!() };
        assert!(z.pulls && z.resolves && z.overrides_path && !z.connection.skips_verification);
        assert_eq!(
            z.connection.authorities,
            ["/etc/z.crt", "/d/y.crt"].map(Into::<std::path::PathBuf>::into)
        );
        assert_eq!(
            z.connection.clients,
            [("/d/c.cert".into(), Some("/d/c.key".into())), ("/d/both.pem".into(), None)]
        );
        assert_eq!(z.connection.limit, Some(Duration::from_secs(5)));
        assert_eq!(z.headers.get_all("x-one").iter().count(), 2);
        assert_eq!(z.headers.get("x-two").unwrap(), "c");
        assert!(a.pulls && !a.resolves && a.connection.skips_verification);
        assert_eq!(a.connection.clients, [("/d/one.pem".into(), None)]);
        assert!(plain.pulls && plain.resolves);
        assert_eq!(hosts.server.url.unwrap().origin.authority(), "registry.example");
        assert_eq!(hosts.server.connection.authorities.len(), 1);
        let empty = parse("", Path::new("/d")).unwrap();
        assert!(empty.mirrors.is_empty() && empty.server.url.is_none() && empty.server.pulls);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("a = ", "line 1: "),
            ("\n\nx x", "line 3: "),
            ("serv = 'x'", "unknown key \"serv\""),
            ("server = 5", "server must be a URL"),
            ("server = 'ftp://x'", "is no URL: its scheme"),
            ("host = 5", "host must be a table"),
            ("[host.'https://u@x']", "it names a user"),
            ("[host.'https://x/?q']", "has a query"),
            ("[host.x]\ncapabilities = ['fly']", "host \"x\": unknown capability \"fly\""),
            ("[host.x]\nskip_verify = 'yes'", "skip_verify must be true or false"),
            ("[host.x]\nclient = [['a','b','c']]", "client must be"),
            ("[host.x]\ndial_timeout = '5'", "dial_timeout must be"),
            ("[host.x.header]\n'a b' = 'c'", "names no header"),
            ("[host.x.header]\na = \"b\\nc\"", "must be a text"),
        ] {
            let error = parse(text, Path::new("/d")).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn the_file_of_the_registry_comes_before_the_default_one() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, server: &str| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            let text = format!("server = 'https://{server}'");
            fs::write(dir.path().join(name).join("hosts.toml"), text).unwrap();
        };
        let found = |registry: &str| {
            let hosts = load(dir.path(), registry).unwrap()?;
            Some(hosts.server.url.unwrap().origin.authority())
        };
        assert_eq!(found("a.example"), None);
        write("a.example", "one");
        write("a.example_5000_", "two");
        assert_eq!(found("a.example:5000").as_deref(), Some("two"));
        write("a.example:5000", "three");
        assert_eq!(found("a.example:5000").as_deref(), Some("three"));
        assert_eq!(found("a.example").as_deref(), Some("one"));
        assert_eq!(found("b.example"), None);
        write("_default", "four");
        assert_eq!(found("b.example").as_deref(), Some("four"));
        assert_eq!(found("a.example:6000").as_deref(), Some("four"));
        fs::write(dir.path().join("a.example/hosts.toml"), "x").unwrap();
        let error = load(dir.path(), "a.example").unwrap_err().to_string();
        assert!(error.contains("a.example/hosts.toml: line 1"), "{error}");
    }
}
