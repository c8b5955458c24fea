//! The difference of two texts, line by line.
//!
//! Always holds: a line that both have in the same place of the longest common run of lines is not shown, except for the
//! one before each change, which tells where it is.

/// Lines with `-` (expected only), `+` (found only) or a space (both).
pub(crate) fn diff(expected: &str, found: &str) -> Vec<String> {
    let a: Vec<_> = expected.lines().collect();
    let b: Vec<_> = found.lines().collect();
    let mut common = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut before) = (0, 0, None);
    let mut out = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            before = Some(a[i]);
            (i, j) = (i + 1, j + 1);
            continue;
        }
        out.extend(before.take().map(|line| format!("  {line}")));
        if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("- {}", a[i]));
            i += 1;
        } else {
            out.push(format!("+ {}", b[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn changes_stand_behind_the_line_before_them() {
        assert!(diff("a\nb", "a\nb").is_empty());
        assert_eq!(diff("a\nb\nc", "a\nx\nc"), ["  a", "- b", "+ x"]);
        assert_eq!(diff("a\nc", "a\nb\nc"), ["  a", "+ b"]);
    }
}
