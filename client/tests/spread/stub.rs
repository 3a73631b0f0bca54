//! A cache node that does as it is told, on a runtime of its own so that it can die with all its connections.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use groupcache_proto::cache::cache_service_server::{CacheService, CacheServiceServer};
use groupcache_proto::cache::*;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What a stub says to every call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// Its own address is the value.
    Value,
    NotFound,
    Error(Code),
    /// That its loader is unavailable.
    LoaderFailed,
    /// Nothing, ever.
    Nothing,
}

#[derive(Clone)]
struct Node {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    calls: Arc<AtomicU64>,
    stored: Arc<Mutex<Option<SetRequest>>>,
    removed: Arc<Mutex<Option<RemoveRequest>>>,
    authorization: Arc<Mutex<Option<String>>>,
}

pub(crate) struct Stub {
    node: Node,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Stub {
    pub(crate) fn start(says: Says) -> Stub {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let node = Node {
            address,
            says: Arc::new(Mutex::new(says)),
            calls: Arc::default(),
            stored: Arc::default(),
            removed: Arc::default(),
            authorization: Arc::default(),
        };
        let service = CacheServiceServer::new(node.clone());
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Stub { node, runtime: Some(runtime) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.node.address
    }

    pub(crate) fn calls(&self) -> u64 {
        self.node.calls.load(Ordering::Relaxed)
    }

    /// The last Set it took.
    pub(crate) fn stored(&self) -> SetRequest {
        self.node.stored.lock().clone().unwrap()
    }

    /// The last Remove it took.
    pub(crate) fn removed(&self) -> RemoveRequest {
        self.node.removed.lock().clone().unwrap()
    }

    /// What the last Get showed.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.node.authorization.lock().clone()
    }

    pub(crate) fn say(&self, says: Says) {
        *self.node.says.lock() = says;
    }

    /// Dies at once: its port closes, its connections break in the middle of whatever they carry.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    async fn answer(&self) -> Result<GetResponse, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let says = *self.says.lock();
        let outcome = match says {
            Says::Value => get_response::Outcome::Value(Bytes::from(self.address.to_string())),
            Says::NotFound => get_response::Outcome::NotFound(NotFound {}),
            Says::Error(code) => return Err(Status::new(code, "told to fail")),
            Says::LoaderFailed => {
                let details = ErrorDetails::with_error_info("LOADER_FAILED", "groupcache.dev", []);
                return Err(Status::with_error_details(
                    Code::Unavailable,
                    "loader names: it is down",
                    details,
                ));
            }
            Says::Nothing => std::future::pending().await,
        };
        let source = Source::Main as i32;
        Ok(GetResponse {
            outcome: Some(outcome),
            source,
            ttl_remaining_ms: Some(1_500),
            ..Default::default()
        })
    }
}

#[tonic::async_trait]
impl CacheService for Node {
    async fn get(&self, asked: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let shown = asked.metadata().get("authorization").and_then(|shown| shown.to_str().ok());
        *self.authorization.lock() = shown.map(ToOwned::to_owned);
        self.answer().await.map(Response::new)
    }

    async fn get_many(&self, asked: Request<GetManyRequest>) -> Result<Response<GetManyResponse>, Status> {
        let mut results = Vec::new();
        for key in asked.into_inner().keys {
            let result = if key == "bad" {
                key_result::Result::Failure(Failure { code: Code::Internal as i32, message: "told".into() })
            } else {
                key_result::Result::Response(self.answer().await?)
            };
            results.push(KeyResult { result: Some(result) });
        }
        Ok(Response::new(GetManyResponse { results }))
    }

    async fn remove(&self, asked: Request<RemoveRequest>) -> Result<Response<RemoveResponse>, Status> {
        self.answer().await?;
        *self.removed.lock() = Some(asked.into_inner());
        Ok(Response::new(RemoveResponse {}))
    }

    async fn remove_many(
        &self,
        _: Request<RemoveManyRequest>,
    ) -> Result<Response<RemoveManyResponse>, Status> {
        self.answer().await.map(|_| Response::new(RemoveManyResponse {}))
    }

    async fn set(&self, asked: Request<SetRequest>) -> Result<Response<SetResponse>, Status> {
        self.answer().await?;
        *self.stored.lock() = Some(asked.into_inner());
        Ok(Response::new(SetResponse {}))
    }

    async fn flush(&self, _: Request<FlushRequest>) -> Result<Response<FlushResponse>, Status> {
        self.answer().await.map(|_| Response::new(FlushResponse {}))
    }

    async fn fill(&self, _: Request<FillRequest>) -> Result<Response<FillResponse>, Status> {
        Err(Status::unimplemented("the client does not call it"))
    }

    type StreamStream = Pin<Box<dyn futures::Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(
        &self,
        _: Request<tonic::Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Err(Status::unimplemented("the client does not call it"))
    }
}
