//! ListTransactions, versions 0 to 2: the transactional ids that this broker coordinates (KIP-664): all, or those in given states and
//! of given producers; since version 1 those whose transaction runs for longer than so long (KIP-994); since 2 those that match a
//! regular expression (KIP-1152).
//!
//! Names of states that Kafka does not know are told, and match nothing. An expression is one of automata: what needs
//! backtracking is refused with INVALID_REGULAR_EXPRESSION. A shard that is being loaded makes the whole answer an error, since
//! nobody would miss what is not in it.
//!
//! *Memory*: the answer, one entry for each id; those of one shard are listed at once, and reserved before the next.
//! *Authorization*: DESCRIBE on each transactional id that is listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_coordinator::transaction::request::{ListTransactions, ListedTransaction, RequestKind};
use klamm_coordinator::transaction::{IdPattern, Status, TransactionAnswer, TransactionRequest};
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::list_transactions_response::TransactionState;
use klamm_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};

use crate::context::RequestContext;
use crate::coordinators::transactions::{answer_to, ask_in};
use crate::turn::Turn;

/// What an id takes in the answer, listed and encoded, beside its text.
const ID_BYTES: usize = size_of::<TransactionState>() + size_of::<ListedTransaction>() + 64;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let mut response = ListTransactionsResponse::default();
    let list = match wanted(request, &mut response.unknown_state_filters) {
        Ok(list) => list,
        Err(code) => return refused(code),
    };
    let mut turn = Turn::default();
    for partition in context.broker.transactions.led() {
        let list = || {
            let request = TransactionRequest::List(list.clone());
            ask_in(context.broker, partition, RequestKind::List, request)
        };
        let bytes = |answer: &TransactionAnswer| match answer_to!(Listed, answer) {
            Ok(listed) => bytes_of(listed),
            Err(_) => 0,
        };
        let Some(listed) = context.memory.make(list, bytes).await else {
            break;
        };
        match answer_to!(Listed, listed) {
            Ok(listed) => {
                turn.spend(bytes_of(&listed)).await;
                response.transaction_states.extend(listed.into_iter().map(state));
            }
            // Somebody else coordinates them now.
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return refused(code),
        }
    }
    response
}

fn refused(code: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse {
        error_code: code.code(),
        ..Default::default()
    }
}

/// What the request asks for; names that are not known come to stand in `unknown`.
fn wanted(
    request: ListTransactionsRequest,
    unknown: &mut Vec<ByteString>,
) -> Result<ListTransactions, ErrorCode> {
    let pattern = request
        .transactional_id_pattern
        .filter(|pattern| !pattern.is_empty());
    let pattern = pattern.map(|pattern| IdPattern::compile(&pattern));
    let pattern = pattern
        .transpose()
        .map_err(|_| ErrorCode::InvalidRegularExpression)?;
    let states = match request.state_filters.is_empty() {
        true => None,
        false => Some(states(request.state_filters, unknown)),
    };
    let mut producer_ids = request.producer_id_filters;
    producer_ids.sort_unstable();
    producer_ids.dedup();
    Ok(ListTransactions {
        producer_ids,
        states,
        longer_than_ms: request.duration_filter,
        wanted: pattern.map(Arc::new),
    })
}

fn states(mut names: Vec<ByteString>, unknown: &mut Vec<ByteString>) -> BTreeSet<Status> {
    let known = names.iter().filter_map(|name| Status::of_name(name)).collect();
    names.retain(|name| Status::of_name(name).is_none() && !Status::is_unseen(name));
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    *unknown = names;
    known
}

/// What a list takes, and encoded.
fn bytes_of(listed: &[ListedTransaction]) -> usize {
    let ids = listed
        .iter()
        .map(|listed| ID_BYTES + 2 * listed.transactional_id.len());
    ids.sum()
}

fn state(listed: ListedTransaction) -> TransactionState {
    TransactionState {
        transactional_id: (&*listed.transactional_id).into(),
        producer_id: listed.producer_id.0,
        transaction_state: ByteString::from_static(listed.status.name()),
        ..Default::default()
    }
}
