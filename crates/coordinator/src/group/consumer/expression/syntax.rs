//! The syntax of RE2, in the flavour that Kafka's regular expressions have.
//!
//! Always holds: the parser does not call itself, so no text is too deep for it; what it makes is not nested more deeply than
//! [`MAX_DEPTH`]. Captures and greediness are read and forgotten: only whether a whole name matches is asked.
//!
//! Next: `expression/set.rs`.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::InvalidExpression as Invalid;
use super::set::Set;

/// Groups within groups.
const MAX_DEPTH: usize = 200;
/// How often something may be repeated.
const MAX_REPEAT: u32 = 1000;

/// The expression for names that match as a whole.
pub(super) fn parse(text: &str) -> Result<Hir, Invalid> {
    let mut parser = Parser {
        rest: text,
        group: Group::default(),
        outer: Vec::new(),
        names: BTreeSet::new(),
        no_class_name: false,
    };
    while let Some(c) = parser.next() {
        parser.one(c)?;
    }
    if !parser.outer.is_empty() {
        return Err(Invalid::MissingParenthesis);
    }
    Ok(Hir::concat(vec![
        Hir::look(Look::Start),
        parser.group.into_hir(),
        Hir::look(Look::End),
    ]))
}

struct Parser<'a> {
    rest: &'a str,
    group: Group,
    /// The groups around.
    outer: Vec<Group>,
    names: BTreeSet<&'a str>,
    /// Nothing that is left ends the name of a class.
    no_class_name: bool,
}

/// What has been read of a group.
#[derive(Default)]
struct Group {
    alternatives: Vec<Hir>,
    sequence: Vec<Hir>,
    /// Whether a repetition of something was the last that was read.
    repeated: bool,
    fold_case: bool,
    /// The flag outside, to go back to.
    folded_outside: bool,
}

impl Group {
    fn into_hir(mut self) -> Hir {
        self.alternatives.push(Hir::concat(self.sequence));
        Hir::alternation(self.alternatives)
    }
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn push(&mut self, hir: Hir) {
        self.group.sequence.push(hir);
        self.group.repeated = false;
    }

    fn push_set(&mut self, set: Set) {
        let runs = set.runs().map(|(first, last)| ClassBytesRange::new(first, last));
        self.push(Hir::class(Class::Bytes(ClassBytes::new(runs))));
    }

    fn push_literal(&mut self, c: char) {
        let set = Set::characters(c, c);
        self.push_set(if self.group.fold_case { set.folded() } else { set });
    }

    fn one(&mut self, c: char) -> Result<(), Invalid> {
        match c {
            '(' => self.open()?,
            ')' => self.close()?,
            '|' => {
                let sequence = std::mem::take(&mut self.group.sequence);
                self.group.alternatives.push(Hir::concat(sequence));
                self.group.repeated = false;
            }
            '*' => self.repeat(0, None)?,
            '+' => self.repeat(1, None)?,
            '?' => self.repeat(0, Some(1))?,
            '{' => match self.counts()? {
                Some((min, max)) => self.repeat(min, max)?,
                None => self.push_literal('{'),
            },
            '^' => self.push(Hir::look(Look::Start)),
            '$' => self.push(Hir::look(Look::End)),
            '.' => self.push_set(Set::ALL),
            '[' => self.class()?,
            '\\' => self.escaped()?,
            c => self.push_literal(c),
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Invalid> {
        let outside = self.group.fold_case;
        let mut inside = outside;
        if self.take("?") {
            if self.take("P<") || self.take("<") {
                self.name()?;
            } else {
                let (flags, group) = self.flags()?;
                inside = flags;
                if !group {
                    self.group.fold_case = inside;
                    return Ok(());
                }
            }
        }
        if self.outer.len() == MAX_DEPTH {
            return Err(Invalid::TooDeep);
        }
        let group = Group {
            fold_case: inside,
            folded_outside: outside,
            ..Group::default()
        };
        self.outer.push(std::mem::replace(&mut self.group, group));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Invalid> {
        let outer = self.outer.pop().ok_or(Invalid::UnexpectedParenthesis)?;
        let inner = std::mem::replace(&mut self.group, outer);
        self.group.fold_case = inner.folded_outside;
        self.push(inner.into_hir());
        Ok(())
    }

    /// The name of a group, behind its `<`.
    fn name(&mut self) -> Result<(), Invalid> {
        let (name, rest) = self.rest.split_once('>').ok_or(Invalid::GroupName)?;
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(valid) {
            return Err(Invalid::GroupName);
        }
        self.rest = rest;
        if self.names.insert(name) {
            Ok(())
        } else {
            Err(Invalid::DuplicateGroupName)
        }
    }

    /// Flags, behind `(?`: whether case counts, and whether a group follows.
    fn flags(&mut self) -> Result<(bool, bool), Invalid> {
        let mut fold_case = self.group.fold_case;
        let mut off = false;
        let mut some = true;
        loop {
            match self.next() {
                Some('i') => fold_case = !off,
                // Lines and newlines are not in names, and greediness is not asked.
                Some('m' | 's' | 'U') => {}
                Some('-') if !off => {
                    off = true;
                    some = false;
                    continue;
                }
                Some(':') if some => return Ok((fold_case, true)),
                Some(')') if some => return Ok((fold_case, false)),
                _ => return Err(Invalid::PerlSyntax),
            }
            some = true;
        }
    }

    fn repeat(&mut self, min: u32, max: Option<u32>) -> Result<(), Invalid> {
        // The mark of one that takes as little as it can.
        self.take("?");
        if self.group.repeated {
            return Err(Invalid::RepeatedRepetition);
        }
        let sub = self.group.sequence.pop().ok_or(Invalid::NothingToRepeat)?;
        self.push(Hir::repetition(Repetition {
            min,
            max,
            greedy: true,
            sub: Box::new(sub),
        }));
        self.group.repeated = true;
        Ok(())
    }

    /// The counts behind `{`; `None` when it is no repetition but a brace.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, Invalid> {
        // Counts are digits; whatever else is ahead of a brace makes it none, however far away the brace is.
        let is_of_counts = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
        let length = self.rest.bytes().take_while(is_of_counts).count();
        let (counts, rest) = self.rest.split_at(length);
        let Some(rest) = rest.strip_prefix('}') else {
            return Ok(None);
        };
        let (min, max) = match counts.split_once(',') {
            None => (counts, Some(counts)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        if !is_number(min) || !max.is_none_or(is_number) {
            return Ok(None);
        }
        let count = |text: &str| text.parse().ok().filter(|count| *count <= MAX_REPEAT);
        let min = count(min).ok_or(Invalid::RepeatCount)?;
        let max = match max {
            None => None,
            Some(max) => Some(count(max).filter(|max| *max >= min).ok_or(Invalid::RepeatCount)?),
        };
        self.rest = rest;
        Ok(Some((min, max)))
    }

    fn escaped(&mut self) -> Result<(), Invalid> {
        match self.rest.chars().next() {
            Some(assertion @ ('A' | 'z' | 'b' | 'B')) => {
                self.next();
                self.push(Hir::look(match assertion {
                    'A' => Look::Start,
                    'z' => Look::End,
                    'b' => Look::WordAscii,
                    _ => Look::WordAsciiNegate,
                }));
            }
            Some('Q') => {
                self.next();
                let (literal, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                literal.chars().for_each(|c| self.push_literal(c));
            }
            _ => match self.class_escape()? {
                Some(set) => self.push_set(set),
                None => {
                    let c = self.character_escape()?;
                    self.push_literal(c);
                }
            },
        }
        Ok(())
    }

    /// A class, behind a backslash.
    fn class_escape(&mut self) -> Result<Option<Set>, Invalid> {
        let Some(letter) = self.rest.chars().next() else {
            return Ok(None);
        };
        let set = if let Some(set) = Set::perl(letter) {
            self.next();
            set
        } else if letter == 'p' || letter == 'P' {
            self.next();
            let set = self.unicode_class()?;
            set.negated(letter == 'P')
        } else {
            return Ok(None);
        };
        Ok(Some(set))
    }

    fn unicode_class(&mut self) -> Result<Set, Invalid> {
        let name = if self.take("{") {
            let (name, rest) = self.rest.split_once('}').ok_or(Invalid::Range)?;
            self.rest = rest;
            name
        } else {
            let c = self.rest.chars().next().ok_or(Invalid::Range)?;
            let (name, rest) = self.rest.split_at(c.len_utf8());
            self.rest = rest;
            name
        };
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let set = Set::unicode(name)?;
        let set = if self.group.fold_case { set.folded() } else { set };
        Ok(set.negated(negated))
    }

    /// A character, behind a backslash.
    fn character_escape(&mut self) -> Result<char, Invalid> {
        let c = self.next().ok_or(Invalid::TrailingBackslash)?;
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.hexadecimal()?,
            '0'..='7' => {
                // One digit alone would be a reference to a group.
                if c != '0' && !self.rest.starts_with(|c| matches!(c, '0'..='7')) {
                    return Err(Invalid::Escape);
                }
                let mut number = c as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    self.next();
                    number = number * 8 + digit;
                }
                char::from_u32(number).ok_or(Invalid::Escape)?
            }
            c if c.is_ascii_alphanumeric() => return Err(Invalid::Escape),
            c => c,
        })
    }

    fn hexadecimal(&mut self) -> Result<char, Invalid> {
        let digits = if self.take("{") {
            let (digits, rest) = self.rest.split_once('}').ok_or(Invalid::Escape)?;
            self.rest = rest;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2).ok_or(Invalid::Escape)?;
            self.rest = rest;
            digits
        };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Invalid::Escape);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| Invalid::Escape)?;
        if number > char::MAX as u32 {
            return Err(Invalid::Escape);
        }
        // Half of a pair of surrogates is no character, and matches nothing.
        Ok(char::from_u32(number).unwrap_or(char::MAX))
    }

    /// A class of characters, behind its `[`.
    fn class(&mut self) -> Result<(), Invalid> {
        let negated = self.take("^");
        let mut set = Set::default();
        let mut first = true;
        loop {
            if !first && self.take("]") {
                break;
            }
            first = false;
            set = set.and(self.class_item()?);
        }
        if self.group.fold_case {
            set = set.folded();
        }
        self.push_set(set.negated(negated));
        Ok(())
    }

    fn class_item(&mut self) -> Result<Set, Invalid> {
        if let Some(named) = self.rest.strip_prefix("[:").filter(|_| !self.no_class_name) {
            if let Some((name, rest)) = named.split_once(":]") {
                self.rest = rest;
                return Set::posix(name).ok_or(Invalid::Range);
            }
            self.no_class_name = true;
        }
        if self.rest.starts_with('\\') {
            let before = self.rest;
            self.next();
            if let Some(set) = self.class_escape()? {
                return Ok(set);
            }
            self.rest = before;
        }
        let first = self.class_character()?;
        let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
        if !is_range {
            return Ok(Set::characters(first, first));
        }
        self.next();
        let last = self.class_character()?;
        if last < first {
            return Err(Invalid::Range);
        }
        Ok(Set::characters(first, last))
    }

    fn class_character(&mut self) -> Result<char, Invalid> {
        match self.next() {
            None => Err(Invalid::MissingBracket),
            Some('\\') => self.character_escape(),
            Some(c) => Ok(c),
        }
    }
}
