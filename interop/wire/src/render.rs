//! A tree as text that a person can read in a diff.
//!
//! Always holds: one struct without arrays of structs is one line; every other field has a line of its own. What is null,
//! an error code or throttle time of 0, an id of zeros, `false` and an empty array that could not be null are left out. Error codes are
//! written by name, record batches unpacked.

use klamm_model::ErrorCode;

use crate::batches;
use crate::value::{Field, Value};

/// Lines above this length are broken up, where there is something to break.
const WIDTH: usize = 160;

/// The lines of a whole message.
pub(crate) fn lines(message: &Value) -> Vec<String> {
    let mut out = Vec::new();
    if let Value::Struct(fields) = message {
        structure(fields, "", "", &mut out);
    }
    if out.is_empty() {
        out.push("(nothing but defaults)".to_owned());
    }
    out
}

/// The fields of a struct, the first one behind `first`, the others behind `indent`.
fn structure(fields: &[Field], first: &str, indent: &str, out: &mut Vec<String>) {
    let mut lead = first;
    for field in fields.iter().filter(|field| is_shown(field)) {
        match &field.value {
            Value::Records(bytes) => {
                let size = match batches::are_packed(bytes) {
                    true => "packed".to_owned(),
                    false => format!("{} bytes", bytes.len()),
                };
                out.push(format!("{lead}{}: {size}", field.name));
                out.extend(
                    batches::lines(bytes)
                        .into_iter()
                        .map(|line| format!("{indent}  {line}")),
                );
            }
            Value::Array(elements) if elements.iter().any(|e| matches!(e, Value::Struct(_))) => {
                out.push(format!("{lead}{}:", field.name));
                for element in elements {
                    element_lines(element, indent, out);
                }
            }
            value => out.push(format!("{lead}{}: {}", field.name, inline(field.name, value))),
        }
        lead = indent;
    }
}

fn element_lines(element: &Value, indent: &str, out: &mut Vec<String>) {
    let Value::Struct(fields) = element else {
        return out.push(format!("{indent}  - {}", inline("", element)));
    };
    if is_flat(fields) {
        let line = inline("", element);
        if line.len() <= WIDTH {
            return out.push(format!("{indent}  - {line}"));
        }
    }
    structure(fields, &format!("{indent}  - "), &format!("{indent}    "), out);
}

fn is_flat(fields: &[Field]) -> bool {
    fields
        .iter()
        .filter(|field| is_shown(field))
        .all(|field| match &field.value {
            Value::Records(_) => false,
            Value::Array(elements) => elements.iter().all(|e| !matches!(e, Value::Struct(_))),
            _ => true,
        })
}

fn is_shown(field: &Field) -> bool {
    match &field.value {
        Value::Null | Value::Bool(false) => false,
        Value::Int(0) => !is_error_code(field.name) && field.name != "ThrottleTimeMs",
        Value::Array(elements) => field.nullable || !elements.is_empty(),
        Value::Uuid(id) => !id.is_zero(),
        _ => true,
    }
}

fn is_error_code(name: &str) -> bool {
    name.ends_with("ErrorCode")
}

fn inline(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) if is_error_code(name) => i16::try_from(*value)
            .ok()
            .and_then(ErrorCode::from_code)
            .map_or_else(|| value.to_string(), |code| code.name().to_owned()),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Uuid(value) => value.to_string(),
        Value::String(value) if value.len() > 200 && !value.contains(' ') => {
            let start: String = value.chars().take(20).collect();
            format!("{start:?} and on to {} bytes", value.len())
        }
        Value::String(value) => format!("{value:?}"),
        Value::Bytes(value) => format!("{} bytes", value.len()),
        Value::Records(value) => format!("{} bytes", value.len()),
        Value::Placeholder(value) => value.clone(),
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(|element| inline("", element)).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Struct(fields) => {
            let shown = fields.iter().filter(|field| is_shown(field));
            let fields: Vec<_> = shown
                .map(|f| format!("{}: {}", f.name, inline(f.name, &f.value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, value: Value) -> Field {
        Field {
            name,
            nullable: false,
            value,
        }
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let partition = |error: i64| {
            Value::Struct(vec![
                field("Index", Value::Int(0)),
                field("ErrorCode", Value::Int(error)),
                field("ErrorMessage", Value::Null),
                field("OfflineReplicas", Value::Array(vec![])),
            ])
        };
        let topic = Value::Struct(vec![
            field("Name", Value::String("a".to_owned())),
            field("Partitions", Value::Array(vec![partition(0), partition(3)])),
        ]);
        let message = Value::Struct(vec![
            field("ThrottleTimeMs", Value::Int(0)),
            field("Topics", Value::Array(vec![topic])),
        ]);
        let expected = [
            "Topics:",
            "  - Name: \"a\"",
            "    Partitions:",
            "      - {Index: 0}",
            "      - {Index: 0, ErrorCode: UNKNOWN_TOPIC_OR_PARTITION}",
        ];
        assert_eq!(lines(&message), expected);
        assert_eq!(lines(&Value::Struct(vec![])), ["(nothing but defaults)"]);
    }
}
