//! What regular expressions stand for: found out when a member brings one, and again when topics are made.
//!
//! Always holds: an expression is looked at again at most every [`REFRESH_PAUSE_MS`], and at one heartbeat not more than
//! [`REFRESHED_AT_ONCE`] of them; so a heartbeat costs no more than that many walks over the names of all topics. Topics that are
//! gone are no reason to look again: they are in no assignment, whatever an expression still says.

use klamm_model::ErrorCode;

use super::Turn;
use crate::group::consumer::expression::{Expression, InvalidExpression};
use crate::group::consumer::member::copied;
use crate::group::consumer::metadata::position;
use crate::group::consumer::target::Expressions;
use crate::group::consumer::{Refusal, Resolved};

/// The shortest time after which an expression is looked at again.
const REFRESH_PAUSE_MS: i64 = 10_000;
/// How many expressions are looked at again at one heartbeat.
const REFRESHED_AT_ONCE: usize = 8;

impl<'a> Turn<'a> {
    /// The group's expressions after this heartbeat.
    pub(super) fn resolve(&mut self) -> Result<Expressions<'a>, Refusal> {
        let group = self.group;
        let mut expressions = Expressions::unchanged(group);
        if group.subscribers.expressions.is_empty() && self.subscription().expression().is_none() {
            return Ok(expressions);
        }
        let before = self.membership.before.subscription.expression();
        let after = self.subscription().expression();
        if before != after {
            if let Some(before) = before
                && group.subscribers.of_expression(before) == 1
                && group.expressions.contains_key(before)
            {
                expressions.changes.insert(copied(before), None);
            }
            if let Some(after) = after
                && !group.expressions.contains_key(after)
            {
                let resolved = self.look(after).map_err(|error| invalid(after, error))?;
                expressions.changes.insert(after.clone(), Some(resolved));
            }
        }
        self.refresh(&mut expressions);
        for (text, resolved) in &expressions.changes {
            self.outcome
                .records
                .push(group.recorder().expression(text, resolved.as_ref()));
        }
        Ok(expressions)
    }

    fn refresh(&self, expressions: &mut Expressions<'_>) {
        let unresolved = self.group.subscribers.expressions.keys();
        let due = unresolved.filter(|text| {
            !expressions.changes.contains_key(*text) && self.is_due(self.group.expressions.get(*text))
        });
        let due: Vec<_> = due.take(REFRESHED_AT_ONCE).cloned().collect();
        for text in due {
            let known = self.group.expressions.get(&text);
            // One that was taken over and is none for us stands for what it stood for.
            let resolved = self.look(&text).unwrap_or_else(|_| Resolved {
                topics: known.map(|known| known.topics.clone()).unwrap_or_default(),
                version: position(self.image),
                at: self.now.0,
            });
            expressions.changes.insert(text, Some(resolved));
        }
    }

    fn is_due(&self, resolved: Option<&Resolved>) -> bool {
        let Some(resolved) = resolved else {
            return true;
        };
        let age_ms = self.now.0.saturating_sub(resolved.at);
        let interval_ms = self.config.consumer_regex_refresh_interval.as_millis();
        let made_at = self
            .group
            .seen
            .topics_made_at
            .unwrap_or_else(|| position(self.image));
        age_ms > REFRESH_PAUSE_MS
            && (resolved.version < made_at || i128::from(age_ms) > interval_ms.cast_signed())
    }

    fn look(&self, text: &str) -> Result<Resolved, InvalidExpression> {
        Ok(Resolved {
            topics: Expression::compile(text)?.topics(self.image)?,
            version: position(self.image),
            at: self.now.0,
        })
    }
}

fn invalid(text: &str, error: InvalidExpression) -> Refusal {
    let message = format!("SubscribedTopicRegex `{text}` is not a valid regular expression: {error}.");
    Refusal::new(ErrorCode::InvalidRegularExpression, message)
}
