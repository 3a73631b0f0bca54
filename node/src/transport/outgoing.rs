//! Answers on their way out: large ones have a place in a budget, and a client that does not read is cut off.
//!
//! Without this a few connections whose windows stay shut pin any amount of memory: each answer waits, encoded, for its reader.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use http::Response;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::memory::{InFlightBytes, Reserved};

/// Smaller answers are neither counted nor watched: most are, and all that one connection can hold of them is half a megabyte.
pub(crate) const SMALL_BYTES: usize = 4 << 10;

/// An answer is sent in pieces of this size, the largest frame of HTTP/2 unless both sides agree on more: each one sent is progress.
const PIECE_BYTES: usize = 16 << 10;

/// How long an answer may make no progress: a kilobyte a second is enough.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same while other answers wait for a place in the budget.
const PRESSED_PATIENCE: Duration = Duration::from_secs(1);

/// Between looks at the answers of a connection that has some.
const LOOK: Duration = Duration::from_millis(250);

/// One connection may hold one part of this many of the budget.
const SHARES: u64 = 8;

/// Answers of one connection that are noted before those that are gone are swept out: twice its streams.
const SWEEP_AT: usize = 256;

/// The budget of bytes that are being answered. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    budget: InFlightBytes,
    share: u64,
    waiting: Arc<AtomicUsize>,
}

/// What an answer weighs and until when it may wait for its place; whoever answers notes it with the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The bytes of its values.
    pub bytes: usize,
    /// When its call must be answered.
    pub deadline: Instant,
}

impl Outgoing {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Outgoing { budget: InFlightBytes::new(bytes), share: bytes / SHARES, waiting: Arc::default() }
    }

    /// Bytes that are on their way out now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.budget.taken()
    }

    async fn reserve(&self, bytes: u64) -> Reserved {
        let mut reserve = pin!(self.budget.reserve(bytes));
        if let Some(reserved) = reserve.as_mut().now_or_never() {
            return reserved;
        }
        let _waits = Waits::begin(&self.waiting);
        reserve.await
    }

    fn patience(&self) -> Duration {
        if self.waiting.load(Ordering::Relaxed) > 0 { PRESSED_PATIENCE } else { PATIENCE }
    }
}

/// Room for an answer, given back when dropped: in its connection's share, and in the budget.
#[derive(Debug)]
pub(crate) struct Place {
    _share: Reserved,
    _budget: Reserved,
}

/// The places of a stream's answers between the moment they are taken to be sent and the moment their body is made. Whoever answers a stream notes it
/// with the response, and hands it the place of each answer when it gives the answer away. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    places: Arc<Mutex<Vec<Place>>>,
}

impl Carried {
    /// An answer with this place is given away.
    pub(crate) fn add(&self, place: Option<Place>) {
        if let Some(place) = place {
            self.places.lock().push(place);
        }
    }

    fn take(&self) -> Vec<Place> {
        std::mem::take(&mut self.places.lock())
    }
}

/// There was no room for an answer before its call's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfRoom;

/// One more waits, until dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one connection has not sent yet. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Unsent {
    shared: Arc<Answers>,
}

#[derive(Debug)]
struct Answers {
    outgoing: Outgoing,
    /// This connection's own share, so that one that does not read waits for itself first.
    share: InFlightBytes,
    /// Held for look-ups only, and by this connection alone.
    known: Mutex<Vec<Weak<Answer>>>,
    some: Notify,
}

/// A large answer that is not all sent.
#[derive(Debug)]
struct Answer {
    moved: Mutex<Instant>,
    _places: Vec<Place>,
}

impl Unsent {
    /// Nothing yet.
    pub(crate) fn new(outgoing: &Outgoing) -> Self {
        let share = InFlightBytes::new(outgoing.share);
        let (outgoing, known, some) = (outgoing.clone(), Mutex::default(), Notify::new());
        Unsent { shared: Arc::new(Answers { outgoing, share, known, some }) }
    }

    /// The response with its body watched until its last byte is sent, once there is a place for it.
    pub(crate) async fn watch(&self, mut response: Response<Body>) -> Result<Response<Body>, OutOfRoom> {
        let place = match response.extensions_mut().remove::<Weight>() {
            Some(Weight { bytes, deadline }) => self.place(bytes, deadline).await?,
            None => None,
        };
        let answer = place.map(|place| self.note(vec![place]));
        let carried = response.extensions_mut().remove::<Carried>();
        let unsent = self.clone();
        Ok(response.map(|inner| Body::new(Watched { inner, unsent, answer, carried, rest: Bytes::new() })))
    }

    /// Room for an answer of that many bytes, as soon as there is some; a small one needs none.
    pub(crate) async fn place(&self, bytes: usize, deadline: Instant) -> Result<Option<Place>, OutOfRoom> {
        if bytes < SMALL_BYTES {
            return Ok(None);
        }
        let place = async {
            let share = self.shared.share.reserve(bytes as u64).await;
            Place { _share: share, _budget: self.shared.outgoing.reserve(bytes as u64).await }
        };
        timeout_at(deadline, place).await.map(Some).map_err(|_| OutOfRoom)
    }

    /// Returns when an answer has made no progress for longer than there is patience.
    pub(crate) async fn stalled(&self) {
        loop {
            let Some(oldest) = self.oldest() else {
                self.shared.some.notified().await;
                continue;
            };
            if oldest.elapsed() > self.shared.outgoing.patience() {
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn note(&self, places: Vec<Place>) -> Arc<Answer> {
        let answer = Arc::new(Answer { moved: Mutex::new(Instant::now()), _places: places });
        let mut known = self.shared.known.lock();
        if known.len() >= SWEEP_AT {
            known.retain(|answer| answer.strong_count() > 0);
        }
        known.push(Arc::downgrade(&answer));
        drop(known);
        self.shared.some.notify_one();
        answer
    }

    /// When the answer that moved last moved: the one that has waited longest.
    fn oldest(&self) -> Option<Instant> {
        let mut known = self.shared.known.lock();
        known.retain(|answer| answer.strong_count() > 0);
        known.iter().filter_map(Weak::upgrade).map(|answer| *answer.moved.lock()).min()
    }
}

/// A body that goes out in pieces, each of which knows its answer.
struct Watched {
    inner: Body,
    unsent: Unsent,
    answer: Option<Arc<Answer>>,
    /// Places of what the frames to come are made of.
    carried: Option<Carried>,
    /// What is left of the frame that is being sent.
    rest: Bytes,
}

impl Watched {
    fn piece(&mut self) -> Frame<Bytes> {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let unsent = &self.unsent;
        let answer = self.answer.get_or_insert_with(|| unsent.note(Vec::new())).clone();
        Frame::data(Bytes::from_owner(Piece { bytes, answer }))
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            // A stream with nothing to say is not one that nobody reads; pieces under way still know their answer.
            self.answer = None;
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let places = self.carried.as_ref().map(Carried::take).unwrap_or_default();
        if !places.is_empty() {
            // All that was given away since the last frame is in this one.
            self.answer = Some(self.unsent.note(places));
        }
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) if data.len() >= SMALL_BYTES => {
                self.rest = data;
                self.piece()
            }
            Ok(data) => Frame::data(data),
            Err(frame) => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// A piece of an answer; it is gone when the system has taken it.
struct Piece {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        *self.answer.moved.lock() = Instant::now();
    }
}
