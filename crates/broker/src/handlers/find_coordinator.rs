//! FindCoordinator, versions 0 to 6: which broker coordinates groups, transactional ids, or partitions of share groups, at
//! the address of the listener that was asked.
//!
//! One key a request, a group in version 0, of a kind that the request says since version 1; several since version 4
//! (KIP-699), each answered in its place; partitions of share groups since version 6 (KIP-932), also while no feature serves
//! them, as in Kafka. The coordinator is the leader of the key's partition of an internal topic. The topic is made when it is
//! missing and a key asks for it, and the answer waits for that; COORDINATOR_NOT_AVAILABLE while it cannot be made or its
//! partition has no leader.
//!
//! *Memory*: the answer, proportional to the keys, reserved before it is made. *Authorization*: DESCRIBE on each group or
//! transactional id; CLUSTER_ACTION for share groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_metadata::Image;
use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::ByteString;
use klamm_protocol::messages::find_coordinator_response::Coordinator;
use klamm_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use crate::context::RequestContext;
use crate::coordinators::{self, Key, Kind};
use crate::turn::Turn;

/// What Kafka says of an error in general.
const NONE: &str = "NONE";
const NOT_AVAILABLE: &str = "The coordinator is not available.";
const INVALID: &str = "This most likely occurs because of a request being malformed by the client library or the message \
                       was sent to an incompatible broker. See the broker logs for more details.";
/// What a key takes in the answer, described and encoded, beside its texts.
const KEY_BYTES: usize = size_of::<Coordinator>() + 32;

/// Where a coordinator is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    node_id: i32,
    host: ByteString,
    port: i32,
}

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let kind = Kind::from_code(request.key_type);
    let served = kind.filter(|kind| *kind != Kind::Share || context.version >= 6);
    let image = context.broker.metadata.published_arc();
    let mut finder = Finder::new(image, &context.connection.listener);
    if context.version < 4 {
        return one(finder.find_or_make(context, served, &request.key).await);
    }
    // Kafka explains an unknown kind and nothing else.
    let message = ByteString::from_static(if kind.is_none() { INVALID } else { "" });
    let mut turn = Turn::default();
    let mut response = FindCoordinatorResponse::default();
    for key in &request.coordinator_keys {
        let found = finder.find_or_make(context, served, key).await;
        let host = found.as_ref().map_or(0, |place| place.host.len());
        let bytes = KEY_BYTES + key.len() + host + message.len();
        if !context.memory.reserve(bytes).await {
            break;
        }
        // A key is hashed byte by byte.
        turn.spend(bytes).await;
        response
            .coordinators
            .push(one_of_several(key.clone(), found, message.clone()));
    }
    response
}

/// The answer to a request that may ask for one.
fn one(found: Result<Place, ErrorCode>) -> FindCoordinatorResponse {
    let message = match found {
        Ok(_) => NONE,
        Err(ErrorCode::CoordinatorNotAvailable) => NOT_AVAILABLE,
        Err(_) => INVALID,
    };
    let (code, place) = code_and_place(found);
    FindCoordinatorResponse {
        error_code: code.code(),
        error_message: Some(ByteString::from_static(message)),
        node_id: place.node_id,
        host: place.host,
        port: place.port,
        ..Default::default()
    }
}

fn one_of_several(key: ByteString, found: Result<Place, ErrorCode>, message: ByteString) -> Coordinator {
    let (code, place) = code_and_place(found);
    Coordinator {
        key,
        node_id: place.node_id,
        host: place.host,
        port: place.port,
        error_code: code.code(),
        error_message: Some(message),
        ..Default::default()
    }
}

fn code_and_place(found: Result<Place, ErrorCode>) -> (ErrorCode, Place) {
    let nowhere = |code| {
        let place = Place {
            node_id: -1,
            host: ByteString::new(),
            port: -1,
        };
        (code, place)
    };
    found.map_or_else(nowhere, |place| (ErrorCode::None, place))
}

/// Finds the coordinators of the keys of one request.
struct Finder<'a> {
    image: Arc<Image>,
    listener: &'a str,
    /// Brokers that were named already, so that each address is made once.
    places: BTreeMap<BrokerId, Option<Place>>,
    /// Whether a missing topic was made, or could not be.
    has_tried: bool,
}

impl<'a> Finder<'a> {
    fn new(image: Arc<Image>, listener: &'a str) -> Self {
        Self {
            image,
            listener,
            places: BTreeMap::new(),
            has_tried: false,
        }
    }

    /// Finds the coordinator of a key of `kind`, which is one that the request's version has.
    async fn find_or_make(
        &mut self,
        context: &RequestContext<'_>,
        kind: Option<Kind>,
        key: &str,
    ) -> Result<Place, ErrorCode> {
        let key = kind.and_then(|kind| Key::new(kind, key));
        let key = key.ok_or(ErrorCode::InvalidRequest)?;
        let is_there = |image: &Image| image.topics().by_name(key.kind().topic()).is_some();
        if !self.has_tried && !is_there(&self.image) {
            self.has_tried = true;
            coordinators::make_topic(context.broker, key.kind()).await;
            self.image = context.broker.metadata.published_arc();
        }
        self.find(&key)
    }

    fn find(&mut self, key: &Key<'_>) -> Result<Place, ErrorCode> {
        let partition = coordinators::partition(&self.image, key);
        let leader = partition.and_then(|partition| partition.leader);
        let place = leader.and_then(|leader| {
            let place = self.places.entry(leader);
            place
                .or_insert_with(|| place_of(&self.image, self.listener, leader))
                .clone()
        });
        place.ok_or(ErrorCode::CoordinatorNotAvailable)
    }
}

/// Where clients of `listener` reach a broker, if it lives and listens there.
fn place_of(image: &Image, listener: &str, id: BrokerId) -> Option<Place> {
    let broker = image.cluster().broker(id).filter(|broker| !broker.fenced)?;
    let endpoint = broker.endpoint(listener)?;
    Some(Place {
        node_id: id.0,
        host: endpoint.host.to_string().into(),
        port: i32::from(endpoint.port),
    })
}

#[cfg(test)]
mod tests;
