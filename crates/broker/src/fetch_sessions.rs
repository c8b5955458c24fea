//! Incremental fetch sessions (KIP-227): what a consumer or follower asked for before, so that it need not say it again.
//!
//! Always holds: a session belongs to one cache slot and is used by one request at a time; its epoch grows by one with
//! each answered request and wraps from the largest number to 1; partitions answer in turn, beginning behind the last
//! one that filled an answer, so that a busy partition starves no other; a session, and all of them together, remember
//! a bounded number of partitions. A client that asks for more is told that its session is gone, and gets whole answers
//! without one.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use klamm_env::hash::Map;
use klamm_model::limits::{
    MAX_FETCH_SESSION_PARTITIONS, MAX_FETCH_SESSIONS_PARTITIONS, MAX_TOPIC_NAME_CHARS,
};
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::fetch_request::FetchPartition;
use parking_lot::Mutex;

use crate::replicas::ReadOutcome;
use crate::waiters::Watch;

/// The epoch that starts a session.
pub(crate) const INITIAL_EPOCH: i32 = 0;
/// The epoch that ends one.
pub(crate) const FINAL_EPOCH: i32 = -1;
/// Room for so many partitions is kept in any case.
const SPARE: usize = 64;
/// A session that was not used for so long may be thrown out for another.
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// A partition as a fetch names it: by id since version 13, by name before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PartitionKey {
    /// Zero where the name is used.
    pub(crate) topic_id: Uuid,
    /// Empty where the id is used.
    pub(crate) topic: ByteString,
    pub(crate) partition: i32,
}

/// What is fetched from one partition, and what was last said about it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: PartitionKey,
    pub(crate) fetch_offset: i64,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
    /// What the last answer of the session said, `None` before the first.
    pub(crate) told: Option<Told>,
    /// It is entered with the [`Watch`] of its list.
    pub(crate) is_watched: bool,
    /// It is watched, has no records, and all else was told: it need not be looked at before something happens to it.
    pub(crate) is_settled: bool,
    /// It is in the session's list of those that are looked at next.
    is_listed: bool,
}

impl Wanted {
    /// What a request says of a partition.
    pub(crate) fn new(key: PartitionKey, asked: &FetchPartition) -> Self {
        Self {
            key,
            fetch_offset: asked.fetch_offset,
            current_leader_epoch: asked.current_leader_epoch,
            last_fetched_epoch: asked.last_fetched_epoch,
            max_bytes: asked.partition_max_bytes,
            told: None,
            is_watched: false,
            is_settled: false,
            is_listed: false,
        }
    }

    /// Takes over what a request says now.
    fn change(&mut self, asked: Wanted) {
        self.fetch_offset = asked.fetch_offset;
        self.current_leader_epoch = asked.current_leader_epoch;
        self.last_fetched_epoch = asked.last_fetched_epoch;
        self.max_bytes = asked.max_bytes;
    }

    /// No topic has a longer name, and memory is planned for such.
    fn may_be_remembered(&self) -> bool {
        self.key.topic.len() <= MAX_TOPIC_NAME_CHARS
    }
}

/// The figures of a partition that are repeated only when they change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) error: ErrorCode,
}

impl Told {
    /// What is told of a partition that answers with this.
    pub(crate) fn of(read: &ReadOutcome) -> Self {
        Self {
            high_watermark: read.high_watermark.0,
            log_start_offset: read.log_start_offset.0,
            error: ErrorCode::None,
        }
    }
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: i32,
    epoch: i32,
    by_id: bool,
    pub(crate) partitions: Vec<Wanted>,
    places: Map<PartitionKey, usize>,
    /// The places of those that are looked at next, each once; those that were settled then are still here.
    listed: Vec<u32>,
    /// Is told what happens to the others.
    watch: Arc<Watch>,
    /// Where the next answer begins.
    start: usize,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.watch.restart();
    }
}

impl Session {
    /// Takes over what a request adds or changes, and drops what it forgets; false if it adds more than fits into `limit`.
    fn update(
        &mut self,
        wanted: impl Iterator<Item = Wanted>,
        forgotten: impl Iterator<Item = PartitionKey>,
        limit: usize,
    ) -> bool {
        for wanted in wanted {
            match self.places.get(&wanted.key) {
                Some(&place) => {
                    self.partitions[place].change(wanted);
                    self.unsettle(place);
                }
                None if self.partitions.len() >= limit || !wanted.may_be_remembered() => return false,
                None => {
                    self.places.insert(wanted.key.clone(), self.partitions.len());
                    self.partitions.push(wanted);
                    self.unsettle(self.partitions.len() - 1);
                }
            }
        }
        let before = self.partitions.len();
        for key in forgotten {
            if let Some(place) = self.places.remove(&key) {
                self.partitions.swap_remove(place);
                if let Some(moved) = self.partitions.get(place) {
                    self.places.insert(moved.key.clone(), place);
                }
            }
        }
        if self.partitions.len() < before {
            self.begin_anew();
        }
        let room = |len: usize| 2 * len + SPARE;
        // What is counted is what is remembered: room for what was forgotten would not be.
        if self.partitions.capacity() > room(self.partitions.len()) {
            self.partitions.shrink_to_fit();
            self.places.shrink_to_fit();
            self.listed.shrink_to_fit();
        }
        true
    }

    /// Places have changed: all are looked at again.
    fn begin_anew(&mut self) {
        self.watch.restart();
        for wanted in &mut self.partitions {
            wanted.is_watched = false;
            wanted.is_settled = false;
            wanted.is_listed = true;
        }
        self.listed.clear();
        self.listed.extend((0..).take(self.partitions.len()));
    }

    /// Something is to be found out about the partition at `place`.
    fn unsettle(&mut self, place: usize) {
        let wanted = &mut self.partitions[place];
        wanted.is_settled = false;
        if !std::mem::replace(&mut wanted.is_listed, true) {
            self.listed.push(place as u32);
        }
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Puts the places of the partitions that must be looked at into `order`, in the order of this answer.
    pub(crate) fn list_due(&mut self, order: &mut Vec<u32>) {
        let watch = self.watch.clone();
        watch.take_fired(|place| {
            if let Some(wanted) = self.partitions.get_mut(place) {
                wanted.is_watched = false;
                self.unsettle(place);
            }
        });
        let partitions = &mut self.partitions;
        self.listed.retain(|place| {
            let wanted = &mut partitions[*place as usize];
            wanted.is_listed = !wanted.is_settled;
            wanted.is_listed
        });
        let count = partitions.len().max(1) as u32;
        let behind_start = count - (self.start % count as usize) as u32;
        self.listed
            .sort_unstable_by_key(|place| (place + behind_start) % count);
        order.clear();
        order.extend_from_slice(&self.listed);
    }

    /// The partition at `place` filled the answer: the next one begins behind it.
    pub(crate) fn filled_by(&mut self, place: usize) {
        self.start = place + 1;
    }
}

/// What the head of a fetch request asks for.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// All that the request names, and no session.
    Sessionless,
    /// All that the request names; a new session if there is room.
    Full,
    /// A session goes on.
    Incremental(Arc<Mutex<Session>>),
}

/// The sessions of a broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    /// Partitions of one session.
    most_each: usize,
    /// Partitions of all sessions.
    most_together: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: Map<i32, Slot>,
    /// The sizes of all slots.
    partitions: usize,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    used: Duration,
    /// Partitions, as of the last update.
    size: usize,
}

impl FetchSessions {
    /// A cache of `slots` sessions (`max.incremental.fetch.session.cache.slots`).
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots,
            most_each: MAX_FETCH_SESSION_PARTITIONS,
            most_together: MAX_FETCH_SESSIONS_PARTITIONS,
            cache: Mutex::default(),
        }
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    /// Finds out what a request with this head wants; a session it ends is forgotten. `by_id` says whether topics are
    /// named by id.
    pub(crate) fn look_up(
        &self,
        id: i32,
        epoch: i32,
        by_id: bool,
        now: Duration,
    ) -> Result<Lookup, ErrorCode> {
        let mut cache = self.cache.lock();
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            cache.remove(id);
            return Ok(if epoch == INITIAL_EPOCH {
                Lookup::Full
            } else {
                Lookup::Sessionless
            });
        }
        let slot = cache
            .sessions
            .get_mut(&id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let mut session = slot.session.lock();
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        slot.used = now;
        drop(session);
        Ok(Lookup::Incremental(slot.session.clone()))
    }

    /// Takes over what an incremental request adds, changes and forgets. `false` ends a session that is left without a
    /// partition. One that grew beyond what is remembered ends too: its client starts anew and is served without.
    pub(crate) fn update(
        &self,
        session: &Mutex<Session>,
        wanted: impl Iterator<Item = Wanted>,
        forgotten: impl Iterator<Item = PartitionKey>,
    ) -> Result<bool, ErrorCode> {
        let (id, size, fits) = {
            let mut session = session.lock();
            let fits = session.update(wanted, forgotten, self.most_each);
            (session.id, session.partitions.len(), fits)
        };
        let mut cache = self.cache.lock();
        let others = cache.partitions - cache.sessions.get(&id).map_or(0, |slot| slot.size);
        if !fits || size == 0 || others + size > self.most_together {
            cache.remove(id);
            return match fits && size == 0 {
                true => Ok(false),
                false => Err(ErrorCode::FetchSessionIdNotFound),
            };
        }
        // Another client may have been given its slot meanwhile: then this is its last answer.
        if let Some(slot) = cache.sessions.get_mut(&id) {
            slot.size = size;
            cache.partitions = others + size;
        }
        Ok(true)
    }

    /// Makes a session of a full fetch if a slot is free or can be freed; `random` proposes its id.
    pub(crate) fn create(
        &self,
        partitions: Vec<Wanted>,
        by_id: bool,
        now: Duration,
        mut random: impl FnMut() -> i32,
    ) -> Option<Arc<Mutex<Session>>> {
        if partitions.len() > self.most_each || !partitions.iter().all(Wanted::may_be_remembered) {
            return None;
        }
        let mut cache = self.cache.lock();
        while cache.partitions + partitions.len() > self.most_together {
            let old = cache.old(now)?;
            cache.remove(old);
        }
        if cache.sessions.len() >= self.slots {
            let victim = cache.old(now).or_else(|| cache.smaller_than(partitions.len()))?;
            cache.remove(victim);
        }
        let id = loop {
            let id = random() & i32::MAX;
            if id != 0 && !cache.sessions.contains_key(&id) {
                break id;
            }
        };
        let places = partitions
            .iter()
            .enumerate()
            .map(|(place, wanted)| (wanted.key.clone(), place))
            .collect();
        let size = partitions.len();
        let mut session = Session {
            id,
            epoch: 1,
            by_id,
            partitions,
            places,
            listed: Vec::with_capacity(size),
            watch: Arc::default(),
            start: 0,
        };
        session.begin_anew();
        let session = Arc::new(Mutex::new(session));
        cache.partitions += size;
        cache.sessions.insert(
            id,
            Slot {
                session: session.clone(),
                used: now,
                size,
            },
        );
        Some(session)
    }
}

impl Cache {
    fn remove(&mut self, id: i32) {
        if let Some(slot) = self.sessions.remove(&id) {
            self.partitions -= slot.size;
        }
    }

    /// The session unused for longest, if that is long enough for it to give way.
    fn old(&self, now: Duration) -> Option<i32> {
        let oldest = self.sessions.iter().min_by_key(|(id, slot)| (slot.used, **id));
        oldest
            .filter(|(_, slot)| now.saturating_sub(slot.used) > EVICTION_AGE)
            .map(|(id, _)| *id)
    }

    /// The smallest session, if it is smaller than `size`.
    fn smaller_than(&self, size: usize) -> Option<i32> {
        let sessions = self.sessions.iter();
        let smallest = sessions.min_by_key(|(id, slot)| (slot.size, slot.used, **id));
        smallest.filter(|(_, slot)| slot.size < size).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::Offset;

    use super::*;
    use crate::replicas::Isolation;
    use crate::waiters::Waiters;

    fn wanted(partition: i32) -> Wanted {
        let key = PartitionKey {
            topic_id: Uuid::ONE,
            topic: ByteString::new(),
            partition,
        };
        Wanted::new(key, &FetchPartition::default())
    }

    fn create(sessions: &FetchSessions, partitions: i32, at: u64) -> Option<i32> {
        let mut next = sessions.len() as i32 + at as i32;
        let partitions = (0..partitions).map(wanted).collect();
        let random = || {
            next += 1;
            next
        };
        sessions
            .create(partitions, true, Duration::from_secs(at), random)
            .map(|session| session.lock().id)
    }

    #[test]
    fn heads_are_judged_as_kafka_does() {
        let sessions = FetchSessions::new(10);
        let id = create(&sessions, 1, 0).unwrap();
        let now = Duration::ZERO;
        let cases = [
            (id, 2, true, Err(ErrorCode::InvalidFetchSessionEpoch)),
            (id, 1, false, Err(ErrorCode::FetchSessionTopicIdError)),
            (id + 1, 1, true, Err(ErrorCode::FetchSessionIdNotFound)),
            (id, 1, true, Ok("incremental")),
            (id, 1, true, Err(ErrorCode::InvalidFetchSessionEpoch)),
            (id, 2, true, Ok("incremental")),
            (0, 0, true, Ok("full")),
            (0, -1, true, Ok("sessionless")),
            (id, -1, true, Ok("sessionless")),
            (id, 3, true, Err(ErrorCode::FetchSessionIdNotFound)),
        ];
        for (id, epoch, by_id, expected) in cases {
            let found = sessions
                .look_up(id, epoch, by_id, now)
                .map(|lookup| match lookup {
                    Lookup::Sessionless => "sessionless",
                    Lookup::Full => "full",
                    Lookup::Incremental(_) => "incremental",
                });
            assert_eq!(found, expected, "session {id} epoch {epoch}");
        }
    }

    #[test]
    fn slots_are_freed_by_age_and_size() {
        let sessions = FetchSessions::new(2);
        let a = create(&sessions, 5, 0).unwrap();
        let b = create(&sessions, 3, 1).unwrap();
        assert_eq!(create(&sessions, 3, 2), None, "not larger than the smallest");
        let c = create(&sessions, 4, 3).unwrap();
        let has = |id| sessions.cache.lock().sessions.contains_key(&id);
        assert_eq!([has(a), has(b), has(c)], [true, false, true]);
        let d = create(&sessions, 1, 121).unwrap();
        assert_eq!(
            [has(a), has(c), has(d)],
            [false, true, true],
            "the oldest gives way when it is old"
        );
    }

    #[test]
    fn partitions_are_added_changed_forgotten_and_take_turns() {
        let sessions = FetchSessions::new(2);
        let session = sessions
            .create((0..3).map(wanted).collect(), true, Duration::ZERO, || 7)
            .unwrap();
        let mut session = session.lock();
        let told = Told {
            high_watermark: 5,
            log_start_offset: 0,
            error: ErrorCode::None,
        };
        session.partitions[1].told = Some(told);
        let changed = Wanted {
            fetch_offset: 9,
            ..wanted(1)
        };
        assert!(session.update([changed, wanted(3)].into_iter(), [wanted(0).key].into_iter(), 9));
        let mut left: Vec<_> = session
            .partitions
            .iter()
            .map(|p| (p.key.partition, p.fetch_offset, p.told))
            .collect();
        left.sort_by_key(|p| p.0);
        assert_eq!(left, [(1, 9, Some(told)), (2, 0, None), (3, 0, None)]);
        assert_eq!(looked_at(&mut session), [0, 1, 2]);
        session.filled_by(1);
        assert_eq!(looked_at(&mut session), [2, 0, 1]);
        session.filled_by(2);
        assert_eq!(looked_at(&mut session), [0, 1, 2]);
    }

    fn looked_at(session: &mut Session) -> Vec<u32> {
        let mut order = Vec::new();
        session.list_due(&mut order);
        order
    }

    #[test]
    fn what_is_settled_is_looked_at_when_something_happens_to_it() {
        let sessions = FetchSessions::new(2);
        let session = sessions
            .create((0..4).map(wanted).collect(), true, Duration::ZERO, || 7)
            .unwrap();
        let mut session = session.lock();
        let mut logs: [Waiters; 4] = Default::default();
        let settle = |session: &mut Session, logs: &mut [Waiters; 4]| {
            for (place, one) in session.partitions.iter_mut().enumerate() {
                if !std::mem::replace(&mut one.is_watched, true) {
                    let log = &mut logs[one.key.partition as usize];
                    let next = (Offset(1), Isolation::Uncommitted);
                    log.watch(next, &session.watch, place as u32);
                }
                one.is_settled = true;
            }
        };
        let nothing: [u32; 0] = [];
        assert_eq!(looked_at(&mut session), [0, 1, 2, 3], "all of a new one");
        settle(&mut session, &mut logs);
        assert_eq!(looked_at(&mut session), nothing);
        logs[3].advanced(Offset(1), Offset(1));
        logs[1].advanced(Offset(1), Offset(1));
        session.filled_by(2);
        assert_eq!(looked_at(&mut session), [3, 1], "in turn");
        assert_eq!(looked_at(&mut session), [3, 1], "until they are settled");
        settle(&mut session, &mut logs);
        assert_eq!(looked_at(&mut session), nothing);
        assert!(session.update([wanted(2)].into_iter(), [].into_iter(), 9));
        assert_eq!(looked_at(&mut session), [2], "it is asked for from elsewhere");
        settle(&mut session, &mut logs);
        assert_eq!(looked_at(&mut session), nothing);
        logs[2].advanced(Offset(1), Offset(1));
        assert!(session.update([wanted(2)].into_iter(), [].into_iter(), 9));
        assert_eq!(looked_at(&mut session), [2], "once, for both");
        settle(&mut session, &mut logs);
        logs[2].fire_all();
        assert_eq!(
            looked_at(&mut session),
            [2],
            "once, though it was settled just now"
        );
        settle(&mut session, &mut logs);
        assert!(session.update([].into_iter(), [wanted(0).key].into_iter(), 9));
        assert_eq!(looked_at(&mut session), [0, 1, 2], "places have changed");
        settle(&mut session, &mut logs);
        logs[0].fire_all();
        assert_eq!(looked_at(&mut session), nothing, "of one that was forgotten");
        logs[3].fire_all();
        let place = session.partitions.iter().position(|one| one.key.partition == 3);
        assert_eq!(looked_at(&mut session), [place.unwrap() as u32]);
    }

    #[test]
    fn a_session_keeps_no_room_for_what_it_forgot() {
        let sessions = FetchSessions::new(2);
        let session = sessions
            .create((0..10_000).map(wanted).collect(), true, Duration::ZERO, || 7)
            .unwrap();
        let mut session = session.lock();
        let forgotten = (1..10_000).map(|partition| wanted(partition).key);
        assert!(session.update([].into_iter(), forgotten, 10_000));
        assert_eq!(session.partitions.len(), 1);
        let room = [
            session.partitions.capacity(),
            session.places.capacity(),
            session.listed.capacity(),
        ];
        assert!(room.iter().all(|room| *room <= SPARE), "{room:?}");
    }

    /// The figures of ADR 10.
    #[test]
    fn what_sessions_remember_is_bounded_in_bytes() {
        // A list and a table that have just grown have twice the room, and a table leaves an eighth of it empty.
        let list = 2 * size_of::<Wanted>();
        let table = (2 * 8 * (size_of::<(PartitionKey, usize)>() + 1)).div_ceil(7);
        // Added in a request of its own, a partition has the topic's name to itself.
        let name = MAX_TOPIC_NAME_CHARS + 64;
        // Of those that are to be looked at, and of those that something has happened to.
        let places = 2 * 2 * size_of::<u32>();
        let most = |each: usize| (each + places) * MAX_FETCH_SESSIONS_PARTITIONS / 1_000_000;
        assert!(most(list + table) <= 200, "MB, by id");
        assert!(most(list + table + name) <= 360, "MB, by the longest names");
    }

    fn limited(slots: usize, most_each: usize, most_together: usize) -> FetchSessions {
        FetchSessions {
            slots,
            most_each,
            most_together,
            cache: Mutex::default(),
        }
    }

    /// An incremental request that adds and forgets partitions, answered with whether the session goes on.
    fn incremental(
        sessions: &FetchSessions,
        (id, epoch): (i32, i32),
        add: std::ops::Range<i32>,
        forget: std::ops::Range<i32>,
    ) -> Result<bool, ErrorCode> {
        match sessions.look_up(id, epoch, true, Duration::ZERO)? {
            Lookup::Incremental(session) => sessions.update(
                &session,
                add.map(wanted),
                forget.map(|partition| wanted(partition).key),
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_without_partitions_gives_its_slot_back() {
        let sessions = limited(1, 10, 10);
        let id = create(&sessions, 2, 0).unwrap();
        assert_eq!(incremental(&sessions, (id, 1), 0..0, 1..2), Ok(true));
        assert_eq!(incremental(&sessions, (id, 2), 0..1, 0..1), Ok(false));
        assert_eq!((sessions.len(), sessions.cache.lock().partitions), (0, 0));
        let gone = Err(ErrorCode::FetchSessionIdNotFound);
        assert_eq!(incremental(&sessions, (id, 3), 0..1, 0..0), gone);
    }

    #[test]
    fn sessions_do_not_grow_without_bound() {
        let gone = Err(ErrorCode::FetchSessionIdNotFound);
        let sessions = limited(9, 5, 8);
        assert_eq!(create(&sessions, 6, 0), None, "above what one may remember");
        let a = create(&sessions, 3, 0).unwrap();
        assert_eq!(incremental(&sessions, (a, 1), 3..5, 0..0), Ok(true));
        assert_eq!(create(&sessions, 4, 1), None, "above what all may remember");
        let b = create(&sessions, 3, 1).unwrap();
        assert_eq!(incremental(&sessions, (b, 1), 3..4, 0..0), gone, "all together");
        assert_eq!((sessions.len(), sessions.cache.lock().partitions), (1, 5));
        assert_eq!(incremental(&sessions, (a, 2), 5..6, 0..0), gone, "one alone");
        assert_eq!((sessions.len(), sessions.cache.lock().partitions), (0, 0));
        let mut long = wanted(0);
        long.key.topic = "n".repeat(250).into();
        let new = sessions.create(vec![long], false, Duration::ZERO, || 9);
        assert!(new.is_none(), "a name that no topic has");
        let c = create(&sessions, 5, 2).unwrap();
        let d = create(&sessions, 5, 123).unwrap();
        let ids: Vec<i32> = sessions.cache.lock().sessions.keys().copied().collect();
        assert_eq!((ids.contains(&c), ids), (false, vec![d]), "the old one gives way");
    }
}
