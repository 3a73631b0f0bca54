//! Starts the loader's two ports and stops them without breaking a call.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use groupcache_proto::loader::loader_service_server::LoaderServiceServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::unicode::admin;
use crate::unicode::service::UnicodeLoader;

/// How long calls may take to end once the loader is told to stop; then it stops anyway. Below the 30 s that Kubernetes waits.
const GRACE: Duration = Duration::from_secs(20);

/// Keepalive on every connection: a node that died without a word is noticed.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// Serves `groupcache.loader.v1`, health and reflection on `grpc`, and the admin port on `http`, until `stop` is ready.
///
/// # Errors
/// If a port fails. Calls that outlast the grace period are cut, which is no error.
pub async fn serve(
    loader: UnicodeLoader,
    grpc: TcpListener,
    http: Option<TcpListener>,
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<LoaderServiceServer<UnicodeLoader>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(groupcache_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("groupcache.loader.v1.LoaderService")
        .with_service_name("grpc.health.v1.Health")
        .build_v1()
        .context("the descriptors for reflection do not parse")?;

    let (stop_tx, stop_rx) = tokio::sync::watch::channel(false);
    let stopped = |mut stop_rx: tokio::sync::watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a stop too.
        let _ = stop_rx.wait_for(|stop| *stop).await;
    };
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .add_service(LoaderServiceServer::new(loader.clone()))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(TcpListenerStream::new(grpc), stopped(stop_rx.clone()));
    let administered = async {
        match http {
            Some(http) => {
                axum::serve(http, admin::router(loader)).with_graceful_shutdown(stopped(stop_rx)).await
            }
            None => Ok(()),
        }
    };
    let ending = async {
        stop.await;
        tracing::info!("stopping: no new calls; those under way may end");
        health.set_not_serving::<LoaderServiceServer<UnicodeLoader>>().await;
        let _ = stop_tx.send(true);
        tokio::time::sleep(GRACE).await;
    };
    let both = async {
        tokio::try_join!(async { served.await.context("the gRPC port") }, async {
            administered.await.context("the admin port")
        })
    };
    tokio::select! {
        result = both => result.map(|_| ()),
        () = ending => Ok(()),
    }
}
