//! Sets of ASCII characters.

use super::InvalidExpression;

/// A bit for each of the 128 characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(pub(super) u128);

impl Set {
    pub(super) const ALL: Self = Self(u128::MAX);
    const LOWER: Self = Self::range(b'a', b'z');
    const UPPER: Self = Self::range(b'A', b'Z');
    const DIGIT: Self = Self::range(b'0', b'9');
    const CONTROL: Self = Self(Self::range(0, 0x1f).0 | 1 << 0x7f);
    const LETTER: Self = Self(Self::LOWER.0 | Self::UPPER.0);

    pub(super) const fn range(first: u8, last: u8) -> Self {
        Self((u128::MAX >> (127 - last)) & (u128::MAX << first))
    }

    const fn of(characters: &[u8]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < characters.len() {
            set |= 1 << characters[at];
            at += 1;
        }
        Self(set)
    }

    /// The characters from `first` to `last`, as far as there are any in ASCII.
    pub(super) fn characters(first: char, last: char) -> Self {
        let last = u8::try_from(last).ok().filter(u8::is_ascii).unwrap_or(0x7f);
        match u8::try_from(first) {
            Ok(first) if first.is_ascii() && first <= last => Self::range(first, last),
            _ => Self::default(),
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn negated(self, negated: bool) -> Self {
        if negated { Self(!self.0) } else { self }
    }

    /// With the other case of each letter.
    pub(super) fn folded(self) -> Self {
        let distance = b'a' - b'A';
        let upper = (self.0 & Self::LOWER.0) >> distance;
        let lower = (self.0 & Self::UPPER.0) << distance;
        Self(self.0 | upper | lower)
    }

    /// The class that a letter behind a backslash names: `\d` and the like.
    pub(super) fn perl(letter: char) -> Option<Self> {
        let set = match letter.to_ascii_lowercase() {
            'd' => Self::DIGIT,
            's' => Self::of(b"\t\n\x0c\r "),
            'w' => Self::LETTER.and(Self::DIGIT).and(Self::of(b"_")),
            _ => return None,
        };
        Some(set.negated(letter.is_ascii_uppercase()))
    }

    /// The class that `[:name:]` names.
    pub(super) fn posix(name: &str) -> Option<Self> {
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let set = match name {
            "alnum" => Self::LETTER.and(Self::DIGIT),
            "alpha" => Self::LETTER,
            "ascii" => Self::ALL,
            "blank" => Self::of(b"\t "),
            "cntrl" => Self::CONTROL,
            "digit" => Self::DIGIT,
            "graph" => Self::range(b'!', b'~'),
            "lower" => Self::LOWER,
            "print" => Self::range(b' ', b'~'),
            "punct" => Self(Self::range(b'!', b'~').0 & !(Self::LETTER.0 | Self::DIGIT.0)),
            "space" => Self::of(b"\t\n\x0b\x0c\r "),
            "upper" => Self::UPPER,
            "word" => Self::LETTER.and(Self::DIGIT).and(Self::of(b"_")),
            "xdigit" => Self::DIGIT
                .and(Self::range(b'a', b'f'))
                .and(Self::range(b'A', b'F')),
            _ => return None,
        };
        Some(set.negated(negated))
    }

    /// The ASCII part of a category or script of Unicode.
    pub(super) fn unicode(name: &str) -> Result<Self, InvalidExpression> {
        Ok(match name {
            "Any" => Self::ALL,
            "L" | "Latin" => Self::LETTER,
            "Lu" => Self::UPPER,
            "Ll" => Self::LOWER,
            "N" | "Nd" => Self::DIGIT,
            "P" => Self::of(b"!\"#%&'()*,-./:;?@[\\]_{}"),
            "Pc" => Self::of(b"_"),
            "Pd" => Self::of(b"-"),
            "Ps" => Self::of(b"([{"),
            "Pe" => Self::of(b")]}"),
            "Po" => Self::of(b"!\"#%&'*,./:;?@\\"),
            "S" => Self::of(b"$+<=>^`|~"),
            "Sm" => Self::of(b"+<=>|~"),
            "Sc" => Self::of(b"$"),
            "Sk" => Self::of(b"^`"),
            "Z" | "Zs" => Self::of(b" "),
            "C" | "Cc" => Self::CONTROL,
            "Common" => Self(!Self::LETTER.0),
            name if NOT_IN_ASCII.contains(&name) => Self::default(),
            _ => return Err(InvalidExpression::Range),
        })
    }

    /// The characters that follow each other, as first and last of each run.
    pub(super) fn runs(self) -> impl Iterator<Item = (u8, u8)> {
        let holds = move |at: u8| self.0 >> at & 1 == 1;
        (0..128)
            .filter(move |at| holds(*at) && (*at == 0 || !holds(at - 1)))
            .map(move |first| {
                let last = (first..128).take_while(|at| holds(*at)).last();
                (first, last.unwrap_or(first))
            })
    }
}

/// Categories and scripts that no ASCII character is in.
const NOT_IN_ASCII: &[&str] = &[
    "Lm",
    "Lo",
    "Lt",
    "M",
    "Mc",
    "Me",
    "Mn",
    "Nl",
    "No",
    "Pf",
    "Pi",
    "So",
    "Zl",
    "Zp",
    "Cf",
    "Co",
    "Cs",
    "Arabic",
    "Armenian",
    "Bengali",
    "Cyrillic",
    "Devanagari",
    "Ethiopic",
    "Georgian",
    "Greek",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Katakana",
    "Khmer",
    "Lao",
    "Mongolian",
    "Tamil",
    "Telugu",
    "Thai",
    "Tibetan",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_as_its_runs_say() {
        let table: [(Set, &[(u8, u8)]); 5] = [
            (Set::default(), &[]),
            (Set::ALL, &[(0, 127)]),
            (
                Set::perl('w').unwrap(),
                &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')],
            ),
            (Set::range(b'k', b'k').folded(), &[(b'K', b'K'), (b'k', b'k')]),
            (Set::characters('y', '\u{430}'), &[(b'y', 127)]),
        ];
        for (set, runs) in table {
            assert_eq!(set.runs().collect::<Vec<_>>(), runs);
        }
    }

    #[test]
    fn each_character_is_in_one_category() {
        let categories = [
            "Lu", "Ll", "Nd", "Pc", "Pd", "Ps", "Pe", "Po", "Sm", "Sc", "Sk", "Zs", "Cc",
        ];
        let sets = categories.map(|name| Set::unicode(name).unwrap().0);
        assert_eq!(sets.iter().fold(0, |all, set| all | set), u128::MAX);
        assert_eq!(sets.iter().map(|set| set.count_ones()).sum::<u32>(), 128);
        for (whole, parts) in [("L", "Lu Ll"), ("P", "Pc Pd Ps Pe Po"), ("S", "Sm Sc Sk")] {
            let parts = parts
                .split(' ')
                .fold(0, |all, name| all | Set::unicode(name).unwrap().0);
            assert_eq!(Set::unicode(whole).unwrap().0, parts, "{whole}");
        }
    }
}
