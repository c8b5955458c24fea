//! A message as a tree of Kafka's own field names.
//!
//! Always holds: a tree has the fields that were on the wire, in their order, and no others: a tagged field that was not
//! sent is not there. See [`crate::decode`] for how it is read and [`crate::render`] for how it is written as text.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use klamm_model::Uuid;

/// A value of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Uuid(Uuid),
    String(String),
    Bytes(Bytes),
    Records(Bytes),
    Array(Vec<Value>),
    Struct(Vec<Field>),
    /// What stands for a value that differs from run to run, written without quotes.
    Placeholder(String),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) nullable: bool,
    pub(crate) value: Value,
}

impl Value {
    /// The value at a path of field names and places, `Topics.0.TopicId` say.
    pub(crate) fn at(&self, path: &str) -> Result<&Value> {
        let mut value = self;
        for step in path.split('.') {
            let next = match value {
                Value::Struct(fields) => fields.iter().find(|f| f.name == step).map(|f| &f.value),
                Value::Array(elements) => step.parse::<usize>().ok().and_then(|at| elements.get(at)),
                _ => None,
            };
            value = next.with_context(|| format!("the answer has no {path}: {self:?}"))?;
        }
        Ok(value)
    }

    /// The number at `path`.
    pub(crate) fn int(&self, path: &str) -> Result<i64> {
        match self.at(path)? {
            Value::Int(value) => Ok(*value),
            other => bail!("{path} is no number: {other:?}"),
        }
    }

    /// The string at `path`.
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        match self.at(path)? {
            Value::String(value) => Ok(value.clone()),
            other => bail!("{path} is no string: {other:?}"),
        }
    }

    /// The id at `path`, as text.
    pub(crate) fn id(&self, path: &str) -> Result<String> {
        match self.at(path)? {
            Value::Uuid(value) => Ok(value.to_string()),
            other => bail!("{path} is no id: {other:?}"),
        }
    }

    /// The array at `path`.
    pub(crate) fn list(&self, path: &str) -> Result<&[Value]> {
        match self.at(path)? {
            Value::Array(elements) => Ok(elements),
            other => bail!("{path} is no array: {other:?}"),
        }
    }
}
