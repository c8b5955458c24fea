//! What a coordinator is looked for by: a group, a transactional id, or a partition that a share group reads (KIP-932).

use std::borrow::Cow;

use klamm_model::Uuid;

use super::Kind;

/// A key of some kind that it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Group(&'a str),
    Transaction(&'a str),
    Share(ShareKey<'a>),
}

/// A partition that a share group reads. Nobody asks whether there is such a one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShareKey<'a> {
    group: &'a str,
    topic: Uuid,
    partition: i32,
}

impl<'a> Key<'a> {
    /// The key that `text` is among those of `kind`; `None` if it cannot be one. Any text is a group or a transactional id.
    pub(crate) fn new(kind: Kind, text: &'a str) -> Option<Self> {
        match kind {
            Kind::Group => Some(Self::Group(text)),
            Kind::Transaction => Some(Self::Transaction(text)),
            Kind::Share => ShareKey::new(text).map(Self::Share),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Group(_) => Kind::Group,
            Self::Transaction(_) => Kind::Transaction,
            Self::Share(_) => Kind::Share,
        }
    }

    /// The text whose hash places the key. Two ways to write one partition are placed alike.
    pub(super) fn placed_by(&self) -> Cow<'a, str> {
        match self {
            Self::Group(text) | Self::Transaction(text) => Cow::Borrowed(text),
            Self::Share(key) => Cow::Owned(format!("{}:{}:{}", key.group, key.topic, key.partition)),
        }
    }
}

impl<'a> ShareKey<'a> {
    /// Reads `group:topic id:partition` as Kafka does: the group may hold colons, colons at the end are nothing, and the id
    /// may be padded.
    fn new(text: &'a str) -> Option<Self> {
        let mut parts = text.trim_end_matches(':').rsplitn(3, ':');
        let (partition, topic, group) = (parts.next()?, parts.next()?, parts.next()?);
        // What Java trims.
        if group.chars().all(|c| c <= ' ') {
            return None;
        }
        let topic = match topic.strip_suffix("==") {
            Some(id) if topic.len() == 24 => id,
            _ => topic,
        };
        Some(Self {
            group,
            topic: topic.parse().ok()?,
            partition: partition.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_keys_are_read_as_kafka_does() {
        const ID: &str = "BwcHBwcHBwcHBwcHBwcHBw";
        let cases = [
            ("g:ID:0", Some("g:ID:0")),
            ("g:h:ID:0", Some("g:h:ID:0")),
            (":g:ID:0", Some(":g:ID:0")),
            ("g:ID:0::", Some("g:ID:0")),
            ("g:ID==:0", Some("g:ID:0")),
            ("g:ID:+007", Some("g:ID:7")),
            ("g:ID:-1", Some("g:ID:-1")),
            ("g:ID:2147483647", Some("g:ID:2147483647")),
            ("g:ID:2147483648", None),
            ("g:ID:x", None),
            ("g:ID: 1", None),
            ("g:ID:", None),
            ("g:ID", None),
            (":ID:0", None),
            (" \t:ID:0", None),
            ("g::0", None),
            ("g:IDBw:0", None),
            ("g:ID=:0", None),
            ("g:BwcH:0", None),
            ("::", None),
            ("", None),
            ("ä", None),
        ];
        for (text, expected) in cases {
            let text = text.replace("ID", ID);
            let placed = Key::new(Kind::Share, &text).map(|key| key.placed_by().into_owned());
            assert_eq!(placed, expected.map(|text| text.replace("ID", ID)), "{text}");
        }
    }
}
