//! Texts that somebody else chose, on a terminal.
//!
//! Always holds: what comes out of here is one line that moves no cursor, changes no colour and turns no text around. Names of groups
//! and of clients are any text that some client once sent.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with what would act on a terminal, or break the line, written as its escape.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match acts(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// `name` as an argument that can be put into a command line, for a hint.
pub(crate) fn argument(name: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let quoted = match (name.chars().any(acts), name.chars().all(is_plain)) {
        (true, _) => Cow::Owned(ansi_quoted(name)),
        (false, true) if !name.is_empty() => Cow::Borrowed(name),
        (false, _) => Cow::Owned(format!("'{}'", name.replace('\'', r"'\''"))),
    };
    match name.starts_with('-') {
        true => Cow::Owned(format!("-- {quoted}")),
        false => quoted,
    }
}

/// The quotes in which shells understand escapes.
fn ansi_quoted(name: &str) -> String {
    let mut quoted = String::from("$'");
    for c in name.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if acts(c) => {
                // Text in memory takes every character.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// Whether a terminal does something other than to show `c` where it stands.
fn acts(c: char) -> bool {
    let breaks_lines = matches!(c, '\u{2028}' | '\u{2029}');
    let turns_around =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || breaks_lines || turns_around
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_as_its_escape() {
        let cases = [
            ("orders", "orders"),
            ("größe 中 'x' \\", "größe 中 'x' \\"),
            ("a\n  b   classic  stable", r"a\n  b   classic  stable"),
            ("\x1b[2J\x07", r"\u{1b}[2J\u{7}"),
            ("a\rb\tc\u{7f}\u{9b}1m", r"a\rb\tc\u{7f}\u{9b}1m"),
            ("a\u{202e}b\u{2028}", r"a\u{202e}b\u{2028}"),
        ];
        for (text, shown) in cases {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn names_in_hints_can_be_pasted() {
        let cases = [
            ("orders.eu-1_x", "orders.eu-1_x"),
            ("my group", "'my group'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$(rm)", "'$(rm)'"),
            ("-x", "-- -x"),
            ("-x y", "-- '-x y'"),
            ("a\n'b\\", r"$'a\u000a\'b\\'"),
        ];
        for (name, shown) in cases {
            assert_eq!(argument(name), shown);
        }
    }
}
