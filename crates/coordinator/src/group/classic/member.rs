//! A member of a classic group, and the members of a group.
//!
//! Always holds: what [`Members`] counts is true of the members that it has; an instance id leads to the one member that has it. A
//! copy shares all that does not change, so that a decision may work on a copy of a group of thousands.
//!
//! Next: `classic.rs` for the group around them.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use crate::contract::Ticket;

/// A protocol that a member can speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// What the member says under it; for consumers, the topics that it wants.
    pub(crate) metadata: Bytes,
}

impl Protocol {
    /// Copies what a request says; of a name that comes twice, the first counts.
    pub(crate) fn copied(from: &[JoinGroupRequestProtocol]) -> Arc<[Self]> {
        let mut names = BTreeSet::new();
        let first = from.iter().filter(|protocol| names.insert(&*protocol.name));
        first
            .map(|protocol| Self {
                name: (&*protocol.name).into(),
                metadata: Bytes::copy_from_slice(&protocol.metadata),
            })
            .collect()
    }
}

/// Who waits for the answer to a JoinGroup, and in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinTicket {
    /// Who.
    pub(crate) ticket: Ticket,
    /// The version of the request.
    pub(crate) version: i16,
}

/// See the head of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    /// Its id, which the group gave.
    pub(crate) id: Arc<str>,
    /// The id that its operator gave: a member with one is *static*, and may come back as the same (KIP-345).
    pub(crate) instance_id: Option<Arc<str>>,
    /// What the client calls itself.
    pub(crate) client_id: Arc<str>,
    /// Where it was when it joined.
    pub(crate) client_host: Arc<str>,
    /// How long it may take to come back in a rebalance.
    pub(crate) rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub(crate) session_timeout_ms: i32,
    /// What it can speak, the best first.
    pub(crate) protocols: Arc<[Protocol]>,
    /// What the leader gave it.
    pub(crate) assignment: Bytes,
    /// It does not know its id yet, so it cannot tell that it lives.
    pub(crate) is_new: bool,
    /// It knows of this generation and has not asked for its assignment.
    pub(crate) owes_sync: bool,
    /// It waits for the generation to begin.
    pub(crate) join: Option<JoinTicket>,
    /// It waits for its assignment.
    pub(crate) sync: Option<Ticket>,
}

impl Member {
    /// What it says under a protocol; empty under one that it does not speak.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let spoken = self.protocols.iter().find(|own| &*own.name == protocol);
        spoken.map_or_else(Bytes::new, |own| own.metadata.clone())
    }

    /// Whether it says the same as this request.
    pub(crate) fn says(&self, protocols: &[Protocol]) -> bool {
        *self.protocols == *protocols
    }

    /// Somebody waits for it, which shows that it lives.
    pub(crate) fn waits(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}

/// A member in the order of the ids.
#[derive(Clone, Debug)]
struct ById(Arc<Member>);

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    by_id: OrdSet<ById>,
    by_instance: OrdMap<Arc<str>, Arc<str>>,
    /// How many members can speak each protocol. A member may name a great many.
    speakers: OrdMap<Arc<str>, u32>,
    awaiting_join: usize,
    owing_sync: usize,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.by_id.contains(id)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id).map(|member| &*member.0)
    }

    /// In the order of the ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.iter().map(|member| &*member.0)
    }

    /// The id of the static member with this instance id.
    pub(crate) fn by_instance(&self, instance_id: &str) -> Option<&Arc<str>> {
        self.by_instance.get(instance_id)
    }

    /// How many wait for the generation to begin.
    pub(crate) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// How many know of this generation and have not asked for their assignment.
    pub(crate) fn owing_sync(&self) -> usize {
        self.owing_sync
    }

    /// Whether every member can speak this; of no members, all can.
    pub(crate) fn all_speak(&self, protocol: &str) -> bool {
        self.speakers.get(protocol).map_or(0, |count| *count as usize) == self.len()
    }

    /// Adds a member, in the place of one with the same id.
    pub(crate) fn insert(&mut self, member: Member) {
        self.remove(&member.id);
        self.insert_absent(Arc::new(member), true);
    }

    /// Takes a member out.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<Member>> {
        self.take(id, true)
    }

    /// Changes a member, but for its ids.
    pub(crate) fn update(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let Some(before) = self.take(id, false) else {
            return;
        };
        let mut after = before.clone();
        change(Arc::make_mut(&mut after));
        if !Arc::ptr_eq(&before.protocols, &after.protocols) {
            self.count_speakers(&before.protocols, false);
            self.count_speakers(&after.protocols, true);
        }
        self.insert_absent(after, false);
    }

    /// Changes all members, but for their ids and their protocols.
    pub(crate) fn update_all(&mut self, mut change: impl FnMut(&mut Member)) {
        self.awaiting_join = 0;
        self.owing_sync = 0;
        let all = std::mem::take(&mut self.by_id);
        let changed = all.into_iter().map(|ById(mut member)| {
            change(Arc::make_mut(&mut member));
            self.awaiting_join += usize::from(member.join.is_some());
            self.owing_sync += usize::from(member.owes_sync);
            ById(member)
        });
        self.by_id = changed.collect();
    }

    fn take(&mut self, id: &str, speakers: bool) -> Option<Arc<Member>> {
        let ById(member) = self.by_id.remove(id)?;
        self.awaiting_join -= usize::from(member.join.is_some());
        self.owing_sync -= usize::from(member.owes_sync);
        if speakers {
            self.count_speakers(&member.protocols, false);
            if let Some(instance_id) = &member.instance_id
                && self.by_instance.get(instance_id) == Some(&member.id)
            {
                self.by_instance.remove(instance_id);
            }
        }
        Some(member)
    }

    fn insert_absent(&mut self, member: Arc<Member>, speakers: bool) {
        self.awaiting_join += usize::from(member.join.is_some());
        self.owing_sync += usize::from(member.owes_sync);
        if speakers {
            self.count_speakers(&member.protocols, true);
            if let Some(instance_id) = &member.instance_id {
                self.by_instance.insert(instance_id.clone(), member.id.clone());
            }
        }
        self.by_id.insert(ById(member));
    }

    fn count_speakers(&mut self, protocols: &[Protocol], more: bool) {
        for Protocol { name, .. } in protocols {
            match self.speakers.get_mut(&**name) {
                Some(count) if more => *count += 1,
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    self.speakers.remove(&**name);
                }
                None if more => {
                    self.speakers.insert(name.clone(), 1);
                }
                None => {}
            }
        }
    }
}
