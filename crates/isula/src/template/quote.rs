//! Go's quoted strings, both ways: `strconv.Quote` and `strconv.Unquote`.

/// The text between double quotes with its escapes resolved; none if it is not well formed.
pub(crate) fn unquote(written: &str) -> Option<String> {
    let body = written.strip_prefix('"')?.strip_suffix('"')?;
    unquote_body(body)
}

/// The same without the quotes around it.
pub(crate) fn unquote_body(body: &str) -> Option<String> {
    let mut out = Vec::with_capacity(body.len());
    let mut characters = body.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match characters.next()? {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            '\'' => out.push(b'\''),
            '"' => out.push(b'"'),
            'x' => out.push(u8::try_from(digits(&mut characters, 2, 16)?).ok()?),
            'u' => push(&mut out, digits(&mut characters, 4, 16)?)?,
            'U' => push(&mut out, digits(&mut characters, 8, 16)?)?,
            first @ '0'..='7' => {
                let high = first.to_digit(8)?;
                let low = digits(&mut characters, 2, 8)?;
                out.push(u8::try_from(high * 64 + low).ok()?);
            }
            _ => return None,
        }
    }
    // Bytes that are no UTF-8 can't be in a Rust string; Go's output would show U+FFFD as well.
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn digits(characters: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut number = 0_u32;
    for _ in 0..count {
        number = number.checked_mul(radix)?.checked_add(characters.next()?.to_digit(radix)?)?;
    }
    Some(number)
}

fn push(out: &mut Vec<u8>, code: u32) -> Option<()> {
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// `strconv.Quote`: double quotes around the text, what does not print is escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x80 && c.is_control() => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            // Spaces other than U+0020, controls, marks of direction: nothing that hides.
            c if c.is_control() || (c != ' ' && c.is_whitespace()) || hides(c) => {
                let code = c as u32;
                let escaped = if code < 0x1_0000 {
                    format!("\\u{code:04x}")
                } else {
                    format!("\\U{code:08x}")
                };
                out.push_str(&escaped);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Zero-width characters, marks of direction and the byte order mark.
fn hides(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{quote, unquote};

    #[test]
    fn escapes_are_resolved_as_in_go() {
        let table: [(&str, Option<&str>); 10] = [
            (r#""a\tb""#, Some("a\tb")),
            (r#""\x41\101\u0041\U00000041""#, Some("AAAA")),
            (r#""\"\\""#, Some("\"\\")),
            (r#""\q""#, None),
            (r#""\x4""#, None),
            (r#""\777""#, None),
            (r#""\ud800""#, None),
            (r#""\"#, None),
            ("\"é\"", Some("é")),
            ("", None),
        ];
        for (written, text) in table {
            assert_eq!(unquote(written).as_deref(), text, "{written}");
        }
    }

    #[test]
    fn nothing_that_drives_a_terminal_is_left_bare() {
        assert_eq!(quote("a\u{1b}[31m\"\u{202e}é\u{7f}"), r#""a\x1b[31m\"\u202eé\x7f""#);
    }
}
