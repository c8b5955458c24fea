//! `NAME=VALUE`, as options take it.

/// Splits at the first `=`. The value may be empty, the name not.
pub(crate) fn parse(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not of the form NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sign_splits() {
        let cases = [
            ("a=b", Some(("a", "b"))),
            ("a=", Some(("a", ""))),
            ("a=b=c", Some(("a", "b=c"))),
            (" a = b", Some(("a", " b"))),
            ("=b", None),
            ("a", None),
        ];
        for (text, expected) in cases {
            let seen = parse(text).ok();
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(seen, expected, "{text}");
        }
    }
}
