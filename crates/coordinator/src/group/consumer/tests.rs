//! What members ask, and what they are told, step by step. Codes, words and epochs are those of a 4.4 broker that was asked the
//! same.

mod reconciliation;
mod recorded;
mod refusals;
mod subscriptions;

use klamm_model::ErrorCode;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::Refusal;
use super::testing::{Driven, joining};

type Request = ConsumerGroupHeartbeatRequest;

fn of_instance(instance: &str, request: Request) -> Request {
    Request {
        instance_id: Some(instance.into()),
        ..request
    }
}

fn refused(driven: &mut Driven, version: i16, request: &Request) -> (ErrorCode, String) {
    let before = driven.group.clone();
    let Refusal { code, message } = driven.ask_as(request, version).unwrap_err();
    assert_eq!(driven.group, before, "a refusal changes nothing");
    (code, message)
}

fn by_expression(member: &str, expression: &str) -> Request {
    Request {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(expression.into()),
        ..joining(member, &[])
    }
}
