//! The struct and its default.

use std::fmt::Write as _;

use anyhow::Result;

use super::Emitter;
use crate::protocol::schema::{Default, Field, Kind};

pub(super) fn emit(emitter: &Emitter<'_>, out: &mut String) -> Result<()> {
    let derived = emitter.of.fields.iter().all(is_natural);
    let default = if derived { ", Default" } else { "" };
    writeln!(out, "#[derive(Debug, Clone, PartialEq{default})]")?;
    writeln!(out, "pub struct {} {{", emitter.of.name)?;
    for field in &emitter.of.fields {
        writeln!(out, "pub {}: {},", field.rust, rust_type(field))?;
    }
    if emitter.has_tags() {
        writeln!(out, "pub unknown_tagged_fields: Vec<RawTaggedField>,")?;
    }
    writeln!(out, "}}\n")?;
    if !derived {
        writeln!(out, "impl Default for {} {{", emitter.of.name)?;
        writeln!(out, "fn default() -> Self {{ Self {{")?;
        for field in &emitter.of.fields {
            writeln!(out, "{}: {},", field.rust, default_value(field))?;
        }
        if emitter.has_tags() {
            writeln!(out, "unknown_tagged_fields: Vec::new(),")?;
        }
        writeln!(out, "}} }}\n}}\n")?;
    }
    Ok(())
}

/// Whether Rust's own default is the schema's.
fn is_natural(field: &Field) -> bool {
    match field.default {
        Default::Natural => !field.is_option(),
        Default::Null => true,
        Default::Value(_) => false,
    }
}

fn plain_type(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "bool".into(),
        Kind::Int8 => "i8".into(),
        Kind::Int16 => "i16".into(),
        Kind::Uint16 => "u16".into(),
        Kind::Int32 => "i32".into(),
        Kind::Uint32 => "u32".into(),
        Kind::Int64 => "i64".into(),
        Kind::Float64 => "f64".into(),
        Kind::Uuid => "Uuid".into(),
        Kind::String => "ByteString".into(),
        Kind::Bytes => "Bytes".into(),
        Kind::Records => "Records".into(),
        Kind::Struct(name) => name.clone(),
        Kind::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.kind);
    if field.is_option() {
        format!("Option<{plain}>")
    } else {
        plain
    }
}

/// The schema's default, as an expression.
pub(super) fn default_value(field: &Field) -> String {
    let natural = match &field.kind {
        Kind::Bool => "false".into(),
        Kind::Float64 => "0.0".into(),
        Kind::Uuid => "Uuid::ZERO".into(),
        Kind::String => "ByteString::new()".into(),
        Kind::Bytes => "Bytes::new()".into(),
        Kind::Records => "Records::Null".into(),
        Kind::Struct(name) => format!("{name}::default()"),
        Kind::Array(_) => "Vec::new()".into(),
        _ => "0".to_owned(),
    };
    match &field.default {
        Default::Value(value) if value == "-2147483648" => "i32::MIN".into(),
        Default::Value(value) if value == "2147483647" => "i32::MAX".into(),
        Default::Value(value) if value == "9223372036854775807" => "i64::MAX".into(),
        Default::Value(value) => value.clone(),
        Default::Null if field.is_option() => "None".into(),
        Default::Natural if field.is_option() => format!("Some({natural})"),
        Default::Natural | Default::Null => natural,
    }
}

/// A condition that holds when the field is not at its default; `self.` precedes its name.
pub(super) fn is_not_default(field: &Field) -> String {
    let name = format!("self.{}", field.rust);
    match (&field.kind, field.is_option()) {
        (_, true) if field.default == Default::Null => format!("{name}.is_some()"),
        (Kind::String | Kind::Bytes | Kind::Array(_), true) => {
            format!("!{name}.as_ref().is_some_and(|v| v.is_empty())")
        }
        (Kind::String | Kind::Bytes | Kind::Array(_), false) => format!("!{name}.is_empty()"),
        (Kind::Bool, _) if field.default == Default::Natural => name,
        (Kind::Bool, _) => format!("!{name}"),
        _ => format!("{name} != {}", default_value(field)),
    }
}
