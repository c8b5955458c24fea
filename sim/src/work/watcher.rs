//! A member of a group that reads what is committed, and commits how far it is, without transactions.

use std::collections::BTreeMap;

use klamm_env::Env;
use klamm_model::ErrorCode;
use klamm_protocol::messages::OffsetCommitRequest;
use klamm_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::ledger::{Commit, Ledger};
use super::line::{Line, Lost};
use super::member::{Member, Protocol, Topic};
use super::positions::Positions;
use super::reading;

/// The group of the watchers.
pub(crate) const GROUP: &str = "watchers";
const OFFSET_COMMIT: i16 = 9;
const PARTITION_BYTES: i32 = 4_096;

struct Watcher {
    line: Line,
    topic: Topic,
    member: Member,
    positions: Positions,
}

/// Watches until the work is over.
pub(crate) async fn run(env: Env, ledger: Ledger, (host, protocol): (String, Protocol), topic: Topic) {
    let mut watcher = Watcher {
        line: Line::new(&env, &ledger, &host),
        topic,
        member: Member::new(&ledger, GROUP, topic, protocol),
        positions: Positions::default(),
    };
    while !ledger.is_over() {
        // Without an answer it tries again.
        let _ = watcher.round().await;
        watcher.line.idle(40).await;
        if watcher.line.one_in(150) {
            watcher.part().await;
        }
    }
    watcher.member.leave(&mut watcher.line).await;
}

impl Watcher {
    /// It leaves, or dies, and comes back later.
    async fn part(&mut self) {
        if self.line.one_in(2) {
            self.member.leave(&mut self.line).await;
        } else {
            self.member.die(self.line.env.monotonic());
            self.line.cut();
        }
        self.line.idle(600).await;
    }

    async fn round(&mut self) -> Result<(), Lost> {
        self.member.poll(&mut self.line).await?;
        let group = (GROUP, self.topic);
        self.positions.locate(&mut self.line, group, &self.member).await?;
        let positions = self.positions.all();
        if positions.is_empty() {
            return Ok(());
        }
        let how = (true, PARTITION_BYTES);
        let reads = reading::fetch(&mut self.line, self.topic, &positions, how).await?;
        let further = reads
            .iter()
            .filter(|read| positions.get(&read.partition).is_some_and(|from| read.to > *from));
        let offsets: BTreeMap<i32, i64> = further.map(|read| (read.partition, read.to)).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        self.commit(&offsets).await?;
        self.positions.advance(&offsets);
        Ok(())
    }

    async fn commit(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<(), Lost> {
        let (epoch, id) = self.member.credentials();
        let partitions = offsets
            .iter()
            .map(|(partition, offset)| OffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: *offset,
                committed_leader_epoch: -1,
                ..Default::default()
            });
        let request = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: epoch,
            member_id: id.into(),
            topics: vec![OffsetCommitRequestTopic {
                name: self.topic.name.into(),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let first = self.line.ledger.write(|pages| {
            let asked = pages.moment();
            let first = pages.commits.len();
            pages
                .commits
                .extend(offsets.iter().map(|(partition, offset)| Commit {
                    partition: *partition,
                    offset: *offset,
                    asked,
                    answered: None,
                    refused: false,
                }));
            first
        });
        let answer = self.line.ask(OFFSET_COMMIT, &request).await?;
        let codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let codes: BTreeMap<i32, i16> = codes
            .map(|partition| (partition.partition_index, partition.error_code))
            .collect();
        for (place, partition) in (first..).zip(offsets.keys()) {
            let code = codes.get(partition).copied();
            self.note(place, code.and_then(ErrorCode::from_code));
        }
        Ok(())
    }

    /// What became of a commit.
    fn note(&mut self, place: usize, code: Option<ErrorCode>) {
        let is_made = code == Some(ErrorCode::None);
        self.line.ledger.write(|pages| {
            let answered = pages.moment();
            let commit = &mut pages.commits[place];
            if is_made {
                commit.answered = Some(answered);
            }
            // What is told to try again may have been made all the same.
            commit.refused = code.is_some_and(|code| !is_made && !code.is_retriable());
        });
        match code {
            Some(ErrorCode::None) => {}
            Some(
                ErrorCode::IllegalGeneration
                | ErrorCode::UnknownMemberId
                | ErrorCode::StaleMemberEpoch
                | ErrorCode::FencedMemberEpoch
                | ErrorCode::GroupIdNotFound
                | ErrorCode::RebalanceInProgress,
            ) => {
                self.member.doubt(&self.line);
                self.positions.clear();
            }
            Some(again) if again.is_retriable() => self.line.ledger.refused("OffsetCommit", again),
            other => self
                .line
                .fault(format_args!("OffsetCommit is answered with {other:?}")),
        }
    }
}
