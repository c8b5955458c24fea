//! DeleteTopics: by name, or from version 6 by id.
//!
//! Each topic is meant once: repetitions, also of an id by its name, are refused, and the topic is kept when it was named by
//! id twice. Internal topics can be deleted. Configs go with the topic.
//!
//! Always holds: each topic asked for is answered once. Kafka shuffles its answers; ours stand in the order of the request,
//! with repetitions first.

use std::collections::BTreeSet;

use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use klamm_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use klamm_protocol::metadata_records::RemoveTopicRecord;

use super::{Context, Decision, Refusal, repeated};
use crate::image::Image;

/// Decides on the request. Whether topics may be deleted at all (`delete.topic.enable`), and by whom, is asked before.
pub fn decide(context: &Context<'_>, request: &DeleteTopicsRequest) -> Decision<DeleteTopicsResponse> {
    let mut responses = Vec::new();
    let (names, ids) = asked_for(request, &mut responses);
    let all_ids: BTreeSet<Uuid> = ids.once.iter().chain(&ids.repeated).copied().collect();
    let (mut deleted, mut meant_twice) = (BTreeSet::new(), BTreeSet::new());
    for name in &names.once {
        responses.push(match named(context.image, name) {
            Err(refusal) => result(Some(name), Uuid::ZERO, Some(refusal)),
            Ok(id) if all_ids.contains(&id) => {
                // The topic was meant by its id as well: it is not clear what was wanted, so it stays.
                meant_twice.insert(id);
                let message = "The provided topic name maps to an ID that was already supplied.";
                result(
                    Some(name),
                    id,
                    Some(Refusal::new(ErrorCode::InvalidRequest, message)),
                )
            }
            Ok(id) => {
                deleted.insert(id);
                result(Some(name), id, None)
            }
        });
    }
    for id in ids.once.iter().filter(|id| !meant_twice.contains(id)) {
        responses.push(match context.image.topics().by_id(id) {
            Some(topic) => {
                deleted.insert(*id);
                result(Some(&topic.name), *id, None)
            }
            None => result(None, *id, Some(unknown_id())),
        });
    }
    let records = deleted.into_iter().map(|topic_id| {
        RemoveTopicRecord {
            topic_id,
            ..Default::default()
        }
        .into()
    });
    let records = records.collect();
    Decision {
        records,
        response: DeleteTopicsResponse {
            responses,
            ..Default::default()
        },
    }
}

/// What was asked for, once or more often.
struct Asked<T> {
    once: Vec<T>,
    repeated: BTreeSet<T>,
}

impl<T: Ord + Clone> Asked<T> {
    fn new(all: Vec<T>) -> Self {
        let repeated = repeated(all.iter().cloned());
        Self {
            once: all.into_iter().filter(|each| !repeated.contains(each)).collect(),
            repeated,
        }
    }
}

/// Sorts out what is asked for; what cannot be meant is answered at once.
fn asked_for<'a>(
    request: &'a DeleteTopicsRequest,
    responses: &mut Vec<DeletableTopicResult>,
) -> (Asked<&'a str>, Asked<Uuid>) {
    let invalid = |message: &str| Some(Refusal::new(ErrorCode::InvalidRequest, message));
    let mut names: Vec<&str> = request.topic_names.iter().map(|name| &**name).collect();
    let mut ids = Vec::new();
    for topic in &request.topics {
        match (topic.name.as_deref(), topic.topic_id) {
            (None, Uuid::ZERO) => {
                let refusal = invalid("Neither topic name nor id were specified.");
                responses.push(result(None, Uuid::ZERO, refusal));
            }
            (None, id) => ids.push(id),
            (Some(name), Uuid::ZERO) => names.push(name),
            (Some(name), id) => {
                let refusal = invalid("You may not specify both topic name and topic id.");
                responses.push(result(Some(name), id, refusal));
            }
        }
    }
    let (names, ids) = (Asked::new(names), Asked::new(ids));
    let duplicate = |name: &&str| result(Some(name), Uuid::ZERO, invalid("Duplicate topic name."));
    responses.extend(names.repeated.iter().map(duplicate));
    responses.extend(
        ids.repeated
            .iter()
            .map(|id| result(None, *id, invalid("Duplicate topic id."))),
    );
    (names, ids)
}

fn named(image: &Image, name: &str) -> Result<Uuid, Refusal> {
    let unknown = || {
        let message = "This server does not host this topic-partition.";
        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
    };
    image
        .topics()
        .by_name(name)
        .map(|topic| topic.id)
        .ok_or_else(unknown)
}

fn unknown_id() -> Refusal {
    Refusal::new(
        ErrorCode::UnknownTopicId,
        "This server does not host this topic ID.",
    )
}

fn result(name: Option<&str>, topic_id: Uuid, refusal: Option<Refusal>) -> DeletableTopicResult {
    let refusal = refusal.unwrap_or(Refusal::code(ErrorCode::None));
    DeletableTopicResult {
        name: name.map(Into::into),
        topic_id,
        error_code: refusal.code.code(),
        error_message: refusal.words(),
        ..Default::default()
    }
}
