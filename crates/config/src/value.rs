//! A parsed value, and how it is written.
//!
//! Always holds: texts are read as Apache Kafka reads them (trimmed, `+5` and `TRUE` fine, lists split at commas) and
//! written as Kafka writes them in DescribeConfigs, so that a value survives the round trip through a client.
//!
//! Next: `allowed.rs` for the bounds.

use std::fmt;

use crate::allowed::{Invalid, Problem};
use crate::key::{Key, Kind};

/// A value of a key's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 16 bits.
    Short(i16),
    /// A whole number of 32 bits.
    Int(i32),
    /// A whole number of 64 bits.
    Long(i64),
    /// A floating-point number.
    Double(f64),
    /// Text, the name of a class or a password.
    Text(String),
    /// The items of a list.
    List(Vec<String>),
}

impl Value {
    /// The number, when it is a whole one.
    pub fn as_whole(&self) -> Option<i64> {
        match self {
            Self::Short(number) => Some(i64::from(*number)),
            Self::Int(number) => Some(i64::from(*number)),
            Self::Long(number) => Some(*number),
            Self::Boolean(_) | Self::Double(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items; none when it is no list.
    pub fn as_list(&self) -> &[String] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Short(number) => write!(f, "{number}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Long(number) => write!(f, "{number}"),
            Self::Double(number) => write_double(f, *number),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// As Java writes a double: plain between 0.001 and 10,000,000, else with an exponent; always with a fraction.
fn write_double(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e7).contains(&size) || !number.is_finite() {
        return write!(f, "{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => write!(f, "{digits}E{exponent}"),
        Some((digits, exponent)) => write!(f, "{digits}.0E{exponent}"),
        None => f.write_str(&text),
    }
}

impl Key {
    /// Reads `text` as a value of this key: type and bounds.
    pub fn parse(&self, text: &str) -> Result<Value, Invalid> {
        let invalid = |value: String, problem| Invalid {
            key: self.name.to_owned(),
            value,
            problem,
        };
        let value = self
            .kind
            .parse(text)
            .map_err(|problem| invalid(text.to_owned(), problem))?;
        self.allowed
            .check(&value)
            .map_err(|(value, problem)| invalid(value, problem))?;
        Ok(value)
    }
}

impl Kind {
    fn parse(self, text: &str) -> Result<Value, Problem> {
        let trimmed = text.trim();
        let number = Problem::NotANumber(self);
        match self {
            Self::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Self::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Self::Boolean => Err(Problem::NotABoolean),
            Self::Short => trimmed.parse().map(Value::Short).map_err(|_| number),
            Self::Int => trimmed.parse().map(Value::Int).map_err(|_| number),
            Self::Long => trimmed.parse().map(Value::Long).map_err(|_| number),
            Self::Double => parse_double(trimmed).map(Value::Double).ok_or(number),
            Self::String | Self::Class | Self::Password => Ok(Value::Text(trimmed.to_owned())),
            Self::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
            Self::List => Ok(Value::List(
                trimmed.split(',').map(|item| item.trim().to_owned()).collect(),
            )),
        }
    }
}

/// A finite number as Java reads it, a trailing `f` or `d` included. Not a number is refused, though Kafka takes it.
fn parse_double(text: &str) -> Option<f64> {
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    if !digits
        .bytes()
        .last()
        .is_some_and(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    digits.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::Resource;

    #[test]
    fn values_read_and_written() {
        for (kind, text, written) in [
            (Kind::Boolean, " True ", Some("true")),
            (Kind::Boolean, "yes", None),
            (Kind::Int, "+5", Some("5")),
            (Kind::Int, " 7 ", Some("7")),
            (Kind::Int, "0x10", None),
            (Kind::Int, "1.5", None),
            (Kind::Int, "2147483648", None),
            (Kind::Int, "", None),
            (Kind::Short, "32767", Some("32767")),
            (Kind::Short, "32768", None),
            (Kind::Long, "-9223372036854775808", Some("-9223372036854775808")),
            (Kind::Long, "9223372036854775808", None),
            (Kind::Double, "0.5f", Some("0.5")),
            (Kind::Double, ".5", Some("0.5")),
            (Kind::Double, "1e-1", Some("0.1")),
            (Kind::Double, "1e-5", Some("1.0E-5")),
            (
                Kind::Double,
                "1.7976931348623157E308",
                Some("1.7976931348623157E308"),
            ),
            (Kind::Double, "12345678", Some("1.2345678E7")),
            (Kind::Double, "3", Some("3.0")),
            (Kind::Double, "NaN", None),
            (Kind::Double, "inf", None),
            (Kind::Double, "infinity", None),
            (Kind::Double, "1e999", None),
            (Kind::Double, "f", None),
            (Kind::List, " a , b ", Some("a,b")),
            (Kind::List, " ", Some("")),
            (Kind::List, "a,,b", Some("a,,b")),
            (Kind::String, " x ", Some("x")),
        ] {
            let parsed = kind.parse(text).ok().map(|value| value.to_string());
            assert_eq!(parsed.as_deref(), written, "{kind:?} {text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_so_that_it_is_read_again(text in "[-+0-9a-zA-Z.,:* é]{0,24}", number in any::<i64>()) {
            for resource in [Resource::Topic, Resource::Broker, Resource::Group, Resource::ClientMetrics] {
                for key in Key::all(resource) {
                    for text in [&text, &number.to_string()] {
                        if let Ok(value) = key.parse(text) {
                            let again = key.parse(&value.to_string());
                            prop_assert_eq!(again, Ok(value), "{}", key.name);
                        }
                    }
                }
            }
        }
    }
}
