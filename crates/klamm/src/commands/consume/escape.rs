//! Backslashes in texts of the command line.

/// Replaces `\n`, `\t`, `\r`, `\0`, `\\` and `\xNN` by what they stand for.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, taken) = match rest.first() {
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'r') => (b'\r', 1),
            Some(b'0') => (0, 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') => (hex(rest.get(1..3))?, 3),
            _ => return Err("after a \\ stands one of n, t, r, 0, \\ or xNN".to_owned()),
        };
        bytes.push(byte);
        rest = &rest[taken..];
    }
    Ok(bytes)
}

fn hex(digits: Option<&[u8]>) -> Result<u8, String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits {
        Some([high, low]) => digit(*high).zip(digit(*low)),
        _ => None,
    }
    .map(|(high, low)| (high * 16 + low) as u8)
    .ok_or_else(|| "after \\x stand two hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced() {
        let cases: [(&str, Option<&[u8]>); 9] = [
            ("ab", Some(b"ab")),
            ("a\\tb\\n", Some(b"a\tb\n")),
            ("\\x00\\xfF\\0", Some(b"\0\xff\0")),
            ("\\\\n", Some(b"\\n")),
            ("ä", Some("ä".as_bytes())),
            ("\\", None),
            ("\\q", None),
            ("\\x1", None),
            ("\\xgg", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unescape(text).ok().as_deref(), expected, "{text}");
        }
    }
}
