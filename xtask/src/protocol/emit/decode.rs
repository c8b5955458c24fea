//! The reading half of a struct.

use std::fmt::Write as _;

use anyhow::Result;

use super::types::default_value;
use super::{Emitter, inside, is_struct, parameter};
use crate::protocol::schema::{Field, Kind, Versions};

pub(super) fn emit(emitter: &Emitter<'_>, out: &mut String) -> Result<()> {
    let mut body = String::new();
    for field in emitter.untagged() {
        let read = read(
            field,
            emitter.flexible(),
            field.versions.within(emitter.of.versions),
        );
        let line = match (inside(field.versions, emitter.of.versions), read) {
            (None, Read::Value(value)) => format!("self.{} = {value};", field.rust),
            (None, Read::InPlace(statement)) => statement,
            (Some(condition), Read::Value(value)) => {
                format!(
                    "self.{} = if {condition} {{ {value} }} else {{ {} }};",
                    field.rust,
                    default_value(field)
                )
            }
            (Some(condition), Read::InPlace(statement)) => {
                format!("if {condition} {{ {statement} }} else {{ {} }}", reset(field))
            }
        };
        writeln!(body, "{line}")?;
    }
    tags(emitter, &mut body)?;
    let flexible = emitter.flexible_variable(&body);
    let version = parameter("version", &format!("{flexible}{body}"));
    let reader = parameter("r", &body);
    writeln!(
        out,
        "fn read(&mut self, {reader}: &mut Reader, {version}: i16) -> Result<(), DecodeError> {{"
    )?;
    writeln!(out, "{flexible}{body}Ok(())\n}}\n")?;
    Ok(())
}

fn tags(emitter: &Emitter<'_>, body: &mut String) -> Result<()> {
    let tagged = emitter.tagged();
    for (_, field) in &tagged {
        writeln!(body, "{}", reset(field))?;
    }
    let mut text = String::new();
    if tagged.is_empty() {
        writeln!(text, "r.unknown_tags(&mut self.unknown_tagged_fields)?;")?;
    } else {
        writeln!(
            text,
            "r.tags(&mut self.unknown_tagged_fields, |r, tag| {{ match tag {{"
        )?;
        for (tag, field) in &tagged {
            let statement = match read(field, "true", field.versions) {
                Read::Value(value) => format!("self.{} = {value};", field.rust),
                Read::InPlace(statement) => statement,
            };
            match inside(field.versions, emitter.flexible_versions()) {
                Some(condition) => {
                    writeln!(text, "{tag} if {condition} => {{ {statement} }}")?;
                    writeln!(text, "{tag} => return Reader::wrong_tag({tag}, version),")?;
                }
                None => writeln!(text, "{tag} => {{ {statement} }}")?,
            }
        }
        writeln!(text, "_ => return Ok(false), }} Ok(true) }})?;")?;
    }
    match emitter.flexible() {
        "true" => body.push_str(&text),
        "flexible" => {
            writeln!(
                body,
                "if flexible {{ {text} }} else {{ self.unknown_tagged_fields.clear(); }}"
            )?;
        }
        _ => {}
    }
    Ok(())
}

/// Sets a field to its default, and keeps the memory of an array.
fn reset(field: &Field) -> String {
    if matches!(field.kind, Kind::Array(_)) && !field.is_option() {
        format!("self.{}.clear();", field.rust)
    } else {
        format!("self.{} = {};", field.rust, default_value(field))
    }
}

/// How a field is read.
enum Read {
    /// By an expression that is its value.
    Value(String),
    /// By a statement that fills it.
    InPlace(String),
}

/// How a field is read when the version is one of `known`.
fn read(field: &Field, flexible: &str, known: Versions) -> Read {
    let (rust, name) = (&field.rust, &field.name);
    let nullable = if field.nullable.is_empty() {
        "false".to_owned()
    } else {
        inside(field.nullable, known).unwrap_or_else(|| "true".to_owned())
    };
    match &field.kind {
        Kind::Array(element) => {
            let (method, version) = if is_struct(element) {
                ("structs", ", version")
            } else {
                ("primitives", "")
            };
            Read::InPlace(if field.is_option() {
                format!(
                    "r.nullable_{method}(&mut self.{rust}, \"{name}\", {flexible}, {nullable}{version})?;"
                )
            } else {
                format!("r.{method}(&mut self.{rust}, \"{name}\", {flexible}{version})?;")
            })
        }
        Kind::Struct(_) if field.is_option() => {
            let tagged = if field.tag.is_some() { "tagged_" } else { "" };
            Read::InPlace(format!(
                "r.nullable_{tagged}struct(&mut self.{rust}, \"{name}\", {nullable}, version)?;"
            ))
        }
        Kind::Struct(_) => Read::InPlace(format!("self.{rust}.read(r, version)?;")),
        Kind::String if field.is_option() => {
            Read::Value(format!("r.nullable_string(\"{name}\", {flexible}, {nullable})?"))
        }
        Kind::String => Read::Value(format!("r.string(\"{name}\", {flexible})?")),
        Kind::Bytes if field.is_option() => {
            Read::Value(format!("r.nullable_bytes(\"{name}\", {flexible}, {nullable})?"))
        }
        Kind::Bytes => Read::Value(format!("r.bytes(\"{name}\", {flexible})?")),
        Kind::Records => Read::Value(format!("r.records(\"{name}\", {flexible}, {nullable})?")),
        number => Read::Value(format!("r.{}()?", number_method(number))),
    }
}

/// The method of `Reader` and `Writer` for a value of fixed size.
pub(super) fn number_method(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int8 => "i8",
        Kind::Int16 => "i16",
        Kind::Uint16 => "u16",
        Kind::Int32 => "i32",
        Kind::Uint32 => "u32",
        Kind::Int64 => "i64",
        Kind::Float64 => "f64",
        Kind::Uuid => "uuid",
        Kind::String | Kind::Bytes | Kind::Records | Kind::Struct(_) | Kind::Array(_) => {
            unreachable!("values of variable size are handled by the caller")
        }
    }
}
