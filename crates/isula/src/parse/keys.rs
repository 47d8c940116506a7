//! `--detach-keys`: the keys that leave a container without stopping it.

/// What leaves a container if nothing else is said.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The bytes of a sequence such as `ctrl-p,ctrl-q` or `a`; an empty text turns detaching off.
///
/// # Errors
/// What is neither a single character nor `ctrl-` with one of a-z, @, [, \, ], ^ and _.
pub fn sequence(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8, String> {
    let unknown = || format!("Unknown character: '{text}'");
    match text.as_bytes() {
        [one] if one.is_ascii() => Ok(*one),
        bytes => match bytes.strip_prefix(b"ctrl-") {
            Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
            Some([b'@']) => Ok(0),
            Some([b'[']) => Ok(27),
            Some([b'\\']) => Ok(28),
            Some([b']']) => Ok(29),
            Some([b'^']) => Ok(30),
            Some([b'_']) => Ok(31),
            _ => Err(unknown()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, sequence};

    #[test]
    fn keys_are_characters_or_control_characters() {
        let table = [
            (DEFAULT, Some(vec![16, 17])),
            ("", Some(vec![])),
            ("a", Some(vec![b'a'])),
            ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", Some(vec![0, 27, 28, 29, 30, 31])),
            ("a,,b", None),
            ("ctrl-", None),
            ("ctrl-A", None),
            ("ctrl-aa", None),
            ("esc", None),
            ("é", None),
        ];
        for (text, expected) in table {
            assert_eq!(sequence(text).ok(), expected, "{text:?}");
        }
    }
}
