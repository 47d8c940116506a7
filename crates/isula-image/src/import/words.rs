//! The words of a Dockerfile instruction (Dockerfile reference, "Format" and "ENV").

/// Splits at blanks; `"` and `'` hold blanks together, `\` takes what follows it literally (not
/// within `'`). `None` when a quote is not closed.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), closing) if open == closing => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().push(characters.next().unwrap_or('\\'));
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// `KEY=VALUE …`, or the old `KEY VALUE` that takes the rest of the line.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let first = text.split_whitespace().next()?;
    if !first.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| {
        let (key, value) = word.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    split(text)?.into_iter().map(pair).collect()
}

/// `["a", "b"]`; `None` when it is not of this form.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{list, pairs, split};

    #[test]
    fn words_and_pairs_are_split_as_in_a_dockerfile() {
        for (text, words) in [
            ("a  b\tc", Some(vec!["a", "b", "c"])),
            (r#"a="b c" 'd e'f"#, Some(vec!["a=b c", "d ef"])),
            (r#"a\ b "\"" '\'"#, Some(vec!["a b", "\"", "\\"])),
            (r#""" x"#, Some(vec!["", "x"])),
            ("\"a", None),
        ] {
            let words = words.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(split(text), words, "{text}");
        }
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("A=b C='d e'").unwrap(), [pair("A", "b"), pair("C", "d e")]);
        assert_eq!(pairs("A b  c").unwrap(), [pair("A", "b  c")]);
        assert_eq!(pairs("A=b C"), None);
        assert_eq!(pairs("A"), None);
        assert_eq!(list(r#"["a","b"]"#).unwrap(), ["a", "b"]);
        assert_eq!(list("[a]"), None);
    }
}
