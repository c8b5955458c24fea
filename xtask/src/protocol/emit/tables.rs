//! The modules of the generated files, and the table of APIs.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{File, head};
use crate::protocol::names;
use crate::protocol::schema::{Group, Schema};

pub(super) fn files(schemas: &[Schema], release: &str) -> Result<Vec<File>> {
    let mut files = vec![
        File {
            path: "generated.rs".into(),
            text: root(schemas, release)?,
        },
        File {
            path: "generated/api_key.rs".into(),
            text: api_key(schemas)?,
        },
    ];
    for group in Group::ALL {
        let path = format!("generated/{}.rs", group.module());
        files.push(File {
            path,
            text: module(group, schemas)?,
        });
    }
    Ok(files)
}

fn root(schemas: &[Schema], release: &str) -> Result<String> {
    let mut text = head(&format!("All messages of Kafka {release}."));
    writeln!(
        text,
        "// Kafka documents the fields; their names are its own.\n#![allow(missing_docs)]\n"
    )?;
    writeln!(text, "pub(crate) mod api_key;")?;
    for group in Group::ALL {
        writeln!(text, "pub mod {};", group.module())?;
    }
    writeln!(
        text,
        "\n/// Every schema, sorted by name.\n#[cfg(feature = \"schema\")]"
    )?;
    writeln!(
        text,
        "pub(crate) static SCHEMAS: [&crate::schema::MessageSchema; {}] = [",
        schemas.len()
    )?;
    for schema in schemas {
        writeln!(
            text,
            "&{}::{}::SCHEMA,",
            schema.group.module(),
            names::snake(&schema.name)
        )?;
    }
    writeln!(text, "];")?;
    Ok(text)
}

fn module(group: Group, schemas: &[Schema]) -> Result<String> {
    let what = match group {
        Group::Messages => "Requests and responses.",
        Group::MetadataRecords => "The records of the metadata log.",
        Group::CoordinatorRecords => "The keys and values that coordinators write to their topics.",
        Group::RemoteLogRecords => "The records of the topic that describes tiered segments.",
        Group::DataRecords => {
            "Other structs with versions: control records, snapshots' ends, what group members exchange."
        }
    };
    let mut text = head(what);
    let members = || schemas.iter().filter(|s| s.group == group);
    for schema in members() {
        writeln!(text, "pub mod {};", names::snake(&schema.name))?;
    }
    writeln!(text)?;
    for schema in members() {
        writeln!(text, "pub use {}::{};", names::snake(&schema.name), schema.name)?;
    }
    Ok(text)
}

fn api_key(schemas: &[Schema]) -> Result<String> {
    let mut requests = Vec::new();
    for schema in schemas {
        if let Some(name) = schema.request_of() {
            requests.push((
                schema.api_key.with_context(|| format!("{name} has no number"))?,
                name,
                schema,
            ));
        }
    }
    requests.sort_by_key(|(key, ..)| *key);
    let mut text = head("The APIs by number.");
    writeln!(text, "use crate::api_key::ApiInfo;\n")?;
    writeln!(text, "/// What a request asks for.")?;
    writeln!(
        text,
        "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]"
    )?;
    writeln!(text, "pub enum ApiKey {{")?;
    for (key, name, _) in &requests {
        writeln!(text, "{name} = {key},")?;
    }
    writeln!(text, "}}\n\nimpl ApiKey {{")?;
    writeln!(
        text,
        "/// All APIs, by ascending number.\npub const ALL: [ApiKey; {}] = [",
        requests.len()
    )?;
    for (_, name, _) in &requests {
        writeln!(text, "ApiKey::{name},")?;
    }
    writeln!(text, "];\n\n/// The API with this number.")?;
    writeln!(
        text,
        "pub fn from_i16(key: i16) -> Option<ApiKey> {{ Some(match key {{"
    )?;
    for (key, name, _) in &requests {
        writeln!(text, "{key} => ApiKey::{name},")?;
    }
    writeln!(text, "_ => return None, }}) }}\n")?;
    writeln!(
        text,
        "pub(crate) const fn info(self) -> &'static ApiInfo {{ match self {{"
    )?;
    for (_, name, schema) in &requests {
        info(name, schema, &mut text)?;
    }
    writeln!(text, "}} }} }}")?;
    Ok(text)
}

fn info(name: &str, schema: &Schema, text: &mut String) -> Result<()> {
    let first_flexible = if schema.flexible.is_empty() {
        i16::MAX
    } else {
        schema.flexible.low
    };
    writeln!(
        text,
        "ApiKey::{name} => &ApiInfo {{ name: \"{name}\", min: {}, max: {}, first_flexible: {first_flexible}, \
         latest_unstable: {}, broker: {}, controller: {} }},",
        schema.versions.low, schema.versions.high, schema.latest_unstable, schema.broker, schema.controller,
    )?;
    Ok(())
}
