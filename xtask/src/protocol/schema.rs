//! What is known about a message once its schema was read.
//!
//! Always holds: versions are bounded (`3+` ends at the message's newest version), a field's versions lie within those
//! of its struct, and fields that no valid version has are gone.

use anyhow::{Context, Result, bail};

/// A range of versions; empty when `low > high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) low: i16,
    pub(super) high: i16,
}

impl Versions {
    pub(super) const NONE: Versions = Versions { low: 0, high: -1 };

    /// Reads `none`, `3`, `0-12` or `4+`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let number = |text: &str| {
            text.trim()
                .parse::<i16>()
                .with_context(|| format!("versions '{text}'"))
        };
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(low) = text.strip_suffix('+') {
            return Ok(Versions {
                low: number(low)?,
                high: i16::MAX,
            });
        }
        match text.split_once('-') {
            Some((low, high)) => Ok(Versions {
                low: number(low)?,
                high: number(high)?,
            }),
            None => Ok(Versions {
                low: number(text)?,
                high: number(text)?,
            }),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub(super) fn within(self, other: Versions) -> Versions {
        Versions {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        }
    }

    pub(super) fn covers(self, other: Versions) -> bool {
        self.low <= other.low && self.high >= other.high
    }

    pub(super) fn contains(self, version: i16) -> bool {
        (self.low..=self.high).contains(&version)
    }
}

/// The type of a field or of an array's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Kind>),
}

impl Kind {
    pub(super) fn parse(text: &str) -> Result<Self> {
        if let Some(element) = text.strip_prefix("[]") {
            return match Kind::parse(element)? {
                Kind::Array(_) | Kind::Records | Kind::Bytes | Kind::Bool => bail!("arrays of {element}"),
                element => Ok(Kind::Array(Box::new(element))),
            };
        }
        Ok(match text {
            "bool" => Kind::Bool,
            "int8" => Kind::Int8,
            "int16" => Kind::Int16,
            "uint16" => Kind::Uint16,
            "int32" => Kind::Int32,
            "uint32" => Kind::Uint32,
            "int64" => Kind::Int64,
            "float64" => Kind::Float64,
            "uuid" => Kind::Uuid,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            _ if text.starts_with(|c: char| c.is_ascii_uppercase()) => Kind::Struct(text.to_owned()),
            _ => bail!("type '{text}'"),
        })
    }

    /// The name in [`crate::protocol`]'s tables, of types without parts.
    pub(super) fn table_name(&self) -> &'static str {
        match self {
            Kind::Bool => "Bool",
            Kind::Int8 => "Int8",
            Kind::Int16 => "Int16",
            Kind::Uint16 => "Uint16",
            Kind::Int32 => "Int32",
            Kind::Uint32 => "Uint32",
            Kind::Int64 => "Int64",
            Kind::Float64 => "Float64",
            Kind::Uuid => "Uuid",
            Kind::String => "String",
            Kind::Bytes => "Bytes",
            Kind::Records => "Records",
            Kind::Struct(_) => "Struct",
            Kind::Array(_) => "Array",
        }
    }
}

/// What a field is when a version lacks it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Default {
    /// Null.
    Null,
    /// Zero, false, empty, or a struct of defaults.
    Natural,
    /// Another number, or true.
    Value(String),
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Kafka's name.
    pub(super) name: String,
    /// Rust's name.
    pub(super) rust: String,
    pub(super) kind: Kind,
    pub(super) versions: Versions,
    /// The versions in which it may be null.
    pub(super) nullable: Versions,
    pub(super) tag: Option<u32>,
    pub(super) default: Default,
    /// Whether a value may be lost silently when the version lacks the field.
    pub(super) ignorable: bool,
}

impl Field {
    /// Whether the Rust type is an `Option`; of records, null is one of the cases.
    pub(super) fn is_option(&self) -> bool {
        self.kind != Kind::Records && !self.nullable.is_empty()
    }
}

#[derive(Debug, Clone)]
pub(super) struct Struct {
    pub(super) name: String,
    pub(super) versions: Versions,
    pub(super) fields: Vec<Field>,
}

/// Where the generated type lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Messages,
    MetadataRecords,
    CoordinatorRecords,
    RemoteLogRecords,
    DataRecords,
}

impl Group {
    pub(super) const ALL: [Group; 5] = [
        Group::Messages,
        Group::MetadataRecords,
        Group::CoordinatorRecords,
        Group::RemoteLogRecords,
        Group::DataRecords,
    ];

    pub(super) fn module(self) -> &'static str {
        match self {
            Group::Messages => "messages",
            Group::MetadataRecords => "metadata_records",
            Group::CoordinatorRecords => "coordinator_records",
            Group::RemoteLogRecords => "remote_log_records",
            Group::DataRecords => "data_records",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) group: Group,
    pub(super) api_key: Option<i16>,
    pub(super) versions: Versions,
    /// The versions with compact lengths and tagged fields.
    pub(super) flexible: Versions,
    /// The message itself first, then the structs in it.
    pub(super) structs: Vec<Struct>,
    pub(super) broker: bool,
    pub(super) controller: bool,
    pub(super) latest_unstable: bool,
}

impl Schema {
    /// The name of the API, if this is a request.
    pub(super) fn request_of(&self) -> Option<&str> {
        if self.group == Group::Messages {
            self.name.strip_suffix("Request")
        } else {
            None
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|s| s.name == name)
    }

    /// The fewest bytes of a struct in any of its versions.
    pub(super) fn min_bytes(&self, of: &Struct) -> usize {
        (of.versions.low..=of.versions.high)
            .map(|version| self.min_bytes_at(of, version))
            .min()
            .unwrap_or(0)
    }

    fn min_bytes_at(&self, of: &Struct, version: i16) -> usize {
        let flexible = self.flexible.contains(version);
        let fields = of
            .fields
            .iter()
            .filter(|f| f.tag.is_none() && f.versions.contains(version));
        let sizes = fields.map(|field| match &field.kind {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 | Kind::Uint32 => 4,
            Kind::Int64 | Kind::Float64 => 8,
            Kind::Uuid => 16,
            Kind::String => {
                if flexible {
                    1
                } else {
                    2
                }
            }
            Kind::Bytes | Kind::Records | Kind::Array(_) => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Kind::Struct(_) if field.nullable.contains(version) => 1,
            Kind::Struct(name) => self
                .find(name)
                .map_or(0, |inner| self.min_bytes_at(inner, version)),
        });
        sizes.sum::<usize>() + usize::from(flexible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("none", (0, -1)),
            ("3", (3, 3)),
            ("0-12", (0, 12)),
            ("4+", (4, i16::MAX)),
        ];
        for (text, (low, high)) in cases {
            assert_eq!(Versions::parse(text).unwrap(), Versions { low, high }, "{text}");
        }
        assert!(Versions::parse("4-x").is_err());
    }
}
