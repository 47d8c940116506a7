//! `WWW-Authenticate`: the challenges a registry answers with (RFC 9110 section 11.6.1).

/// Longest header that is read; the rest of a longer one is ignored.
const HEADER_LIMIT: usize = 16 * 1024;
/// Challenges in one header.
const CHALLENGE_LIMIT: usize = 8;
/// Parameters of one challenge.
const PARAMETER_LIMIT: usize = 16;

/// One challenge: a scheme and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Names in lower case, values without quotes and escapes, in the order sent.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter; the first if it was sent twice.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads one header. What is malformed ends the reading; the challenges before it count.
#[must_use]
pub fn parse(header: &str) -> Vec<Challenge> {
    let end = header.len().min(HEADER_LIMIT);
    let header = (0..=end).rev().find_map(|end| header.get(..end)).unwrap_or_default();
    let mut rest = Cursor(header);
    let mut challenges = Vec::new();
    while challenges.len() < CHALLENGE_LIMIT {
        rest.skip_separators();
        let Some(scheme) = rest.token() else { break };
        let mut challenge =
            Challenge { scheme: scheme.to_ascii_lowercase(), parameters: Vec::new() };
        let complete = rest.parameters(&mut challenge.parameters);
        challenges.push(challenge);
        if !complete {
            break;
        }
    }
    challenges
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn skip_separators(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// Reads parameters up to the next challenge or the end; false if something is malformed.
    fn parameters(&mut self, into: &mut Vec<(String, String)>) -> bool {
        loop {
            self.skip_separators();
            let before = self.0;
            if before.is_empty() {
                return true;
            }
            let Some(name) = self.token() else { return false };
            self.skip_spaces();
            let Some(rest) = self.0.strip_prefix('=') else {
                // A token without "=" is the scheme of the next challenge.
                self.0 = before;
                return true;
            };
            self.0 = rest;
            self.skip_spaces();
            let Some(value) = self.value() else { return false };
            if into.len() >= PARAMETER_LIMIT {
                return false;
            }
            into.push((name.to_ascii_lowercase(), value));
        }
    }

    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else {
            return self.token().map(str::to_owned);
        };
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            let next = match chars.next()? {
                '"' => break,
                '\\' => chars.next()?,
                plain => plain,
            };
            if next.is_control() && next != '\t' {
                return None;
            }
            value.push(next);
        }
        self.0 = chars.as_str();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Challenge, parse};

    fn shown(header: &str) -> String {
        let one = |challenge: &Challenge| {
            let parameters =
                challenge.parameters.iter().map(|(key, value)| format!("{key}={value}"));
            format!("{}[{}]", challenge.scheme, parameters.collect::<Vec<_>>().join(";"))
        };
        parse(header).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (header, wanted) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                "bearer[realm=https://auth.docker.io/token;service=registry.docker.io;scope=repository:a/b:pull,push]",
            ),
            (r#"Basic realm="Registry Realm""#, "basic[realm=Registry Realm]"),
            (r#"BASIC realm = unquoted , charset="UTF-8""#, "basic[realm=unquoted;charset=UTF-8]"),
            (
                r#"Basic realm="a", Bearer realm="b",service=c"#,
                "basic[realm=a] bearer[realm=b;service=c]",
            ),
            (r#"Negotiate, Basic realm="a""#, "negotiate[] basic[realm=a]"),
            (r#"Bearer realm="a\"b\\c""#, r#"bearer[realm=a"b\c]"#),
            ("Bearer", "bearer[]"),
            (",, ,Bearer a=b,,c=d", "bearer[a=b;c=d]"),
        ] {
            assert_eq!(shown(header), wanted, "{header}");
        }
    }

    #[test]
    fn what_is_malformed_ends_the_reading() {
        for (header, wanted) in [
            ("", ""),
            ("\u{1}", ""),
            ("=", ""),
            (r#"Bearer realm="never closed"#, "bearer[]"),
            (r#"Bearer realm="x\"#, "bearer[]"),
            ("Bearer a=b, =", "bearer[a=b]"),
            ("Bearer a=", "bearer[]"),
            ("Bearer a=\"b\u{7}\"", "bearer[]"),
            ("Bearer a=\"b\\\u{0}\"", "bearer[]"),
            ("Bearer é=1", "bearer[]"),
        ] {
            assert_eq!(shown(header), wanted, "{header}");
        }
    }

    #[test]
    fn a_header_of_any_length_is_bounded() {
        let parameters = "a=b,".repeat(100_000);
        let challenges = parse(&format!("Bearer {parameters}"));
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].parameters.len(), super::PARAMETER_LIMIT);
        assert_eq!(parse(&"Basic, ".repeat(100_000)).len(), super::CHALLENGE_LIMIT);
        assert!(parse(&"é".repeat(100_000)).is_empty());
    }
}
