//! openraft's network upon a [`Transport`].
//!
//! Always holds: a message that cannot be sent, is refused or is answered with nonsense is an error that openraft
//! retries later; it never counts as an answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_model::Uuid;
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::config::Endpoint;
use crate::transport::Transport;
use crate::types::{Snapshot, Types, Vote, node_id};
use crate::wire::{Answer, Request};

/// Makes connections to other voters.
pub(crate) struct Peers {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) cluster_id: Uuid,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, endpoint: &Endpoint) -> Peer {
        Peer {
            transport: self.transport.clone(),
            cluster_id: self.cluster_id,
            id: target,
            endpoint: endpoint.clone(),
        }
    }
}

/// Another voter.
pub(crate) struct Peer {
    transport: Arc<dyn Transport>,
    cluster_id: Uuid,
    id: u64,
    endpoint: Endpoint,
}

impl Peer {
    async fn ask(&self, request: &Request, limit: Duration) -> Result<Answer, RPCError<Types>> {
        let message = request.encode(self.cluster_id, self.id);
        let answer = self
            .transport
            .send(node_id(self.id), &self.endpoint, message, limit)
            .await;
        let answer = answer.map_err(|error| Unreachable::new(&error))?;
        match Answer::decode(answer) {
            Ok(Answer::Refused(text)) => Err(Unreachable::from_string(text).into()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(NetworkError::new(&error).into()),
        }
    }
}

fn unexpected() -> RPCError<Types> {
    NetworkError::from_string("the answer is to another question").into()
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.ask(&Request::Append(request), option.soft_ttl()).await? {
            Answer::Append(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(&Request::Vote(request), option.soft_ttl()).await? {
            Answer::Vote(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(&Request::PreVote(request), option.soft_ttl()).await? {
            Answer::Vote(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let request = Request::Snapshot(vote, snapshot);
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(closed.into()),
            answer = self.ask(&request, option.hard_ttl()) => answer?,
        };
        match answer {
            Answer::Snapshot(answer) => Ok(answer),
            _ => Err(unexpected().into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.ask(&Request::Transfer(request), option.soft_ttl()).await? {
            Answer::Transfer(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }
}
