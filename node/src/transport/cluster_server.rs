//! The cluster port: what other nodes and the operator ask. It believes who says it is a peer: no application is here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{Stream, stream};
use groupcache_group::group::{Answer, Group, Origin};
use groupcache_group::groups::Groups;
use groupcache_group::value::Key;
use groupcache_proto::cluster::{self as wire, cluster_service_server::ClusterService, fetch_response};
use groupcache_proto::convert;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status, Streaming};

use crate::transport::calls::{self, CallError};
use crate::transport::control::Control;
use crate::transport::handover_server;
use crate::transport::invalidation_server;
use crate::transport::wire::{fetch_response as to_fetch_response, status};

mod many;

/// When an owner that has no answer gives the first sign of life.
const FIRST_SIGN: Duration = Duration::from_millis(50);

/// Between signs of life after that.
const NEXT_SIGN: Duration = Duration::from_secs(1);

/// How long a node that is behind may take to fetch the newer snapshot before it answers that it knows no such group.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Serves the cluster port.
#[derive(Clone)]
pub struct ClusterServer {
    groups: Arc<Groups>,
    control: Arc<dyn Control>,
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
        ClusterServer { groups, control }
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
        let group = self.group(request.caller.as_ref(), &request.group, deadline).await;
        let group = group.ok_or(CallError::UnknownGroup(request.group))?;
        let key = Key::new(request.key, group.settings().max_key_bytes)?;
        calls::get(&group, key, Origin::Peer, deadline).await
    }
}

/// A Fetch on its way: the answer to come, and when to give the next sign of life. Dropped when the asker goes.
struct Fetching {
    answer: BoxFuture<'static, Result<Answer, CallError>>,
    next_sign: Instant,
    server: ClusterServer,
}

impl Fetching {
    async fn next(mut self) -> (Result<wire::FetchResponse, Status>, Option<Self>) {
        tokio::select! {
            biased;
            answer = &mut self.answer => (to_fetch_response(self.server.version(), answer), None),
            // Nothing is lost here: the answer's future stays in self.
            () = sleep_until(self.next_sign) => {
                self.next_sign = Instant::now() + NEXT_SIGN;
                let outcome = Some(fetch_response::Outcome::Pending(wire::Pending {}));
                (Ok(wire::FetchResponse { version: self.server.wire_version(), outcome }), Some(self))
            }
        }
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
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        let deadline = calls::deadline(Some(Duration::from_millis(request.deadline_ms)));
        let next_sign = Instant::now() + FIRST_SIGN;
        let answer = Box::pin(self.clone().answer(request, deadline));
        let fetching = Fetching { answer, next_sign, server: self.clone() };
        let signs = stream::unfold(Some(fetching), async |fetching| match fetching {
            Some(fetching) => Some(fetching.next().await),
            None => None,
        });
        Ok(Response::new(Box::pin(signs)))
    }

    async fn peek(
        &self,
        request: Request<wire::PeekRequest>,
    ) -> Result<Response<wire::PeekResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        let value = self.groups.held(&request.group, &request.key).as_ref().and_then(handover_server::shown);
        Ok(Response::new(wire::PeekResponse { version: self.wire_version(), value }))
    }

    async fn purge(
        &self,
        request: Request<wire::PurgeRequest>,
    ) -> Result<Response<wire::PurgeResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        invalidation_server::purge(&self.groups, self.control.boot(), request).map(Response::new)
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
        Ok(Response::new(self.control.apply(request.into_inner())))
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
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        invalidation_server::store(&self.groups, request).map(Response::new)
    }

    async fn beat(
        &self,
        request: Request<wire::BeatRequest>,
    ) -> Result<Response<wire::BeatResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.caller.as_ref())?;
        invalidation_server::beat(&self.groups, &self.control, request).await.map(Response::new)
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
        _: Request<Streaming<wire::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        Err(status(&CallError::NotServed("Exchange")))
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
