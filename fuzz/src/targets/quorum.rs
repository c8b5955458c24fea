//! The metadata log's files, and the messages between its voters.
//!
//! Always holds: a folder gives a quorum or an error; a quorum that started takes a proposal, or says why not; a message
//! is answered or refused. Entries reach the state machine in order, each once. The first byte of a folder says whether
//! checksums are set right before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use klamm_env::network::BoxFuture;
use klamm_env::sim::World;
use klamm_model::Uuid;
use klamm_protocol::schema::sample::Seed;
use klamm_quorum::{
    Endpoint, NoPeers, Position, Quorum, QuorumConfig, ReplayError, StateMachine, Transport, TransportError,
};
use parking_lot::Mutex;

use super::folder::{self, NamedFile};

const FOLDER: &str = "/data/metadata";
const CLUSTER: Uuid = Uuid([3; 16]);
/// Bytes of a message before the number of the node that it is for.
const TO_AT: usize = 18;
/// Bytes of what stands before the entries of a segment, and before the payload of each.
const SEGMENT_HEADER_BYTES: usize = 48;
const FRAME_HEADER_BYTES: usize = 52;

fn config(node: i32, voters: &[i32]) -> QuorumConfig {
    let voters = voters
        .iter()
        .map(|id| (*id, Endpoint::new(format!("node-{id}"), 9093)));
    QuorumConfig {
        segment_bytes: 300,
        entries_behind_snapshot: 1,
        ..QuorumConfig::new(node, voters.collect(), FOLDER, CLUSTER)
    }
}

/// Remembers how many decisions it was given, and insists on their order.
#[derive(Default)]
struct Counter(Mutex<(Option<Position>, u64)>);

impl StateMachine for Counter {
    fn apply(&self, position: Position, entry: Option<Bytes>) -> Result<(), ReplayError> {
        let (last, count) = &mut *self.0.lock();
        if let Some(last) = last {
            assert_eq!(
                position.index,
                last.index + 1,
                "entries arrive in order, each once"
            );
            assert!(position.term >= last.term, "terms do not fall");
        }
        *last = Some(position);
        // A snapshot may say any number.
        *count = count.wrapping_add(u64::from(entry.is_some()));
        Ok(())
    }

    fn snapshot(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.lock().1.to_be_bytes())
    }

    fn restore(&self, position: Position, snapshot: Bytes) -> Result<(), ReplayError> {
        let count = snapshot[..].try_into().map(u64::from_be_bytes);
        let count = count.map_err(|_| ReplayError("a count has eight bytes".into()))?;
        *self.0.lock() = (Some(position), count);
        Ok(())
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(20), work).await.ok()
}

/// Files that a quorum of one leaves behind.
pub(super) fn sample_folder(seed: &mut Seed) -> Vec<u8> {
    let world = World::new(seed.next_u64());
    let runtime = super::paused_runtime();
    runtime.block_on(async {
        let (env, machine) = (world.env("node-1"), Arc::new(Counter::default()));
        let quorum = Quorum::start(env, config(1, &[1]), machine, Arc::new(NoPeers)).await;
        let quorum = quorum.expect("an empty disk takes a quorum");
        for _ in 0..seed.below(6) {
            let decision = vec![seed.next_u64() as u8; seed.below(200)];
            quorum.propose(decision.into()).await.expect("it is alone");
            if seed.below(4) == 0 {
                quorum.snapshot();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        quorum.shutdown().await;
    });
    let mut input = vec![seed.below(2) as u8];
    folder::pack(
        &folder::read(&world.disk("node-1"), Path::new(FOLDER)),
        &mut input,
    );
    input
}

/// Sets the checksums right.
fn seal(files: &mut [NamedFile]) {
    for (_, contents) in files {
        if !contents.starts_with(b"KLMraf") {
            if let Some(end) = contents.len().checked_sub(4) {
                let crc = folder::crc32c(&contents[..end]);
                contents[end..].copy_from_slice(&crc);
            }
            continue;
        }
        let Some((header, mut rest)) = contents.split_at_mut_checked(SEGMENT_HEADER_BYTES) else {
            continue;
        };
        let (covered, crc) = header.split_at_mut(SEGMENT_HEADER_BYTES - 4);
        crc.copy_from_slice(&folder::crc32c(covered));
        while rest.len() >= FRAME_HEADER_BYTES {
            let (frame, behind) = rest.split_at_mut(FRAME_HEADER_BYTES);
            let length = u32::from_be_bytes(frame[8..12].try_into().expect("four bytes")) as usize;
            let (payload, behind) = behind.split_at_mut(length.min(behind.len()));
            frame[12..16].copy_from_slice(&folder::crc32c(payload));
            let crc = folder::crc32c(&frame[8..]);
            frame[4..8].copy_from_slice(&crc);
            rest = behind;
        }
    }
}

pub(super) fn run_folder(input: &[u8]) {
    let Some((how, packed)) = input.split_first() else {
        return;
    };
    let mut files = folder::unpack(packed);
    if how & 1 == 1 {
        seal(&mut files);
    }
    let world = World::new(1);
    let env = world.env("node-1");
    folder::write(&files, env.files(), Path::new(FOLDER));
    world.disk("node-1").sync_all();
    super::paused_runtime().block_on(async {
        // The second start reads what the first one made of the files.
        for _ in 0..2 {
            let machine = Arc::new(Counter::default());
            let start = Quorum::start(env.clone(), config(1, &[1]), machine, Arc::new(NoPeers));
            let Some(started) = within(start).await else {
                panic!("a start comes to its end");
            };
            let Ok(quorum) = started else { return };
            let _ = within(quorum.propose(Bytes::from_static(b"a decision"))).await;
            quorum.snapshot();
            let _ = quorum.describe();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(
                within(quorum.shutdown()).await.is_some(),
                "a shutdown comes to its end"
            );
        }
    });
}

/// Hands messages over in memory, and keeps them.
#[derive(Clone, Default)]
struct Wire {
    quorums: Arc<Mutex<BTreeMap<i32, Quorum>>>,
    messages: Arc<Mutex<Vec<Bytes>>>,
    answers: Arc<Mutex<Vec<Bytes>>>,
}

impl Transport for Wire {
    fn send(
        &self,
        to: i32,
        _: &Endpoint,
        message: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let wire = self.clone();
        Box::pin(async move {
            wire.messages.lock().push(message.clone());
            tokio::time::sleep(Duration::from_millis(1)).await;
            let target = wire.quorums.lock().get(&to).cloned();
            let target = target.ok_or_else(|| TransportError("not there yet".into()))?;
            let answer = target.handle(message).await;
            let answer = answer.map_err(|error| TransportError(error.to_string()))?;
            wire.answers.lock().push(answer.clone());
            Ok(answer)
        })
    }
}

/// What three voters say to each other until they have done some work.
fn conversation(seed: &mut Seed) -> Wire {
    let world = World::new(seed.next_u64());
    let wire = Wire::default();
    let proposals = seed.below(4);
    super::paused_runtime().block_on(async {
        for id in 1..=3 {
            let env = world.env(&format!("node-{id}"));
            let machine = Arc::new(Counter::default());
            let quorum = Quorum::start(env, config(id, &[1, 2, 3]), machine, Arc::new(wire.clone())).await;
            wire.quorums
                .lock()
                .insert(id, quorum.expect("an empty disk takes a quorum"));
        }
        let quorums: Vec<Quorum> = wire.quorums.lock().values().cloned().collect();
        let _ = within(quorums[0].wait_for_leader()).await;
        for quorum in &quorums {
            for _ in 0..proposals {
                let _ = within(quorum.propose(Bytes::from_static(b"a decision"))).await;
            }
        }
        wire.quorums.lock().clear();
        for quorum in &quorums {
            quorum.shutdown().await;
        }
    });
    wire
}

/// Something that one of three voters says to another, as if to the first.
pub(super) fn sample_message(seed: &mut Seed) -> Vec<u8> {
    let wire = conversation(seed);
    let messages = std::mem::take(&mut *wire.messages.lock());
    let message = match seed.below(messages.len() + messages.len() / 4 + 1) {
        index if index < messages.len() => messages[index].clone(),
        _ => snapshot_message(seed),
    };
    let mut message = message.to_vec();
    message[TO_AT..TO_AT + 8].copy_from_slice(&1_u64.to_be_bytes());
    message
}

/// A snapshot of a leader, which the others need only after a long absence.
fn snapshot_message(seed: &mut Seed) -> Bytes {
    let (term, index) = (2 + seed.below(2) as u64, seed.below(20) as u64);
    let mut to = BytesMut::new();
    to.put_slice(&[1, 4]);
    to.put_slice(&CLUSTER.0);
    to.put_u64(1);
    // The vote of an elected leader.
    to.put_u64(term);
    to.put_u64(2);
    to.put_u8(1);
    // The last entry, the entry of the membership, the membership.
    for index in [index, 0] {
        to.put_u8(1);
        to.put_u64(if index == 0 { 0 } else { term });
        to.put_u64(index);
    }
    to.put_u16(1);
    to.put_u16(3);
    for id in 1..=3 {
        to.put_u64(id);
    }
    to.put_u16(3);
    for id in 1..=3 {
        to.put_u64(id);
        to.put_u16(6);
        to.put_slice(format!("node-{id}").as_bytes());
        to.put_u16(9093);
    }
    to.put_u64(5);
    to.freeze()
}

/// One message to a new node: of several that contradict each other, Raft promises nothing.
pub(super) fn run_message(input: &[u8]) {
    let world = World::new(1);
    super::paused_runtime().block_on(async {
        let machine = Arc::new(Counter::default());
        let start = Quorum::start(
            world.env("node-1"),
            config(1, &[1, 2, 3]),
            machine,
            Arc::new(NoPeers),
        );
        let quorum = start.await.expect("an empty disk takes a quorum");
        let answer = within(quorum.handle(Bytes::copy_from_slice(input))).await;
        assert!(answer.is_some(), "a message is answered");
        let _ = quorum.describe();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(
            within(quorum.shutdown()).await.is_some(),
            "a shutdown comes to its end"
        );
    });
}

/// What one of three voters is answered.
pub(super) fn sample_answer(seed: &mut Seed) -> Vec<u8> {
    let wire = conversation(seed);
    let answers = wire.answers.lock();
    answers[seed.below(answers.len())].to_vec()
}

/// Answers everything with the same bytes.
struct Parrot(Bytes);

impl Transport for Parrot {
    fn send(
        &self,
        _: i32,
        _: &Endpoint,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let answer = self.0.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(answer)
        })
    }
}

/// One answer to all that a new node asks while it wants to lead.
pub(super) fn run_answer(input: &[u8]) {
    let world = World::new(1);
    super::paused_runtime().block_on(async {
        let parrot = Parrot(Bytes::copy_from_slice(input));
        let start = Quorum::start(
            world.env("node-1"),
            config(1, &[1, 2, 3]),
            Arc::new(Counter::default()),
            Arc::new(parrot),
        );
        let quorum = start.await.expect("an empty disk takes a quorum");
        tokio::time::sleep(Duration::from_secs(5)).await;
        let _ = quorum.describe();
        assert!(
            within(quorum.shutdown()).await.is_some(),
            "a shutdown comes to its end"
        );
    });
}
