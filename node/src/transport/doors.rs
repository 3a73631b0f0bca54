//! What each port serves: the doors of the data port and of the cluster port, as routers.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use groupcache_group::groups::Groups;
use groupcache_process::readiness::Readiness;
use groupcache_proto::cache::cache_service_server::{CacheServiceServer, SERVICE_NAME as CACHE};
use groupcache_proto::cluster::cluster_service_server::ClusterServiceServer;
use groupcache_proto::family::group_cache_server::{GroupCacheServer, SERVICE_NAME as FAMILY};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder;

use crate::access::Access;
use crate::configuration::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::transport::arriving::{self, Most};
use crate::transport::calls::Calls;
use crate::transport::cluster_server::ClusterServer;
use crate::transport::control::Control;
use crate::transport::data_server::DataServer;
use crate::transport::family_server::FamilyServer;
use crate::transport::gate;
use crate::transport::http;
use crate::transport::incoming::Incoming;
use crate::transport::roles;

/// Largest request of an application but Set: as many keys as one may name, of twice the default's length. What is not whole yet is memory that a
/// client holds without having asked anything.
const MAX_REQUEST_BYTES: usize = 2 << 20;

/// Largest Set: a value of any group, its key, and the names around them.
const MAX_SET_BYTES: usize = MAX_VALUE_BYTES as usize + MAX_KEY_BYTES as usize + (4 << 10);

/// Where Set is served: besides the calls beside it, because it alone brings a value.
const SET: &str = "/groupcache.v1.CacheService/Set";

/// Where streams of calls are served.
const STREAM: &str = "/groupcache.v1.CacheService/Stream";

/// The one call of the cluster port that the data port serves, too: it changes nothing, and people without a certificate may look.
const DESCRIBE: &str = "/groupcache.cluster.v1.ClusterService/Describe";

/// Largest message of a peer's or the operator's: a snapshot with everything that may be in one.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The doors of the data port, each behind the gate of `access` but health and reflection, and the health they report.
///
/// # Errors
/// If the descriptors built in for reflection do not decode.
pub fn data(
    groups: Arc<Groups>,
    control: Arc<dyn Control>,
    incoming: &Incoming,
    access: &Access,
) -> anyhow::Result<(Router, HealthReporter)> {
    let calls = Calls::new(Arc::clone(&groups), incoming.clone(), access.clone());
    let (reporter, health) = tonic_health::server::health_reporter();
    let cache =
        |most| CacheServiceServer::new(DataServer::new(calls.clone())).max_decoding_message_size(most);
    let family = GroupCacheServer::new(FamilyServer::new(calls.clone()));
    let described = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(groupcache_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(CACHE)
            .with_service_name(FAMILY)
            .with_service_name("grpc.health.v1.Health")
    };
    // Old tools, the common grpcurl among them, know only the version before.
    let (v1, v1alpha) = (described().build_v1(), described().build_v1alpha());
    let count = |most| from_fn_with_state((incoming.clone(), most), arriving::counted);
    let set = Most { bytes: MAX_SET_BYTES, value: Some(MAX_VALUE_BYTES as usize) };
    let others = Most { bytes: MAX_REQUEST_BYTES, value: None };
    let counted = Routes::new(cache(MAX_REQUEST_BYTES))
        .add_service(family.max_decoding_message_size(MAX_REQUEST_BYTES))
        .into_axum_router()
        .layer(count(others));
    let set = Router::new().route_service(SET, cache(MAX_SET_BYTES)).layer(count(set));
    // A stream has no end to wait for: what it carries is counted call by call.
    let streams = Router::new().route_service(STREAM, cache(MAX_REQUEST_BYTES));
    // Whoever may not call may still ask whether the node serves, and how to call it.
    let asked_by_all = Routes::new(health)
        .add_service(v1.context("building the reflection service")?)
        .add_service(v1alpha.context("building the reflection service")?)
        .into_axum_router()
        .reset_fallback();
    let router = counted
        .merge(set)
        .merge(streams)
        .route_service(DESCRIBE, ClusterServiceServer::new(ClusterServer::new(groups, control)))
        .route(http::ROUTE, any(http::serve).with_state(calls))
        .fallback(http::elsewhere)
        .layer(from_fn_with_state(access.clone(), gate::checked))
        .merge(asked_by_all);
    Ok((router, reporter))
}

/// The cluster port's one door.
pub fn cluster(groups: Arc<Groups>, control: Arc<dyn Control>) -> Router {
    let server = ClusterServiceServer::new(ClusterServer::new(groups, control))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(server).into_axum_router().layer(from_fn(roles::checked)).fallback(http::elsewhere)
}

/// Reports the node's readiness as the services' health, for as long as it is polled.
pub async fn report(reporter: HealthReporter, readiness: Readiness) {
    let mut changes = readiness.follow();
    while let Some(missing) = changes.next().await {
        let status = if missing.is_empty() { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", CACHE, FAMILY] {
            reporter.set_service_status(service, status).await;
        }
    }
}
