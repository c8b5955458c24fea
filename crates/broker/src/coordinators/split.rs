//! A request about several groups in parts, one for each shard.
//!
//! Next: `groups.rs`.

use std::collections::BTreeMap;

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;

use super::Key;
use crate::context::RequestContext;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Split {
    /// Groups by the partition that they belong to, in the order of the request.
    pub(crate) parts: BTreeMap<i32, Vec<ByteString>>,
    /// Groups that belong to none, and why.
    pub(crate) nowhere: Vec<(ByteString, ErrorCode)>,
}

/// Splits the groups of a request.
pub(crate) fn by_partition(context: &RequestContext<'_>, groups: Vec<ByteString>) -> Split {
    let mut split = Split::default();
    for group in groups {
        match context.broker.groups.partition_of(&Key::Group(&group)) {
            Ok(partition) => split.parts.entry(partition).or_default().push(group),
            Err(code) => split.nowhere.push((group, code)),
        }
    }
    split
}
