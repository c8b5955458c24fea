//! The folders that lay in the log dirs at the start, until the metadata claims them: which of them is a partition's.
//!
//! Always holds: a folder that says that it is of another topic is never a partition's, whatever its name; where two say that
//! they are of the same, it is the one that was moved more often, else the one in the log dir that the cluster knows of; a
//! partition that may lie in a log dir that is out of service is not made anew.

use std::collections::BTreeMap;

use klamm_metadata::image::directory;
use klamm_model::{TopicId, TopicPartition, Uuid};

/// The partitions that lie in the log dirs: for each, in which ones.
pub(crate) type Found = BTreeMap<TopicPartition, Vec<Lying>>;

/// A partition's folder as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lying {
    /// The place of the log dir in the configuration.
    pub(crate) place: usize,
    /// Of which topic it is, if it says so.
    pub(crate) topic_id: Option<TopicId>,
    /// How often it was moved between log dirs.
    pub(crate) moves: u64,
}

/// A log dir as far as a claim looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirState {
    /// Its id; `None` if it never could be read.
    pub(super) id: Option<Uuid>,
    pub(super) online: bool,
}

/// Where a partition's folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// In this log dir, or to be made there.
    In(usize),
    /// Nowhere yet.
    New,
    /// Not to be had: why.
    Missing(String),
}

/// A partition that is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) name: &'a TopicPartition,
    pub(super) topic_id: TopicId,
    /// The log dir that the cluster knows it in.
    pub(super) directory: Option<Uuid>,
    /// Whether it may have been there before this start.
    pub(super) may_be_old: bool,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Unclaimed(Found);

impl Unclaimed {
    pub(super) fn new(found: Found) -> Self {
        Self(found)
    }

    /// Where the partition's folder is, and the folders of its name that are not its own: they are to be set aside.
    pub(super) fn claim(&mut self, claim: &Claim<'_>, dirs: &[DirState]) -> (Folder, Vec<usize>) {
        let known = claim.directory.filter(|id| !directory::is_reserved(id));
        let assigned = known.and_then(|known| dirs.iter().position(|dir| dir.id == Some(known)));
        let (own, others): (Vec<Lying>, Vec<Lying>) = self
            .0
            .remove(claim.name)
            .unwrap_or_default()
            .into_iter()
            .partition(|lying| lying.topic_id.is_none_or(|id| id == claim.topic_id));
        let mut aside: Vec<usize> = others.iter().map(|lying| lying.place).collect();
        let named = || own.iter().filter(|lying| lying.topic_id.is_some());
        let most = named().map(|lying| lying.moves).max().unwrap_or(0);
        aside.extend(
            named()
                .filter(|lying| lying.moves < most)
                .map(|lying| lying.place),
        );
        let named: Vec<usize> = named()
            .filter(|lying| lying.moves == most)
            .map(|lying| lying.place)
            .collect();
        let folder = match (&named[..], &own[..]) {
            ([], []) => missing_or_new(claim, known, assigned, dirs),
            ([place], _) => Folder::In(*place),
            // It does not say of which topic it is: whether it was only begun, or is damaged, the log finds out.
            ([], [first, rest @ ..]) => {
                let at_home = rest.iter().find(|lying| Some(lying.place) == assigned);
                Folder::In(at_home.unwrap_or(first).place)
            }
            (several, _) => match assigned.filter(|place| several.contains(place)) {
                Some(place) => {
                    aside.extend(several.iter().filter(|other| **other != place));
                    Folder::In(place)
                }
                None => {
                    Folder::Missing("it lies in several log dirs: move all but one folder away".to_owned())
                }
            },
        };
        // Claimed once it is open: until then no other folder may be made for it.
        let left: Vec<Lying> = own
            .into_iter()
            .filter(|lying| !aside.contains(&lying.place))
            .collect();
        if !left.is_empty() {
            self.0.insert(claim.name.clone(), left);
        }
        (folder, aside)
    }

    /// The partition was opened in the log dir at `place`.
    pub(super) fn opened(&mut self, name: &TopicPartition, place: usize) {
        if let Some(lying) = self.0.get_mut(name) {
            lying.retain(|lying| lying.place != place);
            if lying.is_empty() {
                self.0.remove(name);
            }
        }
    }

    /// The partition could not be opened: its folder, if there is one, stays its own.
    pub(super) fn failed(&mut self, name: &TopicPartition, lying: Lying) {
        let of_name = self.0.entry(name.clone()).or_default();
        // A folder that said nothing of its topic stays what it was.
        if of_name.iter().all(|other| other.place != lying.place) {
            of_name.push(lying);
        }
    }

    /// The folders of a partition that goes: those that are of the topic, and those of its name that do not say so.
    pub(super) fn leave(&mut self, name: &TopicPartition, id: TopicId) -> (Vec<usize>, Vec<usize>) {
        let (mut own, mut unknown) = (Vec::new(), Vec::new());
        let mut left = self.0.remove(name).unwrap_or_default();
        left.retain(|lying| {
            match lying.topic_id {
                Some(of) if of == id => own.push(lying.place),
                Some(_) => return true,
                None => unknown.push(lying.place),
            }
            false
        });
        if !left.is_empty() {
            self.0.insert(name.clone(), left);
        }
        (own, unknown)
    }

    /// Takes out the folders that are not `known`.
    pub(super) fn strays(
        &mut self,
        known: impl Fn(&TopicPartition, Option<TopicId>) -> bool,
    ) -> Vec<(TopicPartition, Lying)> {
        let mut strays = Vec::new();
        self.0.retain(|name, lying| {
            lying.retain(|one| {
                let is_known = known(name, one.topic_id);
                if !is_known {
                    strays.push((name.clone(), *one));
                }
                is_known
            });
            !lying.is_empty()
        });
        strays
    }
}

fn missing_or_new(
    claim: &Claim<'_>,
    known: Option<Uuid>,
    assigned: Option<usize>,
    dirs: &[DirState],
) -> Folder {
    match (known, assigned) {
        (Some(_), Some(place)) if dirs[place].online => Folder::In(place),
        (Some(known), _) => Folder::Missing(format!(
            "it is in the log dir with directory.id {known}, which is not in service: is its disk there, and its folder \
             named in log.dirs?"
        )),
        (None, _) if claim.may_be_old && dirs.iter().any(|dir| !dir.online) => {
            Folder::Missing("it may be in a log dir that is out of service".to_owned())
        }
        (None, _) => Folder::New,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TopicId = Uuid([7; 16]);
    const OTHER: TopicId = Uuid([8; 16]);

    fn dir(number: u8, online: bool) -> DirState {
        DirState {
            id: Some(Uuid([100 + number; 16])),
            online,
        }
    }

    #[test]
    fn of_the_folders_of_a_name_the_partition_gets_its_own() {
        let gone = DirState {
            id: None,
            online: false,
        };
        let both = [dir(0, true), dir(1, true)];
        let second_failed = [dir(0, true), gone];
        let (own, other, silent) = (Some(ID), Some(OTHER), None);
        let at = |number: u8| Some(Uuid([100 + number; 16]));
        let missing = Folder::Missing(String::new());
        type Case<'a> = (
            &'a [(usize, Option<TopicId>)],
            Option<Uuid>,
            bool,
            &'a [DirState],
            Folder,
            &'a [usize],
        );
        let cases: [Case<'_>; 14] = [
            // Nothing there.
            (&[], None, true, &both, Folder::New, &[]),
            (&[], Some(directory::UNASSIGNED), true, &both, Folder::New, &[]),
            (&[], at(1), true, &both, Folder::In(1), &[]),
            (&[], at(1), true, &second_failed, missing.clone(), &[]),
            (&[], at(5), true, &both, missing.clone(), &[]),
            (&[], None, true, &second_failed, missing.clone(), &[]),
            (&[], None, false, &second_failed, Folder::New, &[]),
            // One, wherever it is.
            (&[(0, own)], at(1), true, &both, Folder::In(0), &[]),
            (&[(0, silent)], None, true, &both, Folder::In(0), &[]),
            // A namesake.
            (&[(0, other)], None, false, &both, Folder::New, &[0]),
            (&[(0, other), (1, own)], None, true, &both, Folder::In(1), &[0]),
            (&[(0, silent), (1, own)], at(0), true, &both, Folder::In(1), &[]),
            // Twice.
            (&[(0, own), (1, own)], at(1), true, &both, Folder::In(1), &[0]),
            (&[(0, own), (1, own)], at(5), true, &both, missing, &[]),
        ];
        let name = TopicPartition::new("t", 3);
        for (number, (found, directory, may_be_old, dirs, folder, aside)) in cases.into_iter().enumerate() {
            let lying = found.iter().map(|(place, topic_id)| Lying {
                place: *place,
                topic_id: *topic_id,
                moves: 0,
            });
            let mut unclaimed = Unclaimed::new([(name.clone(), lying.collect())].into());
            let claim = Claim {
                name: &name,
                topic_id: ID,
                directory,
                may_be_old,
            };
            let (claimed, set_aside) = unclaimed.claim(&claim, dirs);
            match (&claimed, &folder) {
                (Folder::Missing(_), Folder::Missing(_)) => {}
                _ => assert_eq!(claimed, folder, "{number}"),
            }
            assert_eq!(set_aside, aside, "{number}");
        }
    }

    #[test]
    fn of_two_folders_of_a_partition_the_one_that_was_moved_more_often_is_it() {
        let name = TopicPartition::new("t", 3);
        for (moves, folder, aside) in [([0, 1], 1, 0), ([2, 1], 0, 1)] {
            let lying = [0, 1].map(|place| Lying {
                place,
                topic_id: Some(ID),
                moves: moves[place],
            });
            let mut unclaimed = Unclaimed::new([(name.clone(), lying.to_vec())].into());
            let claim = Claim {
                name: &name,
                topic_id: ID,
                directory: Some(Uuid([100 + aside; 16])),
                may_be_old: true,
            };
            let claimed = unclaimed.claim(&claim, &[dir(0, true), dir(1, true)]);
            assert_eq!(claimed, (Folder::In(folder), vec![usize::from(aside)]));
        }
    }

    #[test]
    fn what_was_opened_is_claimed_and_what_failed_stays() {
        let name = TopicPartition::new("t", 0);
        let lying = |place, topic_id| Lying {
            place,
            topic_id,
            moves: 0,
        };
        let mut unclaimed = Unclaimed::new([(name.clone(), vec![lying(0, None)])].into());
        unclaimed.failed(&name, lying(0, Some(ID)));
        assert_eq!(
            unclaimed.leave(&name, ID),
            (vec![], vec![0]),
            "it still says nothing"
        );
        unclaimed.failed(&name, lying(1, Some(ID)));
        unclaimed.failed(&name, lying(0, Some(OTHER)));
        assert_eq!(unclaimed.leave(&name, ID), (vec![1], vec![]));
        assert_eq!(
            unclaimed.strays(|_, id| id == Some(ID)),
            [(name.clone(), lying(0, Some(OTHER)))]
        );
        unclaimed.failed(&name, lying(1, Some(ID)));
        unclaimed.opened(&name, 1);
        assert_eq!(unclaimed.strays(|_, _| false), []);
    }
}
