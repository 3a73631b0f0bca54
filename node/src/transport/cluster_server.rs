//! The cluster port: what other nodes and the operator ask. It believes who says it is a peer: no application is here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use groupcache_group::group::{Answer, GetError, Group, Origin};
use groupcache_group::groups::Groups;
use groupcache_group::value::Key;
use groupcache_proto::cluster::{self as wire, cluster_service_server::ClusterService, fetch_response};
use groupcache_proto::convert;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::transport::calls::{self, CallError};
use crate::transport::cluster_server::exchange::Exchange;
use crate::transport::connection::Connection;
use crate::transport::control::Control;
use crate::transport::data_server::weighed;
use crate::transport::fetching::{Fetching, Next};
use crate::transport::handover_server;
use crate::transport::invalidation_server;
use crate::transport::outgoing::{Carried, OutOfRoom, Weight};
use crate::transport::overdue::deadline_in;
use crate::transport::parked::Parked;
use crate::transport::wire::{fetch_response as to_fetch_response, status};

mod exchange;
mod many;

/// How long a node that is behind may take to fetch the newer snapshot before it answers that it knows no such group.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Serves the cluster port.
#[derive(Clone)]
pub struct ClusterServer {
    groups: Arc<Groups>,
    control: Arc<dyn Control>,
    parked: Parked,
}

impl std::fmt::Debug for ClusterServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterServer").finish_non_exhaustive()
    }
}

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl ClusterServer {
    /// Serves from these groups.
    #[must_use]
    pub fn new(groups: Arc<Groups>, control: Arc<dyn Control>) -> Self {
        ClusterServer { groups, control, parked: Parked::default() }
    }

    /// Refuses who means another node or process, and notes the caller's version.
    fn admit(&self, caller: Option<&wire::Caller>) -> Result<(), Status> {
        let Some(caller) = caller else { return Ok(()) };
        let (name, boot) = (self.control.name(), self.control.boot());
        if !caller.expected_node.is_empty() && caller.expected_node != name {
            let expected = &caller.expected_node;
            return Err(Status::failed_precondition(format!("this is the node {name}, not {expected}")));
        }
        if caller.expected_boot != 0 && caller.expected_boot != boot {
            return Err(Status::failed_precondition(format!(
                "this process of {name} is not the one that was meant: it has started since"
            )));
        }
        self.control.heard(&caller.node, convert::version(caller.version.as_ref()));
        Ok(())
    }

    fn version(&self) -> groupcache_ring::Version {
        self.groups.view().map(|view| view.version()).unwrap_or_default()
    }

    fn wire_version(&self) -> Option<wire::Version> {
        Some(convert::version_to_wire(self.version()))
    }

    /// The group that a caller means.
    async fn group(
        &self,
        caller: Option<&wire::Caller>,
        name: &str,
        deadline: Instant,
    ) -> Option<Arc<Group>> {
        if self.groups.get(name).is_none()
            && let Some(caller) = caller
        {
            // Perhaps this node is only behind.
            let version = convert::version(caller.version.as_ref());
            let until = deadline.min(Instant::now() + CATCH_UP);
            self.control.catch_up(&caller.node, version, until).await;
        }
        self.groups.get(name)
    }

    /// Answers as the owner: from main or by a load, never by asking further.
    async fn answer(self, request: wire::FetchRequest, deadline: Instant) -> Result<Answer, CallError> {
        if request.ticket != 0
            && let Some(answer) = self.parked.collect(request.ticket)
        {
            return Ok(answer);
        }
        let group = self.group(request.caller.as_ref(), &request.group, deadline).await;
        let group = group.ok_or(CallError::UnknownGroup(request.group))?;
        let key = Key::new(request.key, group.settings().max_key_bytes)?;
        calls::get(&group, key, Origin::Peer, deadline).await
    }

    /// What main holds.
    fn peeked(&self, request: &wire::PeekRequest) -> Result<wire::PeekResponse, Status> {
        self.admit(request.caller.as_ref())?;
        let value = self.groups.held(&request.group, &request.key).as_ref().and_then(handover_server::shown);
        Ok(wire::PeekResponse { version: self.wire_version(), value })
    }

    fn purged(&self, request: wire::PurgeRequest) -> Result<wire::PurgeResponse, Status> {
        self.admit(request.caller.as_ref())?;
        invalidation_server::purge(&self.groups, self.control.boot(), request)
    }

    fn stored(&self, request: wire::StoreRequest) -> Result<wire::StoreResponse, Status> {
        self.admit(request.caller.as_ref())?;
        invalidation_server::store(&self.groups, request)
    }

    async fn beaten(&self, request: wire::BeatRequest) -> Result<wire::BeatResponse, Status> {
        self.admit(request.caller.as_ref())?;
        invalidation_server::beat(&self.groups, &self.control, request).await
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterServer {
    type FetchStream = Answers<wire::FetchResponse>;
    type KeysOfStream = Answers<wire::KeysOfResponse>;
    type ExchangeStream = Answers<wire::ExchangeResponse>;
    type FetchManyStream = Answers<wire::FetchManyResponse>;

    async fn fetch(
        &self,
        request: Request<wire::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        let deadline = calls::deadline(Some(Duration::from_millis(request.deadline_ms)));
        let (server, carried) = (self.clone(), Carried::default());
        let answer = async move {
            let answer = server.clone().answer(request, deadline).await;
            let bytes = answer.as_ref().map_or(0, |answer| answer.entry.value_bytes());
            // Nothing is written before there is room for it.
            match connection.unsent.place(bytes, deadline).await {
                Ok(place) => (to_fetch_response(server.version(), answer), place),
                Err(OutOfRoom) => (Err(status(&GetError::DeadlineExceeded.into())), None),
            }
        };
        let fetching = Some(Fetching::begin(Box::pin(answer)));
        let (server, given) = (self.clone(), carried.clone());
        let signs = stream::unfold(fetching, move |fetching| {
            let (server, given) = (server.clone(), given.clone());
            async move {
                Some(match fetching?.next().await {
                    Next::Answer((response, place)) => {
                        given.add(place);
                        (response, None)
                    }
                    Next::Sign(fetching) => {
                        let outcome = Some(fetch_response::Outcome::Pending(wire::Pending {}));
                        let sign = wire::FetchResponse { version: server.wire_version(), outcome };
                        (Ok(sign), Some(fetching))
                    }
                })
            }
        });
        Ok(streamed(Box::pin(signs), carried))
    }

    async fn peek(
        &self,
        request: Request<wire::PeekRequest>,
    ) -> Result<Response<wire::PeekResponse>, Status> {
        let deadline = deadline_in(request.metadata())?;
        let peeked = self.peeked(&request.into_inner())?;
        let bytes = peeked.value.as_ref().map_or(0, |entry| entry.value.len());
        Ok(weighed(peeked, Weight { bytes, deadline }))
    }

    async fn purge(
        &self,
        request: Request<wire::PurgeRequest>,
    ) -> Result<Response<wire::PurgeResponse>, Status> {
        self.purged(request.into_inner()).map(Response::new)
    }

    async fn announce(
        &self,
        request: Request<wire::AnnounceRequest>,
    ) -> Result<Response<wire::AnnounceResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        self.control.announced(&request);
        Ok(Response::new(wire::AnnounceResponse { version: self.wire_version() }))
    }

    async fn apply(
        &self,
        request: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::ApplyResponse>, Status> {
        Ok(Response::new(self.control.apply(request.into_inner()).await))
    }

    async fn fetch_snapshot(
        &self,
        request: Request<wire::FetchSnapshotRequest>,
    ) -> Result<Response<wire::FetchSnapshotResponse>, Status> {
        self.admit(request.get_ref().caller.as_ref())?;
        Ok(Response::new(wire::FetchSnapshotResponse { snapshot: self.control.snapshot() }))
    }

    async fn describe(
        &self,
        _: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::DescribeResponse>, Status> {
        let view = self.groups.view();
        let state = view.as_ref().and_then(|view| view.my_state());
        let groups = self.groups.all().iter().map(|group| describe(group)).collect();
        Ok(Response::new(wire::DescribeResponse {
            node: self.control.name().to_owned(),
            pod_uid: self.control.pod_uid().to_owned(),
            boot: self.control.boot(),
            version: self.wire_version(),
            ring_hash: view.map_or(0, |view| view.ring_hash()),
            state: state.map_or(0, |state| convert::state_to_wire(state).into()),
            draining: self.control.is_draining(),
            build_version: env!("CARGO_PKG_VERSION").to_owned(),
            groups,
            serves_copies: self.groups.grants().serves_now(),
        }))
    }

    async fn store(
        &self,
        request: Request<wire::StoreRequest>,
    ) -> Result<Response<wire::StoreResponse>, Status> {
        self.stored(request.into_inner()).map(Response::new)
    }

    async fn beat(
        &self,
        request: Request<wire::BeatRequest>,
    ) -> Result<Response<wire::BeatResponse>, Status> {
        self.beaten(request.into_inner()).await.map(Response::new)
    }

    async fn bar(&self, request: Request<wire::BarRequest>) -> Result<Response<wire::BarResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        invalidation_server::bar(&self.groups, request).map(Response::new)
    }

    async fn keys_of(
        &self,
        request: Request<wire::KeysOfRequest>,
    ) -> Result<Response<Self::KeysOfStream>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        let parts = handover_server::keys_of(&self.groups, &self.control, request).await?;
        Ok(Response::new(Box::pin(stream::iter(parts.into_iter().map(Ok)))))
    }

    async fn peek_many(
        &self,
        request: Request<wire::PeekManyRequest>,
    ) -> Result<Response<wire::PeekManyResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        handover_server::peek_many(&self.groups, request).map(Response::new)
    }

    async fn exchange(
        &self,
        request: Request<Streaming<wire::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (connection, carried) = (Connection::of(&request), Carried::default());
        let answers = Exchange::new(self.clone(), connection, carried.clone(), request.into_inner());
        Ok(streamed(Box::pin(answers), carried))
    }

    async fn fetch_many(
        &self,
        request: Request<wire::FetchManyRequest>,
    ) -> Result<Response<Self::FetchManyStream>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        Ok(Response::new(self.clone().answers_of(request)?))
    }
}

/// Answers whose places go out with them.
fn streamed<T>(answers: Answers<T>, carried: Carried) -> Response<Answers<T>> {
    let mut response = Response::new(answers);
    response.extensions_mut().insert(carried);
    response
}

fn describe(group: &Group) -> wire::GroupDescription {
    let sizes = group.sizes();
    wire::GroupDescription {
        name: group.settings().name.to_string(),
        main_entries: sizes.main_entries,
        main_bytes: sizes.main_bytes,
        hot_entries: sizes.hot_entries,
        hot_bytes: sizes.hot_bytes,
    }
}
