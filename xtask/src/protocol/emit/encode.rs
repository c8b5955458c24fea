//! The writing half of a struct.

use std::fmt::Write as _;

use anyhow::Result;

use super::decode::number_method;
use super::types::is_not_default;
use super::{Emitter, inside, is_struct, outside, parameter};
use crate::protocol::schema::{Field, Kind};

pub(super) fn emit(emitter: &Emitter<'_>, out: &mut String) -> Result<()> {
    let mut body = String::new();
    for field in emitter.untagged() {
        let write = format!(
            "{}{}",
            null_check(field)?,
            statement(field, emitter.flexible(), ";")
        );
        match inside(field.versions, emitter.of.versions) {
            Some(condition) => {
                writeln!(body, "if {condition} {{ {write} }} {}", loss_check(field))?;
            }
            None => writeln!(body, "{write}")?,
        }
    }
    tags(emitter, &mut body)?;
    let flexible = emitter.flexible_variable(&body);
    let version = parameter("version", &format!("{flexible}{body}"));
    let writer = parameter("w", &body);
    writeln!(
        out,
        "fn write(&self, {writer}: &mut Writer, {version}: i16) -> Result<(), EncodeError> {{"
    )?;
    writeln!(out, "{flexible}{body}Ok(())\n}}")?;
    Ok(())
}

/// What happens to a field that the version lacks.
fn loss_check(field: &Field) -> String {
    if field.ignorable {
        return String::new();
    }
    format!(
        "else if {} {{ return not_in_version(\"{}\", version); }}",
        is_not_default(field),
        field.name
    )
}

/// Refuses null where the version cannot say it.
fn null_check(field: &Field) -> Result<String> {
    let is_null = match &field.kind {
        Kind::Records => format!("self.{} == Records::Null", field.rust),
        _ if field.is_option() => format!("self.{}.is_none()", field.rust),
        _ => return Ok(String::new()),
    };
    let mut text = String::new();
    let refuse = format!("return null_in_version(\"{}\", version);", field.name);
    if field.nullable.is_empty() {
        writeln!(text, "if {is_null} {{ {refuse} }}")?;
    } else if let Some(outside) = outside(field.nullable, field.versions) {
        writeln!(text, "if {outside} && {is_null} {{ {refuse} }}")?;
    }
    Ok(text)
}

fn tags(emitter: &Emitter<'_>, body: &mut String) -> Result<()> {
    let tagged = emitter.tagged();
    for (_, field) in tagged.iter().filter(|(_, field)| !field.ignorable) {
        if let Some(outside) = outside(field.versions, emitter.of.versions) {
            writeln!(body, "if {outside} && {} {{", is_not_default(field))?;
            writeln!(body, "return not_in_version(\"{}\", version); }}", field.name)?;
        }
    }
    let mut write = String::new();
    for (tag, field) in &tagged {
        let mut set = is_not_default(field);
        if let Some(condition) = inside(field.versions, emitter.flexible_versions()) {
            set = format!("{condition} && {set}");
        }
        writeln!(write, "let has_{tag} = {set};")?;
    }
    let known: Vec<_> = tagged
        .iter()
        .map(|(tag, _)| format!("usize::from(has_{tag})"))
        .collect();
    let known = if known.is_empty() {
        "0".to_owned()
    } else {
        known.join(" + ")
    };
    let mutable = if tagged.is_empty() { "" } else { "mut " };
    writeln!(
        write,
        "let {mutable}tags = w.begin_tags({known}, &self.unknown_tagged_fields)?;"
    )?;
    for (tag, field) in &tagged {
        let check = null_check(field)?;
        let value = statement(field, "true", "");
        let value = if is_fallible(field) {
            value
        } else {
            format!("{value}; Ok(())")
        };
        writeln!(
            write,
            "if has_{tag} {{ {check} w.tag(&mut tags, {tag}, |w| {{ {value} }})?; }}"
        )?;
    }
    writeln!(write, "w.end_tags(tags)?;")?;
    match emitter.flexible() {
        "true" => body.push_str(&write),
        "flexible" => {
            writeln!(body, "if flexible {{ {write} }} else {{")?;
            writeln!(body, "w.no_tags(&self.unknown_tagged_fields, version)?; }}")?;
        }
        _ => {}
    }
    Ok(())
}

fn is_fallible(field: &Field) -> bool {
    matches!(
        field.kind,
        Kind::String | Kind::Bytes | Kind::Records | Kind::Struct(_) | Kind::Array(_)
    )
}

fn statement(field: &Field, flexible: &str, end: &str) -> String {
    let (rust, name) = (&field.rust, &field.name);
    let nullable = if field.is_option() { "nullable_" } else { "" };
    let call = match &field.kind {
        Kind::Array(element) if is_struct(element) => {
            format!("w.{nullable}structs(&self.{rust}, {flexible}, version)")
        }
        Kind::Array(_) => format!("w.{nullable}primitives(&self.{rust}, \"{name}\", {flexible})"),
        Kind::Struct(_) if field.is_option() => {
            let tagged = if field.tag.is_some() { "tagged_" } else { "" };
            format!("w.nullable_{tagged}struct(&self.{rust}, version)")
        }
        Kind::Struct(_) => format!("self.{rust}.write(w, version)"),
        Kind::String => format!("w.{nullable}string(&self.{rust}, \"{name}\", {flexible})"),
        Kind::Bytes => format!("w.{nullable}bytes(&self.{rust}, {flexible})"),
        Kind::Records => format!("w.records(&self.{rust}, {flexible})"),
        number => return format!("w.{}(self.{rust}){end}", number_method(number)),
    };
    if end.is_empty() {
        call
    } else {
        format!("{call}?{end}")
    }
}
