//! The syntax of `.properties` files, as `java.util.Properties` reads it.
//!
//! Always holds: escapes, continuation lines, the separators `=`, `:` and blank, and `\uXXXX` mean what they mean in Java;
//! the text is UTF-8, though, and never panics. A key that stands twice is given twice: the last one counts.
//!
//! Next: `source.rs`, which gives the pairs their place in the order of sources.

/// A key and its value, with the line on which the key stands (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped; blanks before it are gone, blanks after it are kept.
    pub value: String,
    /// The line of the key, from 1.
    pub line: usize,
}

/// A text that is no `.properties` file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// The line on which the escape stands, or the first line of it when it is continued.
    pub line: usize,
    /// What is wrong.
    pub problem: SyntaxProblem,
}

/// What is wrong with an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxProblem {
    /// `\u` without four hexadecimal digits.
    #[error("\\u must be followed by four hexadecimal digits")]
    BadUnicodeEscape,
    /// Half of a character outside the basic plane.
    #[error("\\u escapes must give whole characters: a half of a surrogate pair stands alone")]
    LoneSurrogate,
}

/// The pairs of `text`, in its order.
pub fn parse(text: &str) -> Result<Vec<Property>, SyntaxError> {
    let mut properties = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, logical) in logical_lines(text) {
        let (key, value) = split(&logical);
        let unescape = |part| unescape(part).map_err(|problem| SyntaxError { line, problem });
        properties.push(Property {
            key: unescape(key)?,
            value: unescape(value)?,
            line,
        });
    }
    Ok(properties)
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// Lines with continuations joined, comments and blank lines left out, leading blanks gone; with the number of the first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in natural_lines(text).enumerate() {
        let trimmed = natural.trim_start_matches(BLANKS);
        if open.is_none() && (trimmed.is_empty() || trimmed.starts_with(['#', '!'])) {
            continue;
        }
        let (number, mut line) = open.take().unwrap_or((index + 1, String::new()));
        let backslashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            line.push_str(&trimmed[..trimmed.len() - 1]);
            open = Some((number, line));
        } else {
            line.push_str(trimmed);
            lines.push((number, line));
        }
    }
    lines.extend(open.filter(|(_, line)| !line.is_empty()));
    lines
}

/// Lines ended by `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(end) = text.find(['\n', '\r']) else {
            return Some(text);
        };
        let width = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + width..]);
        Some(&text[..end])
    })
}

/// Splits at the first separator that no backslash precedes: blanks, and at most one `=` or `:` among them.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let separates = !escaped && (BLANKS.contains(c) || matches!(c, '=' | ':'));
        escaped = *c == '\\' && !escaped;
        separates
    });
    let Some((end, _)) = end else { return (line, "") };
    let value = line[end..].trim_start_matches(BLANKS);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, SyntaxProblem> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let meant = match (c, c == '\\') {
            (c, false) => c,
            (_, true) => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    units.push(unicode(&mut chars)?);
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).map_err(|_| SyntaxProblem::LoneSurrogate)
}

fn unicode(chars: &mut std::str::Chars<'_>) -> Result<u16, SyntaxProblem> {
    (0..4).try_fold(0u16, |unit, _| {
        let digit = chars
            .next()
            .and_then(|c| c.to_digit(16))
            .ok_or(SyntaxProblem::BadUnicodeEscape)?;
        Ok(unit << 4 | u16::try_from(digit).expect("a hexadecimal digit is below 16"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_java_reads_them() {
        for (text, expected) in [
            ("a=b", &[("a", "b", 1)][..]),
            ("a:b\nc d\ne", &[("a", "b", 1), ("c", "d", 2), ("e", "", 3)]),
            ("  a \t=\x0c b  ", &[("a", "b  ", 1)]),
            ("a = = b", &[("a", "= b", 1)]),
            ("a  b=c", &[("a", "b=c", 1)]),
            ("# x\n! y\n\n  \n #z\\\na=1", &[("a", "1", 6)]),
            ("a=b\\\n   c\\\n#d\ne=f", &[("a", "bc#d", 1), ("e", "f", 4)]),
            ("a=b\\\\\nc=d", &[("a", "b\\", 1), ("c", "d", 2)]),
            ("a=b\\\n\nc=d", &[("a", "b", 1), ("c", "d", 3)]),
            ("a=b\\", &[("a", "b", 1)]),
            ("a\\=b\\:c\\ d=e", &[("a=b:c d", "e", 1)]),
            ("a=\\t\\n\\r\\f\\q\\\\", &[("a", "\t\n\r\u{c}q\\", 1)]),
            ("a=\\u00e9\\u20AC\\uD83D\\uDE00", &[("a", "é€😀", 1)]),
            ("a=é\r\nb=2\rc=3", &[("a", "é", 1), ("b", "2", 2), ("c", "3", 3)]),
            ("a=1\na=2", &[("a", "1", 1), ("a", "2", 2)]),
            ("=x", &[("", "x", 1)]),
            ("\u{feff}a=1", &[("a", "1", 1)]),
            ("", &[]),
        ] {
            let parsed = parse(text).unwrap();
            let parsed: Vec<_> = parsed
                .iter()
                .map(|p| (p.key.as_str(), p.value.as_str(), p.line))
                .collect();
            assert_eq!(parsed, expected, "{text:?}");
        }
    }

    #[test]
    fn bad_escapes_name_their_line() {
        for (text, line, problem) in [
            ("a=1\nb=\\u12", 2, SyntaxProblem::BadUnicodeEscape),
            ("a=\\uzzzz", 1, SyntaxProblem::BadUnicodeEscape),
            ("\n\n\\ud83d=1", 3, SyntaxProblem::LoneSurrogate),
        ] {
            assert_eq!(parse(text), Err(SyntaxError { line, problem }), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[ab\\\\u0d8=: \t\r\n#!é]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_escaped_comes_back(key in "[a-z.=: ]{1,9}", value in "[a-z=:#\\\\ é\n]{0,9}") {
            let escape = |text: &str| {
                text.chars().fold(String::new(), |mut out, c| {
                    match c {
                        '\n' => out.push_str("\\n"),
                        'a'..='z' | '.' => out.push(c),
                        'é' => out.push_str("\\u00E9"),
                        other => out.extend(['\\', other]),
                    }
                    out
                })
            };
            let text = format!("{}={}\n", escape(&key), escape(&value));
            prop_assert_eq!(parse(&text).unwrap(), vec![Property { key, value, line: 1 }]);
        }
    }
}
