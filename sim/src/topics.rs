//! Makes the topic that the records go to; and a client that makes and deletes topics meanwhile.
//!
//! Always holds: the changes of one topic are asked one after the other, so that what the cluster says at the end tells
//! whether an acknowledged one was lost.

use std::time::Duration;

use klamm_env::Env;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::{
    create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest},
    delete_topics_request::{DeleteTopicState, DeleteTopicsRequest},
    metadata_request::MetadataRequest,
};

use crate::history::{Books, TopicChange, TopicEvent, TopicState};
use crate::wire::{Address, Wire, WireError};

/// How long a client waits before it tries again.
const BACKOFF: Duration = Duration::from_millis(20);
/// How long it waits between two changes, at most.
const PAUSE_MS: u64 = 300;
/// The versions that are spoken.
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 6;
const METADATA: i16 = 13;
const TIMEOUT_MS: i32 = 4_000;

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// Its configs.
    pub configs: Vec<(String, String)>,
}

/// Makes a topic, and tries until it is there; its id.
pub async fn create(env: &Env, address: &Address, topic: &NewTopic) -> Uuid {
    loop {
        if let Ok(mut wire) = Wire::open(env, address, "admin").await
            && let Ok(Ok(id)) = ask_create(&mut wire, topic).await
        {
            return id;
        }
        if let Ok(topics) = describe_once(env, address).await
            && let Some((_, state)) = topics.into_iter().find(|(name, _)| *name == topic.name)
        {
            return state.id;
        }
        env.sleep(BACKOFF).await;
    }
}

/// Makes and deletes topics until the books are closed.
pub async fn churn(env: Env, address: Address, books: Books) {
    let mut made: Vec<String> = Vec::new();
    let mut count = 0;
    while !books.is_over() {
        env.sleep(Duration::from_millis(env.random_u64() % PAUSE_MS))
            .await;
        let Ok(mut wire) = Wire::open(&env, &address, "admin").await else {
            continue;
        };
        if !made.is_empty() && env.random_u64().is_multiple_of(3) {
            let at = (env.random_u64() % made.len() as u64) as usize;
            let name = made.swap_remove(at);
            let asked = books.write(|history| asked(history, &name, TopicChange::Delete));
            let answer = ask_delete(&mut wire, &name).await;
            settle(&books, asked, "DeleteTopics", answer);
        } else {
            count += 1;
            let topic = NewTopic {
                name: format!("extra-{count}"),
                partitions: 1 + (env.random_u64() % 3) as i32,
                configs: Vec::new(),
            };
            let change = TopicChange::Create(topic.partitions);
            let asked = books.write(|history| asked(history, &topic.name, change));
            let answer = ask_create(&mut wire, &topic).await;
            if settle(&books, asked, "CreateTopics", answer) {
                made.push(topic.name);
            }
        }
    }
}

fn asked(history: &mut crate::History, name: &str, change: TopicChange) -> usize {
    history.topic_events.push(TopicEvent {
        name: name.to_owned(),
        change,
        answered: None,
    });
    history.topic_events.len() - 1
}

/// Notes an answer; whether the change was made.
fn settle(
    books: &Books,
    asked: usize,
    api: &'static str,
    answer: Result<Result<Uuid, ErrorCode>, WireError>,
) -> bool {
    match answer {
        Ok(Ok(id)) => {
            books.write(|history| history.topic_events[asked].answered = Some(id));
            return true;
        }
        Ok(Err(code)) if code.is_retriable() => {
            books.write(|history| history.refused(api, code));
        }
        Ok(Err(code)) => books.fault(format!("{api} is answered with {code}")),
        Err(error) if error.is_fault() => books.fault(format!("{api}: {error}")),
        Err(_) => {}
    }
    false
}

/// Notes the topics that there are.
pub async fn describe(env: Env, address: Address, books: Books) {
    loop {
        if let Ok(topics) = describe_once(&env, &address).await {
            books.write(|history| history.topics_at_the_end = topics.into_iter().collect());
            return;
        }
        env.sleep(BACKOFF).await;
    }
}

async fn ask_create(wire: &mut Wire, topic: &NewTopic) -> Result<Result<Uuid, ErrorCode>, WireError> {
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: name.as_str().into(),
        value: Some(value.as_str().into()),
        ..CreatableTopicConfig::default()
    });
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.name.as_str().into(),
            num_partitions: topic.partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        }],
        timeout_ms: TIMEOUT_MS,
        ..CreateTopicsRequest::default()
    };
    let answer = wire.ask(CREATE_TOPICS, &request).await?;
    let result = answer
        .topics
        .first()
        .map(|topic| (topic.error_code, topic.topic_id));
    Ok(code_or_id(result))
}

async fn ask_delete(wire: &mut Wire, name: &str) -> Result<Result<Uuid, ErrorCode>, WireError> {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(name.into()),
            ..DeleteTopicState::default()
        }],
        timeout_ms: TIMEOUT_MS,
        ..DeleteTopicsRequest::default()
    };
    let answer = wire.ask(DELETE_TOPICS, &request).await?;
    let result = answer
        .responses
        .first()
        .map(|topic| (topic.error_code, topic.topic_id));
    Ok(code_or_id(result))
}

fn code_or_id(result: Option<(i16, Uuid)>) -> Result<Uuid, ErrorCode> {
    match result.map(|(code, id)| (ErrorCode::from_code(code), id)) {
        Some((Some(ErrorCode::None), id)) => Ok(id),
        Some((Some(code), _)) => Err(code),
        Some((None, _)) | None => Err(ErrorCode::UnknownServerError),
    }
}

async fn describe_once(env: &Env, address: &Address) -> Result<Vec<(String, TopicState)>, WireError> {
    let mut wire = Wire::open(env, address, "admin").await?;
    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let answer = wire.ask(METADATA, &request).await?;
    let topics = answer.topics.into_iter().filter_map(|topic| {
        let state = TopicState {
            id: topic.topic_id,
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        };
        Some((topic.name?.to_string(), state))
    });
    Ok(topics.collect())
}
