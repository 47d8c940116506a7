//! Variables and labels, given one by one or by file.

use std::ffi::OsString;

/// Looks up a variable of this process; a parameter so that tests need not set one.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// `--env`: `NAME=value`, or `NAME` for the value that the client has. A name that the client has
/// not is passed alone: it removes the image's variable.
///
/// # Errors
/// An empty name, a NUL, a value of the client that is not UTF-8.
pub fn variable(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') || text.contains('\0') {
        return Err(format!("invalid environment variable: {text}"));
    }
    if text.contains('=') {
        return Ok(text.to_owned());
    }
    match lookup(text) {
        None => Ok(text.to_owned()),
        Some(value) => match value.into_string() {
            Ok(value) => Ok(format!("{text}={value}")),
            Err(_) => Err(format!("the value of the variable {text} is not UTF-8")),
        },
    }
}

/// A file of variables: one a line; `#` begins a comment line; blanks before a name are skipped,
/// everything after `=` is the value as it stands. `NAME` alone takes the client's value and is
/// left out if there is none.
///
/// # Errors
/// What is no UTF-8, a name with blanks or none.
pub fn variables_of_file(content: &[u8], lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for line in lines(content)? {
        if line.contains('=') {
            variables.push(line.to_owned());
        } else if lookup(line).is_some() {
            variables.push(variable(line, lookup)?);
        }
    }
    Ok(variables)
}

/// A file of labels: as a file of variables, but a name alone has an empty value.
///
/// # Errors
/// As [`variables_of_file`].
pub fn labels_of_file(content: &[u8]) -> Result<Vec<(String, String)>, String> {
    lines(content)?.into_iter().map(label).collect()
}

/// `--label` and `--annotation`: `key=value`, or `key` for an empty value.
///
/// # Errors
/// An empty key.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err(format!("invalid label {text:?}: empty name"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `key=value` where the `=` must be there: `--sysctl`, `--log-opt`, `--storage-opt`.
///
/// # Errors
/// A missing `=` or an empty key.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is not of the form key=value".to_owned()),
    }
}

fn lines(content: &[u8]) -> Result<Vec<&str>, String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut found = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(format!("invalid utf8 bytes at line {number}"));
        };
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(format!("no variable name on line {number}: '{line}'"));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        if line.contains('\0') {
            return Err(format!("NUL byte at line {number}"));
        }
        found.push(line);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<OsString> {
        use std::os::unix::ffi::OsStringExt;
        match name {
            "HOME" => Some("/root".into()),
            "BAD" => Some(OsString::from_vec(vec![0xff])),
            _ => None,
        }
    }

    #[test]
    fn a_variable_has_its_own_value_or_the_clients() {
        let table = [
            ("A=1", Some("A=1")),
            ("A=", Some("A=")),
            ("A=b=c", Some("A=b=c")),
            ("A= x ", Some("A= x ")),
            ("HOME", Some("HOME=/root")),
            ("UNSET", Some("UNSET")),
            ("BAD", None),
            ("", None),
            ("=x", None),
            ("A=\0", None),
        ];
        for (text, expected) in table {
            assert_eq!(variable(text, &lookup).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let content =
            b"\xef\xbb\xbf# comment\n\n  A=1 \nB='q' # no comment\r\nHOME\nUNSET\n\t#x\nC=";
        let found = variables_of_file(content, &lookup).unwrap();
        assert_eq!(found, ["A=1 ", "B='q' # no comment", "HOME=/root", "C="]);
        assert_eq!(
            labels_of_file(b"a=1\nb\n").unwrap(),
            [("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]
        );
        for bad in [&b"=x"[..], b"A B=1", b"A=\xff", b"A =1", b"A=\0"] {
            assert!(variables_of_file(bad, &lookup).is_err(), "{bad:?}");
        }
        assert_eq!(
            variables_of_file(b"\nA=\xff", &lookup).unwrap_err(),
            "invalid utf8 bytes at line 2"
        );
    }

    #[test]
    fn labels_may_be_alone_and_pairs_may_not() {
        assert_eq!(label("a"), Ok(("a".to_owned(), String::new())));
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(label("=x").is_err() && label("").is_err());
        assert!(pair("a").is_err() && pair("=a").is_err() && pair("a=").is_ok());
    }
}
