//! Several keys at once: what is not here is asked for together, by owner, and each key has a result of its own.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::flight::{Boarded, Company, Flights, Full};
use crate::generation::Start;
use crate::group::load::lost;
use crate::group::{Answer, Flown, GetError, Group, Origin, Pilot, end_of};
use crate::stats::{Count, Ending};
use crate::value::Key;
use crate::view::Place;

/// A key that is wanted, and what held when its flight was to start.
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) start: Start,
}

/// A flight that waits for its part of a call for several keys. The call is a task of its own, as the flight is: it belongs to no caller.
pub(super) struct Seat {
    pub(super) wanted: Wanted,
    pub(super) pilot: Pilot,
    reply: oneshot::Sender<Flown>,
}

impl Seat {
    /// Ends the flight.
    pub(super) fn land(self, flown: Flown) {
        // A flight that was stopped meanwhile needs no answer.
        let _ = self.reply.send(flown);
    }

    /// False if the flight was stopped, because its last waiter has left.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Ends the flight as another one ends; that one is left when nobody waits for this one any more.
    pub(super) async fn land_with(mut self, other: impl Future<Output = Flown>) {
        tokio::select! {
            biased;
            flown = other => self.land(flown),
            () = self.reply.closed() => {}
        }
    }
}

/// Waits for a step while anyone waits for any of the seats; `None` once nobody does.
pub(super) async fn while_wanted<T>(seats: &mut [Seat], step: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = step => Some(done),
        _ = join_all(seats.iter_mut().map(|seat| seat.reply.closed())) => None,
    }
}

/// One key of a call for several.
enum Asked<'a> {
    /// It was here.
    Here(Answer),
    /// It is asked for.
    Miss(Ending<'a>),
    /// It is asked for already, at that place of the same call.
    Again(usize, Ending<'a>),
}

/// A flight, or why there is none.
pub(super) type Boarding = Result<Boarded<Flown>, GetError>;

/// One owner's part of the keys, and where their results belong.
#[derive(Default)]
struct Share {
    at: Vec<usize>,
    wanted: Vec<Wanted>,
}

impl Group {
    /// Answers several keys by `deadline`: the results of the first keys, in their order. Each key counts as a Get, and boards a flight like one.
    ///
    /// All keys have a result unless the values are more than `most_bytes` together: then the last result is the last that fits, and the first always does.
    pub async fn get_many(
        self: &Arc<Self>,
        keys: Vec<Key>,
        origin: Origin,
        deadline: Instant,
        most_bytes: usize,
    ) -> Vec<Result<Answer, GetError>> {
        if origin == Origin::Client {
            self.counters.add(Count::GetManys);
        }
        for key in &keys {
            // One wait is enough for all, and after it none is awaited.
            self.waited_for_grants(key, origin, deadline).await;
        }
        let (asked, misses) = self.look_at(keys, origin);
        let late = deadline <= Instant::now();
        let boarded = if late { Vec::new() } else { self.board_many(misses.clone(), origin) };
        let mut boarded = misses.iter().zip(boarded);
        let (mut results, mut bytes) = (Vec::<Flown>::with_capacity(asked.len()), 0);
        // One after the other: the flights are tasks, and fly all the same. Leaving early leaves the other flights.
        for asked in asked {
            let result = match asked {
                Asked::Here(answer) => Ok(answer),
                Asked::Again(first, ending) => self.repeat(&results[first], ending),
                Asked::Miss(ending) => {
                    let (result, end) = match boarded.next() {
                        Some((_, Ok(boarded))) => self.land(boarded, deadline).await,
                        Some((key, Err(error))) => self.refused(key, origin, error),
                        None => (Err(GetError::DeadlineExceeded), Count::DeadlineExceeded),
                    };
                    self.ended(ending, result, end)
                }
            };
            bytes += result.as_ref().map_or(0, |answer| answer.entry.value_bytes());
            if bytes > most_bytes && !results.is_empty() {
                break;
            }
            results.push(result);
        }
        results
    }

    /// What is here, and the keys that are not: each once, in order.
    fn look_at(self: &Arc<Self>, keys: Vec<Key>, origin: Origin) -> (Vec<Asked<'_>>, Vec<Key>) {
        let now = self.grants.clock().now();
        let begin = if origin == Origin::Peer { Count::PeerMisses } else { Count::Misses };
        let (mut firsts, mut misses) = (HashMap::new(), Vec::new());
        let look = |(at, key): (usize, Key)| {
            if let Some(answer) = self.cached(key.as_bytes(), origin) {
                return Asked::Here(answer);
            }
            let ending = Ending::new(&self.counters, begin);
            if let Some(answer) = self.aged(&key, origin, now) {
                ending.at(end_of(&answer));
                return Asked::Here(answer);
            }
            match firsts.entry(key) {
                Slot::Occupied(first) => Asked::Again(*first.get(), ending),
                Slot::Vacant(first) => {
                    misses.push(first.key().clone());
                    first.insert(at);
                    Asked::Miss(ending)
                }
            }
        };
        let asked = keys.into_iter().enumerate().map(look).collect();
        (asked, misses)
    }

    /// The result of a key for a second time in one call: it joined the first.
    fn repeat(&self, first: &Flown, ending: Ending<'_>) -> Flown {
        let end = match first {
            Err(GetError::NotReady) => Count::NotReady,
            Err(GetError::DeadlineExceeded) => Count::DeadlineExceeded,
            Ok(_) | Err(GetError::Load(_)) => Count::Joined,
        };
        self.ended(ending, first.clone(), end)
    }

    /// Boards the flight of each key, as [`Group::board`] does for one: loads where this node is to answer, else fetches, by owner.
    fn board_many(self: &Arc<Self>, keys: Vec<Key>, origin: Origin) -> Vec<Boarding> {
        if let [key] = &keys[..] {
            return vec![self.board(key, origin)];
        }
        // The generations first, the view after them: see `sent`.
        let wanted = self.wanted(keys);
        let state = self.state.load_full();
        let Some(view) = state.view.clone() else {
            return wanted.iter().map(|_| Err(GetError::NotReady)).collect();
        };
        // In the order of their names: the same Gets make the same calls in the same order.
        let (mut mine, mut theirs) = (Share::default(), BTreeMap::new());
        for (at, wanted) in wanted.into_iter().enumerate() {
            let share = match view.owner(wanted.key.as_bytes()) {
                Some(Place::Peer(owner)) if origin == Origin::Client => {
                    let (_, share) = theirs.entry(&owner.name).or_insert((owner, Share::default()));
                    share
                }
                _ => &mut mine,
            };
            share.at.push(at);
            share.wanted.push(wanted);
        }
        let loads = self.board_loads(mine.wanted, &state);
        let mut boarded: Vec<(usize, Boarding)> = mine.at.into_iter().zip(loads).collect();
        for (owner, share) in theirs.into_values() {
            let fetches = self.board_fetches(owner, share.wanted, &state, &view);
            boarded.extend(share.at.into_iter().zip(fetches));
        }
        boarded.sort_unstable_by_key(|(at, _)| *at);
        boarded.into_iter().map(|(_, boarded)| boarded).collect()
    }

    /// What holds for flights of these keys that start now.
    pub(super) fn wanted(&self, keys: Vec<Key>) -> Vec<Wanted> {
        let now = self.grants.clock().now();
        let wanted = |key: Key| {
            let hash = self.hasher.hash_one(&key);
            Wanted { start: self.generations.start(hash, now), hash, key }
        };
        keys.into_iter().map(wanted).collect()
    }

    /// Joins or starts the key's flight. One that starts takes a seat, unless the one before it has landed since and the key is here now.
    pub(super) fn take_seat(
        self: &Arc<Self>,
        flights: &Arc<Flights<Flown>>,
        wanted: Wanted,
        company: Company,
        origin: Origin,
        seats: &mut Vec<Seat>,
    ) -> Result<Boarded<Flown>, Full> {
        let (key, hash, start) = (wanted.key.clone(), wanted.hash, wanted.start);
        let run = |pilot| {
            let now = self.grants.clock().now();
            let kept = self.kept(&wanted.key, hash, origin, now);
            let here = kept.fresh(None, now);
            let (reply, answer) = oneshot::channel();
            if here.is_none() {
                seats.push(Seat { wanted, pilot, reply });
            }
            let group = self.clone();
            async move {
                if let Some(here) = here {
                    return Ok(here);
                }
                let flown = answer.await.unwrap_or_else(|_| Err(lost(&group.name)));
                flown.or_else(|error| group.cover(&kept, error, group.grants.clock().now()))
            }
        };
        flights.board(&key, hash, start, company, run)
    }
}
