//! Which values a key takes beyond its type, and what is said about the others.
//!
//! Always holds: [`Invalid`] reads as Apache Kafka 4.4 words the same refusal, because clients print it; `allowed()` says
//! in our words what would have been right.
//!
//! Next: `value.rs`, which parses and then asks [`Allowed::check`].

use crate::key::Kind;
use crate::value::Value;

/// The bound on a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// Whatever the type takes.
    Any,
    /// A number from here on.
    AtLeast(i64),
    /// A number from the first to the second, both included.
    Between(i64, i64),
    /// A number from the first to the second, or the third.
    BetweenOr(i64, i64, i64),
    /// A floating-point number from the first to the second.
    BetweenRatio(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A text with at least one character.
    NonEmpty,
    /// A list without empty items.
    Items {
        /// What an item may be; empty for anything.
        of: &'static [&'static str],
        /// Whether there must be at least one.
        filled: bool,
    },
    /// `*`, or a list of PARTITION:BROKER.
    ThrottledReplicas,
    /// `latest`, `earliest` or `by_duration:` with an ISO 8601 duration.
    OffsetReset,
}

/// A value that its key does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}", problem = self.problem.words(&self.key, &self.value))]
pub struct Invalid {
    /// The key's name.
    pub key: String,
    /// The value, or the item of the list that is wrong.
    pub value: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no number of this type.
    NotANumber(Kind),
    /// It is neither `true` nor `false`.
    NotABoolean,
    /// It is below the least number, given as text.
    TooSmall(String),
    /// It is above the greatest number, given as text.
    TooLarge(String),
    /// It is outside of a range and not the one exception.
    NotBetweenOr(i64, i64, i64),
    /// It is none of these texts.
    NotOneOf(&'static [&'static str]),
    /// It is none of these texts, in whatever case.
    NotOneOfAnyCase(&'static [&'static str]),
    /// It is the empty text.
    Empty,
    /// It is a list without items; these are possible ones.
    EmptyList(&'static [&'static str]),
    /// It is a list with an empty item.
    EmptyItem,
    /// It is no list of PARTITION:BROKER.
    NotThrottledReplicas,
    /// It is no start of a share group.
    NotAnOffsetReset,
}

impl Problem {
    fn words(&self, key: &str, value: &str) -> String {
        let invalid = |what: String| format!("Invalid value {value} for configuration {key}: {what}");
        match self {
            Self::NotANumber(kind) => invalid(format!("Not a number of type {}", kind.name())),
            Self::NotABoolean => invalid("Expected value to be either true or false".to_owned()),
            Self::TooSmall(min) => invalid(format!("Value must be at least {min}")),
            Self::TooLarge(max) => invalid(format!("Value must be no more than {max}")),
            Self::NotBetweenOr(min, max, also) => invalid(format!(
                "Value must be between {min} and {max} or equal to {also}"
            )),
            Self::NotOneOf(values) => invalid(format!("String must be one of: {}", values.join(", "))),
            Self::NotOneOfAnyCase(values) => invalid(format!(
                "String must be one of (case insensitive): {}",
                values.join(", ")
            )),
            Self::Empty => invalid("String must be non-empty".to_owned()),
            Self::EmptyList(of) => {
                let valid = if of.is_empty() {
                    "any non-empty value".to_owned()
                } else {
                    format!("[{}]", of.join(", "))
                };
                format!("Configuration '{key}' must not be empty. Valid values include: {valid}")
            }
            Self::EmptyItem => format!("Configuration '{key}' values must not be empty."),
            Self::NotThrottledReplicas => invalid(format!(
                "{key} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )),
            Self::NotAnOffsetReset => invalid(format!(
                "Invalid value `{value}` for configuration {key}. The value must be either 'earliest', 'latest' or of the \
                 format 'by_duration:<PnDTnHnMn.nS>'."
            )),
        }
    }
}

impl Allowed {
    /// Checks a value of the right type; gives the offending value as text and what is wrong with it.
    pub(crate) fn check(self, value: &Value) -> Result<(), (String, Problem)> {
        let whole = value.as_whole();
        let problem = match self {
            Self::Any => None,
            Self::AtLeast(min) => below(whole, min),
            Self::Between(min, max) => below(whole, min).or_else(|| above(whole, max)),
            Self::BetweenOr(min, max, also) => (whole != Some(also)
                && below(whole, min).or_else(|| above(whole, max)).is_some())
            .then_some(Problem::NotBetweenOr(min, max, also)),
            Self::BetweenRatio(min, max) => match value {
                Value::Double(number) if *number < min => Some(Problem::TooSmall(min.to_string())),
                Value::Double(number) if *number > max => Some(Problem::TooLarge(max.to_string())),
                _ => None,
            },
            Self::OneOf(of) => {
                (!value.as_text().is_some_and(|text| of.contains(&text))).then_some(Problem::NotOneOf(of))
            }
            Self::OneOfAnyCase(of) => {
                let known = |text: &str| of.iter().any(|each| each.eq_ignore_ascii_case(text));
                (!value.as_text().is_some_and(known)).then_some(Problem::NotOneOfAnyCase(of))
            }
            Self::NonEmpty => (value.as_text() == Some("")).then_some(Problem::Empty),
            Self::Items { of, filled } => return check_items(value.as_list(), of, filled),
            Self::ThrottledReplicas => return check_throttled(value.as_list()),
            Self::OffsetReset => {
                (!value.as_text().is_some_and(is_offset_reset)).then_some(Problem::NotAnOffsetReset)
            }
        };
        problem.map_or(Ok(()), |problem| Err((value.to_string(), problem)))
    }

    /// What is allowed, in words: `at least 1`. Empty when nothing is said beyond the type.
    pub fn words(self) -> String {
        match self {
            Self::Any => String::new(),
            Self::AtLeast(min) => format!("at least {min}"),
            Self::Between(min, max) => format!("{min} to {max}"),
            Self::BetweenOr(min, max, also) => format!("{min} to {max}, or {also}"),
            Self::BetweenRatio(min, max) => format!("{min} to {max}"),
            Self::OneOf(of) => format!("one of {}", of.join(", ")),
            Self::OneOfAnyCase(of) => format!("one of {} in any case", of.join(", ")),
            Self::NonEmpty => "not empty".to_owned(),
            Self::Items { of: [], filled: true } => "at least one item".to_owned(),
            Self::Items {
                of: [],
                filled: false,
            } => String::new(),
            Self::Items { of, filled: true } => format!("at least one of {}", of.join(", ")),
            Self::Items { of, filled: false } => format!("any of {}", of.join(", ")),
            Self::ThrottledReplicas => "* or PARTITION:BROKER items".to_owned(),
            Self::OffsetReset => "latest, earliest or by_duration:PnDTnHnMn.nS".to_owned(),
        }
    }
}

fn below(number: Option<i64>, min: i64) -> Option<Problem> {
    number
        .filter(|number| *number < min)
        .map(|_| Problem::TooSmall(min.to_string()))
}

fn above(number: Option<i64>, max: i64) -> Option<Problem> {
    number
        .filter(|number| *number > max)
        .map(|_| Problem::TooLarge(max.to_string()))
}

fn check_items(items: &[String], of: &'static [&'static str], filled: bool) -> Result<(), (String, Problem)> {
    if items.is_empty() && filled {
        return Err((String::new(), Problem::EmptyList(of)));
    }
    for item in items {
        if item.is_empty() {
            return Err((String::new(), Problem::EmptyItem));
        }
        if !of.is_empty() && !of.contains(&item.as_str()) {
            return Err((item.clone(), Problem::NotOneOf(of)));
        }
    }
    Ok(())
}

fn check_throttled(items: &[String]) -> Result<(), (String, Problem)> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let replica = |item: &String| {
        item.split_once(':')
            .is_some_and(|(left, right)| number(left) && number(right))
    };
    if items.iter().all(replica) || matches!(items, [star] if star == "*") {
        return Ok(());
    }
    Err((format!("[{}]", items.join(", ")), Problem::NotThrottledReplicas))
}

/// `latest`, `earliest`, or `by_duration:` and a duration of at least nothing: days, hours, minutes, seconds.
fn is_offset_reset(text: &str) -> bool {
    match text.strip_prefix("by_duration:") {
        Some(duration) => is_duration(&duration.to_ascii_lowercase()),
        None => text == "latest" || text == "earliest",
    }
}

fn is_duration(lower: &str) -> bool {
    let Some(rest) = lower.strip_prefix('p') else {
        return false;
    };
    let (days, time) = match rest.split_once('t') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let days_fit = days.is_empty() || parts(days, "d").is_some();
    let time_fits = time.is_none_or(|time| parts(time, "hms").is_some());
    days_fit && time_fits && (!days.is_empty() || time.is_some())
}

/// Numbers each followed by one of `units`, in the order of `units`; only seconds may have a fraction.
fn parts(mut text: &str, units: &str) -> Option<()> {
    let mut rest = units;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = text[end..].chars().next()?;
        let place = rest.find(unit)?;
        let number = &text[..end];
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || whole.len() > 12 || fraction.len() > 9 || fraction.contains('.') {
            return None;
        }
        if number.contains('.') && unit != 's' {
            return None;
        }
        rest = &rest[place + 1..];
        text = &text[end + 1..];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_share_groups() {
        for (text, fits) in [
            ("latest", true),
            ("Earliest", false),
            ("by_duration:PT1H", true),
            ("by_duration:P1DT2H3M4.5S", true),
            ("by_duration:P2D", true),
            ("by_duration:PT", false),
            ("by_duration:P", false),
            ("by_duration:-PT1H", false),
            ("by_duration:PT1.5H", false),
            ("by_duration:PT1S1H", false),
            ("by_duration:1H", false),
            ("none", false),
            ("", false),
        ] {
            assert_eq!(is_offset_reset(text), fits, "{text}");
        }
    }
}
