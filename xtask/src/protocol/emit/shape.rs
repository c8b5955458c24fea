//! The schema as a table, for tests, fuzzing and docs (feature `schema`).

use std::fmt::Write as _;

use anyhow::Result;

use super::types::default_value;
use crate::protocol::schema::{Default, Field, Kind, Schema};

pub(super) fn emit(schema: &Schema, out: &mut String) -> Result<()> {
    writeln!(out, "/// The schema as data.\n#[cfg(feature = \"schema\")]")?;
    writeln!(out, "pub(crate) static SCHEMA: crate::schema::MessageSchema = {{")?;
    let for_fields = if schema.structs[0].fields.is_empty() {
        ""
    } else {
        "FieldKind::*, field, "
    };
    writeln!(out, "use crate::schema::{{{for_fields}message, structure}};")?;
    let first_flexible = if schema.flexible.is_empty() {
        i16::MAX
    } else {
        schema.flexible.low
    };
    writeln!(
        out,
        "message::<{}>(\"{}\", {first_flexible}, &[",
        schema.name,
        schema.group.module()
    )?;
    for s in &schema.structs {
        writeln!(out, "structure(\"{}\", &[", s.name)?;
        for f in &s.fields {
            line(schema, f, out)?;
        }
        writeln!(out, "]),")?;
    }
    writeln!(out, "])\n}};")?;
    Ok(())
}

fn line(schema: &Schema, field: &Field, out: &mut String) -> Result<()> {
    let default = match &field.default {
        Default::Null => "null".to_owned(),
        Default::Natural => String::new(),
        Default::Value(_) => match default_value(field).as_str() {
            "i32::MIN" => i32::MIN.to_string(),
            "i32::MAX" => i32::MAX.to_string(),
            "i64::MAX" => i64::MAX.to_string(),
            value => value.to_owned(),
        },
    };
    let (versions, nullable) = (field.versions, field.nullable);
    writeln!(
        out,
        "field(\"{}\", {}, ({}, {}), ({}, {}), {:?}, \"{default}\", {}),",
        field.name,
        kind(schema, &field.kind),
        versions.low,
        versions.high,
        nullable.low,
        nullable.high,
        field.tag,
        field.ignorable,
    )?;
    Ok(())
}

fn kind(schema: &Schema, of: &Kind) -> String {
    match of {
        Kind::Struct(name) => {
            let index = schema.structs.iter().position(|s| s.name == *name);
            format!(
                "Struct({})",
                index.expect("the parser checked that the struct exists")
            )
        }
        Kind::Array(element) => format!("Array(&{})", kind(schema, element)),
        plain => plain.table_name().to_owned(),
    }
}
