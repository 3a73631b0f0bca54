//! This node answers several keys: a load each, and loads that start together share calls of the loader.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::expiry::after;
use crate::flight::Company;
use crate::group::load::{CODE_INTERNAL, Sent, failed, within};
use crate::group::many::{Boarding, Seat, Wanted, while_wanted};
use crate::group::state::State;
use crate::group::{AbandonedLoads, Group, Origin};
use crate::loader::{LoadError, LoadManyRequest, LoadRequest, Loaded, Loader, Turn};
use crate::stats::Count;

/// Calls of the loader at a time that loads which started together make: what a caller with as many single Gets would.
const CALLS_AT_ONCE: usize = 64;

/// Most bytes of keys in one call of the loader: a thousand of the longest, and far below what gRPC servers take.
const MOST_KEY_BYTES: usize = 1 << 20;

/// One call of the loader for several keys.
struct Call {
    loader: Arc<dyn Loader>,
    timeout: Duration,
    abandoned: AbandonedLoads,
    /// Shared with the calls that started with it.
    places: Arc<Semaphore>,
}

impl Call {
    /// Waits for the loader's turn: one for the whole call.
    async fn turn(&self, request: LoadRequest) -> Result<Turn, LoadError> {
        let loader = &*self.loader;
        within(self.timeout, request.deadline, loader, async { loader.admit(&request).await }).await
    }
}

impl Group {
    /// Joins or starts each key's load, as [`Group::board_load`] does for one.
    pub(super) fn board_loads(self: &Arc<Self>, mut wanted: Vec<Wanted>, state: &State) -> Vec<Boarding> {
        if wanted.len() == 1 {
            let alone = wanted.remove(0);
            return vec![self.board_load(&alone.key, alone.hash, alone.start, state)];
        }
        let company = if state.serves(self.grants.clock().now()) { Company::Any } else { Company::Unsent };
        let mut seats = Vec::new();
        let board = |wanted| {
            let boarded = self.take_seat(&self.loads, wanted, company, Origin::Peer, &mut seats);
            boarded.map_err(|_| self.shed("loads"))
        };
        let boarded = wanted.into_iter().map(board).collect();
        let places = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        for seats in chunks(seats, state.loader.most_keys()) {
            let (loader, timeout) = (state.loader.clone(), state.settings.load_timeout);
            let abandoned = state.settings.abandoned_loads;
            let call = Call { loader, timeout, abandoned, places: places.clone() };
            tokio::spawn(self.clone().load_together(seats, call));
        }
        boarded
    }

    /// One call of the loader; each of its flights lands with its own part, kept by its own generation.
    async fn load_together(self: Arc<Self>, seats: Vec<Seat>, call: Call) {
        let mut seats = self.peek_together(seats).await;
        if seats.is_empty() {
            return;
        }
        // The semaphore is never closed.
        let Some(Ok(_place)) = while_wanted(&mut seats, call.places.acquire()).await else { return };
        let before: Vec<_> = seats.iter().map(|seat| seat.pilot.after_the_one_before()).collect();
        let Some(_) = while_wanted(&mut seats, join_all(before)).await else { return };
        let deadline = after(Instant::now(), call.timeout);
        let first = LoadRequest { group: self.name.clone(), key: seats[0].wanted.key.clone(), deadline };
        // If nobody waits any more nothing is asked of the source.
        let Some(turn) = while_wanted(&mut seats, call.turn(first)).await else { return };
        let _turn = match turn {
            Ok(turn) => turn,
            Err(error) => return seats.into_iter().for_each(|seat| self.land_load(seat, Err(error.clone()))),
        };
        let finish = call.abandoned == AbandonedLoads::Finish;
        seats.retain(|seat| seat.pilot.send(finish));
        if seats.is_empty() {
            return;
        }
        let sent: Vec<_> = seats.iter().map(|seat| self.sent(&seat.wanted.key, seat.wanted.hash)).collect();
        let loaded = self.call_together(&call, &seats, deadline).await;
        let loaded = loaded.unwrap_or_else(|error| seats.iter().map(|_| Err(error.clone())).collect());
        for ((seat, sent), loaded) in seats.into_iter().zip(sent).zip(loaded) {
            self.land_load(seat, loaded.map(|loaded| (sent, loaded)));
        }
    }

    fn land_load(&self, seat: Seat, loaded: Result<(Sent, Loaded), LoadError>) {
        let flown = self.loaded(&seat.wanted.key, seat.wanted.hash, loaded);
        seat.land(flown);
    }

    /// A result for each seat, or why there is none for any.
    async fn call_together(
        &self,
        call: &Call,
        seats: &[Seat],
        deadline: Instant,
    ) -> Result<Vec<Result<Loaded, LoadError>>, LoadError> {
        let (loader, group) = (&*call.loader, self.name.clone());
        if let [alone] = seats {
            let request = LoadRequest { group, key: alone.wanted.key.clone(), deadline };
            let load = async {
                alone.pilot.calls_the_loader();
                loader.load(request).await
            };
            let loaded = within(call.timeout, deadline, loader, load).await;
            return Ok(vec![loaded]);
        }
        self.counters.add(Count::LoadManys);
        self.counters.add_many(Count::LoadManyKeys, seats.len() as u64);
        let keys = seats.iter().map(|seat| seat.wanted.key.clone()).collect();
        let request = LoadManyRequest { group, keys, deadline };
        let loaded =
            within(call.timeout, deadline, loader, async { loader.load_many(request).await }).await?;
        if loaded.len() == seats.len() {
            return Ok(loaded);
        }
        let (name, said, asked) = (loader.name(), loaded.len(), seats.len());
        let message = format!(
            "{name}: {said} results for {asked} keys in one call, so none can be told apart; mend the loader"
        );
        Err(failed(CODE_INTERNAL, message))
    }
}

/// Shares loads out among calls of a loader that takes so many keys.
fn chunks(seats: Vec<Seat>, most_keys: usize) -> Vec<Vec<Seat>> {
    let (mut chunks, mut bytes) = (Vec::<Vec<Seat>>::new(), 0);
    for seat in seats {
        let size = seat.wanted.key.as_bytes().len();
        bytes += size;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < most_keys && bytes <= MOST_KEY_BYTES => chunk.push(seat),
            _ => {
                chunks.push(vec![seat]);
                bytes = size;
            }
        }
    }
    chunks
}
