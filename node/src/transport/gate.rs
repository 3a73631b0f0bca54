//! In front of the data port's doors: who shows no token that is known here gets no further, whatever it asks.

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use http::Request;

use crate::access::Access;
use crate::transport::calls::CallError;
use crate::transport::http::{is_grpc, refused};
use crate::transport::wire::status;

/// Lets a call through with its caller, or refuses it before anything of its body is kept.
pub(crate) async fn checked(
    State(access): State<Access>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    match access.identify(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => {
            let error = CallError::from(denied);
            if is_grpc(request.headers()) {
                status(&error).into_http()
            } else {
                refused(request, &error).await
            }
        }
    }
}
