//! gRPC calls of one message, on their way in: each has a place from its first bytes to its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::transport::calls::CallError;
use crate::transport::incoming::{Incoming, Place};
use crate::transport::wire::status;

/// In front of each message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What a gRPC call may weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Most {
    /// The largest message that is read at all.
    pub(crate) bytes: usize,
    /// The largest value of any group, where the message is one value and little else.
    pub(crate) value: Option<usize>,
}

/// Answers a gRPC call whose message has a place from its first bytes to its answer.
pub(crate) async fn counted(
    State((incoming, most)): State<(Incoming, Most)>,
    request: Request,
    next: Next,
) -> Response {
    let place = Arc::new(Mutex::new(incoming.place()));
    let arriving = |inner| {
        Body::new(Arriving { inner, place: Arc::clone(&place), most, received: 0, prefix: [0; PREFIX_BYTES] })
    };
    let response = next.run(request.map(arriving)).await;
    // The message lives as long as the call, and its body does not.
    drop(place);
    response
}

/// The body of a gRPC call of one message.
struct Arriving {
    inner: Body,
    /// Locked by one task at a time.
    place: Arc<Mutex<Place>>,
    most: Most,
    received: usize,
    prefix: [u8; PREFIX_BYTES],
}

impl Arriving {
    /// Finds room for the whole message as soon as its length is known: two that each have room for half would wait for each other.
    fn arrived(&mut self, data: &Bytes) -> Result<(), CallError> {
        for (to, from) in self.prefix.iter_mut().skip(self.received).zip(data) {
            *to = *from;
        }
        self.received += data.len();
        let mut message = 0;
        if let [_, length @ ..] = self.prefix
            && self.received >= PREFIX_BYTES
        {
            message = u32::from_be_bytes(length) as usize;
        }
        if message > self.most.bytes {
            return match self.most.value {
                Some(limit) => Err(CallError::ValueTooLarge { bytes: None, limit }),
                // The server of the call refuses it in its own words.
                None => Ok(()),
            };
        }
        let bytes = self.received.max(message + PREFIX_BYTES);
        Ok(self.place.lock().holds(bytes as u64)?)
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
            && let Err(error) = self.arrived(data)
        {
            return Poll::Ready(Some(Err(axum::Error::new(status(&error)))));
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
