//! Room for a gRPC answer, found between the length of its message and the message itself.
//!
//! So memory is set aside for what comes, and no more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use thiserror::Error;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

use crate::loader::room::{GroupRoom, Reserved};

/// Before each message stand a flag and its length.
const PREFIX_BYTES: usize = 5;

/// A message is larger than may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("its answer has {found} bytes; {most} are the most that is read")]
pub(crate) struct TooLarge {
    found: usize,
    most: usize,
}

/// A connection whose answers are one message each, of at most so many bytes, and wait for room.
#[derive(Clone, Debug)]
pub(crate) struct Metered {
    channel: Channel,
    room: GroupRoom,
    most: usize,
}

impl Metered {
    pub(crate) fn new(channel: Channel, room: GroupRoom, most: usize) -> Self {
        Metered { channel, room, most }
    }
}

impl Service<Request<Body>> for Metered {
    type Response = Response<MeteredBody>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (room, most) = (self.room.clone(), self.most);
        let answer = self.channel.call(request);
        Box::pin(async move {
            let metered = |inner| MeteredBody { inner, room, most, stage: Stage::Prefix(Vec::new()) };
            Ok(answer.await?.map(metered))
        })
    }
}

/// The body of an answer.
pub(crate) struct MeteredBody {
    inner: Body,
    room: GroupRoom,
    most: usize,
    stage: Stage,
}

enum Stage {
    /// So much of the prefix is here.
    Prefix(Vec<u8>),
    /// The data that ended the prefix waits for room, and after it so many bytes are to come.
    Waits(BoxFuture<'static, Reserved>, Bytes, usize),
    /// Its room is held until the body is dropped, and so many bytes are to come.
    Message(#[expect(dead_code, reason = "held")] Reserved, usize),
}

impl http_body::Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Stage::Waits(room, data, rest) = &mut self.stage {
            let reserved = ready!(room.poll_unpin(cx));
            let (data, rest) = (std::mem::take(data), *rest);
            self.stage = Stage::Message(reserved, rest);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        match frame.into_data() {
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            Ok(data) => match self.seen(data) {
                Err(refused) => Poll::Ready(Some(Err(refused))),
                Ok(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                // A prefix is complete, and there is someone to wait for.
                Ok(None) => self.poll_frame(cx),
            },
        }
    }
}

impl MeteredBody {
    /// What of the data may be passed on now; `None`: it waits for room.
    fn seen(&mut self, data: Bytes) -> Result<Option<Bytes>, Status> {
        match &mut self.stage {
            Stage::Prefix(prefix) => {
                let missing = (PREFIX_BYTES - prefix.len()).min(data.len());
                prefix.extend_from_slice(&data[..missing]);
                if prefix.len() < PREFIX_BYTES {
                    return Ok(Some(data));
                }
                let found = (&prefix[1..]).get_u32() as usize;
                if found > self.most {
                    return Err(Status::from_error(Box::new(TooLarge { found, most: self.most })));
                }
                let rest = found.checked_sub(data.len() - missing).ok_or_else(more_than_one)?;
                let room = self.room.clone();
                let reserved = async move { room.reserve(found as u64).await }.boxed();
                self.stage = Stage::Waits(reserved, data, rest);
                Ok(None)
            }
            Stage::Message(_, rest) => {
                *rest = rest.checked_sub(data.len()).ok_or_else(more_than_one)?;
                Ok(Some(data))
            }
            Stage::Waits(..) => Ok(Some(data)),
        }
    }
}

fn more_than_one() -> Status {
    Status::unknown("it answered more than one message")
}
