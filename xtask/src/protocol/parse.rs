//! Reads a schema: JSON with comments, whose attributes are those of Kafka's own message generator.
//!
//! Always holds: an attribute, a type or a combination that is not known is an error, never passed over.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::jars::Source;
use super::names;
use super::schema::{Default, Field, Group, Kind, Schema, Struct, Versions};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSchema {
    api_key: Option<i16>,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    valid_versions: String,
    flexible_versions: Option<String>,
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(default)]
    common_structs: Vec<RawStruct>,
    #[serde(default)]
    listeners: Vec<String>,
    #[serde(default)]
    latest_version_unstable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawStruct {
    name: String,
    #[serde(rename = "versions")]
    _versions: String,
    #[serde(rename = "about")]
    _about: Option<Value>,
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawField {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    flexible_versions: Option<String>,
    tag: Option<u32>,
    #[serde(default)]
    default: Value,
    #[serde(default)]
    ignorable: bool,
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(rename = "about")]
    _about: Option<Value>,
    #[serde(rename = "entityType")]
    _entity_type: Option<Value>,
    #[serde(rename = "mapKey")]
    _map_key: Option<Value>,
    #[serde(rename = "zeroCopy")]
    _zero_copy: Option<Value>,
}

/// The schema, unless it is one of those that are not generated: headers, and APIs without a valid version.
pub(super) fn schema(source: &Source) -> Result<Option<Schema>> {
    let raw: RawSchema = serde_json::from_str(&without_comments(&source.text))?;
    let versions = Versions::parse(&raw.valid_versions)?;
    if versions.is_empty() || raw.kind == "header" {
        return Ok(None);
    }
    let group = match raw.kind.as_str() {
        "request" | "response" => Group::Messages,
        "metadata" if source.jar == "kafka-metadata" => Group::MetadataRecords,
        "metadata" => Group::RemoteLogRecords,
        "coordinator-key" | "coordinator-value" => Group::CoordinatorRecords,
        "data" => Group::DataRecords,
        kind => bail!("schemas of type '{kind}'"),
    };
    let flexible = Versions::parse(raw.flexible_versions.as_deref().unwrap_or("none"))?.within(versions);
    ensure!(
        flexible.is_empty() || flexible.high == versions.high,
        "versions that are flexible no more"
    );
    let mut structs = Vec::new();
    collect(
        &names::upper_first(&raw.name),
        versions,
        &raw.fields,
        &mut structs,
    )?;
    for common in &raw.common_structs {
        collect(
            &names::upper_first(&common.name),
            versions,
            &common.fields,
            &mut structs,
        )?;
    }
    let schema = Schema {
        name: raw.name,
        group,
        api_key: raw.api_key,
        versions,
        flexible,
        structs,
        broker: raw.listeners.iter().any(|l| l == "broker"),
        controller: raw.listeners.iter().any(|l| l == "controller"),
        latest_unstable: raw.latest_version_unstable,
    };
    check(&schema)?;
    Ok(Some(schema))
}

fn collect(name: &str, versions: Versions, fields: &[RawField], structs: &mut Vec<Struct>) -> Result<()> {
    let index = structs.len();
    structs.push(Struct {
        name: name.to_owned(),
        versions,
        fields: Vec::new(),
    });
    for raw in fields {
        let field = field(raw, versions).with_context(|| format!("field {}", raw.name))?;
        let Some(field) = field else {
            continue;
        };
        if !raw.fields.is_empty() {
            let inner = match &field.kind {
                Kind::Struct(name) => name,
                Kind::Array(element) => match element.as_ref() {
                    Kind::Struct(name) => name,
                    _ => bail!("{} has fields, but is no struct", raw.name),
                },
                _ => bail!("{} has fields, but is no struct", raw.name),
            };
            collect(inner, field.versions, &raw.fields, structs)?;
        }
        structs[index].fields.push(field);
    }
    Ok(())
}

fn field(raw: &RawField, within: Versions) -> Result<Option<Field>> {
    let written = raw
        .versions
        .as_ref()
        .or(raw.tagged_versions.as_ref())
        .context("it has no versions")?;
    let versions = Versions::parse(written)?.within(within);
    if versions.is_empty() {
        return Ok(None);
    }
    ensure!(
        raw.flexible_versions.is_none(),
        "flexible versions of a single field"
    );
    let tagged = Versions::parse(raw.tagged_versions.as_deref().unwrap_or("none"))?.within(within);
    ensure!(
        tagged.is_empty() != raw.tag.is_some(),
        "a tag without versions, or versions without a tag"
    );
    ensure!(
        tagged.is_empty() || tagged == versions,
        "a field that is tagged in some of its versions only"
    );
    let kind = Kind::parse(&raw.kind)?;
    let nullable = Versions::parse(raw.nullable_versions.as_deref().unwrap_or("none"))?.within(versions);
    Ok(Some(Field {
        rust: names::field(&raw.name),
        name: names::upper_first(&raw.name),
        default: default(&raw.default, &kind)?,
        kind,
        versions,
        nullable,
        tag: raw.tag,
        ignorable: raw.ignorable,
    }))
}

fn default(value: &Value, kind: &Kind) -> Result<Default> {
    let text = match value {
        Value::Null => return Ok(Default::Natural),
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Array(_) | Value::Object(_) => bail!("default {value}"),
    };
    let number = || match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse::<i64>(),
    };
    Ok(match (text.as_str(), kind) {
        ("null", Kind::String | Kind::Bytes | Kind::Records | Kind::Struct(_) | Kind::Array(_)) => {
            Default::Null
        }
        ("", _) | ("false", Kind::Bool) => Default::Natural,
        ("true", Kind::Bool) => Default::Value(text),
        (_, Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Uint32 | Kind::Int64) => {
            match number()? {
                0 => Default::Natural,
                number => Default::Value(number.to_string()),
            }
        }
        _ => bail!("default '{text}'"),
    })
}

/// What the emitted code relies on.
fn check(schema: &Schema) -> Result<()> {
    let mut names = BTreeSet::new();
    for (index, s) in schema.structs.iter().enumerate() {
        ensure!(names.insert(&s.name), "two structs are called {}", s.name);
        for field in &s.fields {
            let name = match &field.kind {
                Kind::Struct(name) => name,
                Kind::Array(element) => match element.as_ref() {
                    Kind::Struct(name) => name,
                    _ => continue,
                },
                _ => continue,
            };
            ensure!(schema.find(name).is_some(), "there is no struct {name}");
        }
        ensure!(depth(schema, index, 0).is_some(), "{} contains itself", s.name);
        let tags: Vec<_> = s.fields.iter().filter_map(|f| f.tag).collect();
        ensure!(
            tags.iter().collect::<BTreeSet<_>>().len() == tags.len(),
            "two fields of {} have one tag",
            s.name
        );
    }
    Ok(())
}

fn depth(schema: &Schema, index: usize, above: usize) -> Option<usize> {
    if above > schema.structs.len() {
        return None;
    }
    let mut deepest = above;
    for field in &schema.structs[index].fields {
        let kind = match &field.kind {
            Kind::Array(element) => element.as_ref(),
            kind => kind,
        };
        if let Kind::Struct(name) = kind {
            let inner = schema.structs.iter().position(|s| s.name == *name)?;
            deepest = deepest.max(depth(schema, inner, above + 1)?);
        }
    }
    Some(deepest)
}

/// Drops `//` comments outside of strings.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let (mut in_string, mut previous) = (false, ' ');
        for (i, c) in line.char_indices() {
            if c == '"' && previous != '\\' {
                in_string = !in_string;
            }
            if !in_string && line[i..].starts_with("//") {
                break;
            }
            out.push(c);
            previous = c;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Schema>> {
        schema(&Source {
            jar: "kafka-clients",
            path: String::new(),
            text: text.to_owned(),
        })
    }

    fn with_field(field: &str) -> String {
        format!(
            r#"{{"type":"data","name":"D","validVersions":"1-3","flexibleVersions":"2+","fields":[{field}]}}"#
        )
    }

    #[test]
    fn comments_are_dropped_and_links_kept() {
        let text = "// a \"comment\n{ \"a\": \"http://b\", // c\n  \"d\": 1 }";
        assert_eq!(
            without_comments(text),
            "\n{ \"a\": \"http://b\", \n  \"d\": 1 }\n"
        );
    }

    #[test]
    fn fields_are_bounded_by_the_message() {
        let text = with_field(
            r#"{"name":"A","type":"int32","versions":"0+","nullableVersions":"none","default":"-1"}"#,
        );
        let schema = parse(&text).unwrap().unwrap();
        let field = &schema.structs[0].fields[0];
        assert_eq!(field.versions, Versions { low: 1, high: 3 });
        assert_eq!(field.default, Default::Value("-1".into()));
        assert_eq!(schema.flexible, Versions { low: 2, high: 3 });
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for field in [
            r#"{"name":"A","type":"int33","versions":"0+"}"#,
            r#"{"name":"A","type":"int32","versions":"0+","novelty":true}"#,
            r#"{"name":"A","type":"[]Gone","versions":"0+"}"#,
            r#"{"name":"A","type":"string","versions":"0+","tag":1}"#,
            r#"{"name":"A","type":"string","versions":"0+","taggedVersions":"2+","tag":1}"#,
            r#"{"name":"A","type":"string","versions":"0+","default":"x"}"#,
            r#"{"name":"A","type":"B","versions":"0+","fields":[{"name":"C","type":"[]B","versions":"0+"}]}"#,
        ] {
            assert!(parse(&with_field(field)).is_err(), "{field}");
        }
    }
}
