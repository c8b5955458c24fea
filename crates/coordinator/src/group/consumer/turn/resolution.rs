//! What the regular expression of a member stands for: found out when the member brings one that the group does not know.
//!
//! Always holds: a heartbeat looks at one expression at most, its own. Those that are to be looked at again are left to a decision of
//! their own, so that no heartbeat waits for them, nor fails with them.
//!
//! Next: `refresh.rs`.

use klamm_model::ErrorCode;

use super::Turn;
use crate::group::consumer::expression::InvalidExpression;
use crate::group::consumer::member::copied;
use crate::group::consumer::target::Expressions;
use crate::group::consumer::{Refusal, Resolved};

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
                let resolved = Resolved::look(after, self.image, self.now);
                let resolved = resolved.map_err(|error| invalid(after, error))?;
                expressions.changes.insert(after.clone(), Some(resolved));
            }
        }
        let wants_refresh = group.wants_refresh(&expressions, (self.image, self.now), self.config);
        self.outcome.refresh = wants_refresh.then_some(self.now);
        for (text, resolved) in &expressions.changes {
            self.outcome
                .records
                .push(group.recorder().expression(text, resolved.as_ref()));
        }
        Ok(expressions)
    }
}

fn invalid(text: &str, error: InvalidExpression) -> Refusal {
    let message = format!("SubscribedTopicRegex `{text}` is not a valid regular expression: {error}.");
    Refusal::new(ErrorCode::InvalidRegularExpression, message)
}
