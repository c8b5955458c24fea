//! What regular expressions stand for is looked for again when topics were made, and now and then: apart from any heartbeat.
//!
//! Always holds: one decision looks at one expression. What is found is recorded together once nothing more is due, so that it costs
//! the group one epoch, or as soon as it is much. An expression is looked at again at most every [`PAUSE_MS`]. Topics that are gone
//! are no reason to look again: they are in no assignment, whatever an expression still says.
//!
//! Next: `turn/resolution.rs` for the expression that a member brings.

use klamm_metadata::Image;
use klamm_model::TimestampMs;
use klamm_protocol::ByteString;

use super::expression::{Expression, InvalidExpression};
use super::metadata::position;
use super::target::Expressions;
use super::{ConsumerGroup, Note, Outcome, Resolved, metadata_hash};
use crate::group::config::GroupConfig;

/// The shortest time after which an expression is looked at again.
const PAUSE_MS: i64 = 10_000;
/// What an expression may stand for, in bytes of its record: half of what the topic takes, as it is made.
const EXPRESSION_BYTES: usize = 512 * 1024;
/// What was found is recorded when it is so much. Together with one more expression it is no more than the topic takes.
const RECORDED_BYTES: usize = 256 * 1024;

impl Resolved {
    /// The topics that an expression stands for now.
    pub(super) fn look(text: &str, image: &Image, now: TimestampMs) -> Result<Self, InvalidExpression> {
        let resolved = Self {
            topics: Expression::compile(text)?.topics(image)?,
            version: position(image),
            at: now.0,
        };
        match resolved.record_bytes(text) > EXPRESSION_BYTES {
            true => Err(InvalidExpression::TooManyTopics),
            false => Ok(resolved),
        }
    }

    /// About what the record of it takes.
    fn record_bytes(&self, text: &str) -> usize {
        let topics = self.topics.iter().map(|topic| topic.len() + 3);
        text.len() + topics.sum::<usize>()
    }
}

impl ConsumerGroup {
    /// The expressions that are to be looked at again, but for those that were and are not recorded yet.
    fn due_expressions(
        &self,
        image: &Image,
        now: TimestampMs,
        config: &GroupConfig,
    ) -> impl Iterator<Item = &ByteString> {
        let made_at = self.seen.topics_made_at.unwrap_or_else(|| position(image));
        let interval_ms = config.consumer_regex_refresh_interval.as_millis();
        let is_due = move |text: &ByteString| {
            self.expressions.get(text).is_none_or(|resolved| {
                let age_ms = now.0.saturating_sub(resolved.at);
                age_ms > PAUSE_MS
                    && (resolved.version < made_at || i128::from(age_ms) > interval_ms.cast_signed())
            })
        };
        let expressions = self.subscribers.expressions.keys();
        expressions.filter(move |text| !self.seen.found.contains_key(*text) && is_due(text))
    }

    /// Whether there is anything to look for, or found and not recorded, but for these expressions.
    pub(super) fn wants_refresh(
        &self,
        but_for: &Expressions<'_>,
        (image, now): (&Image, TimestampMs),
        config: &GroupConfig,
    ) -> bool {
        let mut due = self.due_expressions(image, now, config);
        !self.seen.found.is_empty() || due.any(|text| !but_for.changes.contains_key(text))
    }

    /// Looks at the next expression that is due.
    pub(super) fn refresh(&self, image: &Image, now: TimestampMs, config: &GroupConfig) -> Outcome<()> {
        let mut outcome = Outcome::new(());
        let mut due = self.due_expressions(image, now, config);
        let looked = due.next().map(|text| {
            // One that stands for too many, or was taken over and is none for us, stands for what it stood for.
            let resolved = Resolved::look(text, image, now).unwrap_or_else(|_| Resolved {
                topics: self
                    .expressions
                    .get(text)
                    .map(|known| known.topics.clone())
                    .unwrap_or_default(),
                version: position(image),
                at: now.0,
            });
            (text, resolved)
        });
        outcome.refresh = due.next().map(|_| now);
        let found = self.seen.found.iter();
        let all = || {
            let looked = looked.iter().map(|(text, resolved)| (*text, resolved));
            found.clone().chain(looked)
        };
        let bytes: usize = all().map(|(text, resolved)| resolved.record_bytes(text)).sum();
        if outcome.refresh.is_some() && bytes < RECORDED_BYTES {
            let found = looked.map(|(text, resolved)| Note::ExpressionFound(text.clone(), resolved));
            outcome.notes.extend(found);
            return outcome;
        }
        let still = all().filter(|(text, _)| self.subscribers.of_expression(text) > 0);
        let changes = still.map(|(text, resolved)| (text.clone(), Some(resolved.clone())));
        let expressions = Expressions {
            group: self,
            changes: changes.collect(),
        };
        self.record_found(&expressions, image, &mut outcome);
        outcome
    }

    fn record_found(&self, expressions: &Expressions<'_>, image: &Image, outcome: &mut Outcome<()>) {
        let recorder = self.recorder();
        for (text, resolved) in &expressions.changes {
            outcome.records.push(recorder.expression(text, resolved.as_ref()));
        }
        outcome.notes.push(Note::ExpressionsRecorded);
        if !expressions.other_topics() {
            return;
        }
        let mut subscribers = self.subscribers.clone();
        expressions.change(&mut subscribers);
        let hash = metadata_hash::of_group(subscribers.topics.keys().map(|topic| &**topic), image);
        outcome
            .records
            .push(recorder.epoch(self.epoch.saturating_add(1), hash));
        if self.has_topic_records {
            outcome.records.push(recorder.no_topics());
        }
        outcome.notes.push(Note::TopicsSeen(position(image)));
    }
}
