//! Another node answers several keys: one call for all that an owner has, then the second owners, then loads here.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{join, join_all};
use groupcache_ring::Member;
use tokio::time::timeout_at;

use crate::flight::Company;
use crate::group::fetch::{OWNERS_ASKED, Terms};
use crate::group::many::{Boarding, Seat, Wanted, while_wanted};
use crate::group::state::State;
use crate::group::{Group, Origin};
use crate::peer::{FetchManyRequest, PeerError};
use crate::stats::Count;
use crate::view::{Place, View};

impl Group {
    /// Joins or starts each key's fetch, as [`Group::board_fetch`] does for one. Those that start share one call of their owner.
    pub(super) fn board_fetches(
        self: &Arc<Self>,
        owner: &Member,
        mut wanted: Vec<Wanted>,
        state: &State,
        view: &Arc<View>,
    ) -> Vec<Boarding> {
        if wanted.len() == 1 {
            let alone = wanted.remove(0);
            return vec![self.board_fetch(&alone.key, alone.hash, alone.start, state, view.clone())];
        }
        let (now, terms) = (self.grants.clock().now(), Terms::new(state, view.clone()));
        let mut seats = Vec::new();
        let board = |wanted: Wanted| {
            self.requests.note(wanted.hash, now);
            // As for one: what starts inside the key's window flies alone (K2), and so does what may not be kept (K3).
            let company =
                if terms.serves && !wanted.start.in_window { Company::Any } else { Company::Nobody };
            let boarded = self.take_seat(&self.fetches, wanted, company, Origin::Client, &mut seats);
            boarded.map_err(|_| self.shed("fetches"))
        };
        let boarded = wanted.into_iter().map(board).collect();
        if !seats.is_empty() {
            tokio::spawn(self.clone().fetch_together(owner.clone(), seats, terms));
        }
        boarded
    }

    /// Asks the owner, then the second owners of what it did not answer, and loads what they do not answer either.
    async fn fetch_together(self: Arc<Self>, owner: Member, seats: Vec<Seat>, terms: Terms) {
        let unanswered = self.ask_together(&owner, 0, seats, &terms).await;
        let (mut here, mut seconds) = (Vec::new(), BTreeMap::new());
        for seat in unanswered {
            let ranked = terms.view.ranked(seat.wanted.key.as_bytes(), OWNERS_ASKED);
            match ranked.get(1) {
                Some(Place::Peer(second)) => {
                    let (_, seats) = seconds.entry(&second.name).or_insert((*second, Vec::new()));
                    seats.push(seat);
                }
                _ => here.push(seat),
            }
        }
        let ask = |(second, seats)| {
            let (group, terms) = (&self, &terms);
            async move {
                let unanswered = group.ask_together(second, 1, seats, terms).await;
                group.load_instead_together(unanswered, terms).await;
            }
        };
        let seconds = join_all(seconds.into_values().map(ask));
        join(self.load_instead_together(here, &terms), seconds).await;
    }

    /// Asks an owner for the seats' keys until it has spoken of each; those of which it said nothing come back.
    async fn ask_together(
        &self,
        owner: &Member,
        rank: usize,
        mut seats: Vec<Seat>,
        terms: &Terms,
    ) -> Vec<Seat> {
        let mut unanswered = Vec::new();
        loop {
            seats.retain(Seat::is_wanted);
            if seats.is_empty() {
                break;
            }
            let request = FetchManyRequest {
                group: self.name.clone(),
                keys: seats.iter().map(|seat| seat.wanted.key.clone()).collect(),
                version: terms.view.version(),
                deadline: terms.deadline,
            };
            let said = timeout_at(terms.deadline, self.peers.fetch_many(owner, request));
            // Dropped with the last waiter, and the owner sees that nobody waits.
            let Some(said) = while_wanted(&mut seats, said).await else { break };
            let said = match said.unwrap_or(Err(PeerError::DeadlineExceeded)) {
                Ok(many) if (1..=seats.len()).contains(&many.outcomes.len()) => Ok(many.outcomes),
                Ok(many) => {
                    let (said, asked) = (many.outcomes.len(), seats.len());
                    Err(PeerError::Refused(format!("{said} answers for {asked} keys").into()))
                }
                Err(error) => Err(error),
            };
            match said {
                Ok(outcomes) => {
                    let rest = seats.split_off(outcomes.len());
                    for (seat, outcome) in std::mem::replace(&mut seats, rest).into_iter().zip(outcomes) {
                        match self.heard(rank, &seat.wanted, terms, outcome) {
                            Some(flown) => seat.land(flown),
                            None => unanswered.push(seat),
                        }
                    }
                }
                Err(error) => match self.unanswered(owner, &error) {
                    Some(flown) => seats.drain(..).for_each(|seat| seat.land(flown.clone())),
                    None => unanswered.append(&mut seats),
                },
            }
        }
        self.counters.add_many(Count::FetchFailures, unanswered.len() as u64);
        unanswered
    }

    /// No owner could be asked, or the second one is this node: loads here, shared with all who need them.
    async fn load_instead_together(self: &Arc<Self>, seats: Vec<Seat>, terms: &Terms) {
        if seats.is_empty() {
            return;
        }
        let wanted = self.wanted(seats.iter().map(|seat| seat.wanted.key.clone()).collect());
        let boarded = self.board_loads(wanted, &self.state.load_full());
        let land = seats.into_iter().zip(boarded).map(|(seat, boarded)| async {
            match boarded {
                Ok(boarded) => seat.land_with(self.landed(boarded, terms.deadline)).await,
                Err(error) => seat.land(Err(error)),
            }
        });
        join_all(land).await;
    }
}
