//! Asks the grantors for grants in time, for as long as the node lives, and lapses when none come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_ring::{Member, Version};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::groups::Groups;
use crate::peer::{BeatRequest, Beaten};
use crate::simulation::{Rule, off};

/// Beats in one staleness bound: so many must be lost in a row before copies lapse, less the time that one takes.
const BEATS_IN_A_BOUND: u32 = 6;

/// Between beats while this node may not serve copies and so has nothing to lose but time.
const EAGER: Duration = Duration::from_millis(100);

/// The shortest time between beats, however small the bound.
const SHORTEST: Duration = Duration::from_millis(10);

/// Beats until dropped.
pub async fn keep_up(groups: Arc<Groups>) {
    let mut adopted = groups.subscribe();
    let mut on_the_way = OnTheWay::default();
    loop {
        adopted.borrow_and_update();
        beat_all(&groups, &mut on_the_way);
        let grants = groups.grants();
        let serves = grants.serves(grants.clock().now());
        let regular = (grants.bound() / BEATS_IN_A_BOUND).max(SHORTEST);
        let wait = if serves { regular } else { regular.min(EAGER) };
        tokio::select! {
            biased;
            changed = adopted.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(wait) => groups.lapse_if_due(),
        }
    }
}

/// The beats that have no answer yet, by grantor: one at a time to each.
#[derive(Default)]
struct OnTheWay(BTreeMap<String, (u64, AbortHandle)>);

impl OnTheWay {
    fn keep_only(&mut self, grantors: &[Member]) {
        self.0.retain(|name, (_, beat)| {
            let still = grantors.iter().any(|grantor| grantor.name == *name);
            if !still {
                beat.abort();
            }
            still
        });
    }

    /// True if the grantor was asked in this term and has not answered.
    fn asked(&mut self, grantor: &str, term: u64) -> bool {
        match self.0.get(grantor) {
            Some((in_term, beat)) if *in_term == term => !beat.is_finished(),
            Some((_, beat)) => {
                beat.abort();
                false
            }
            None => false,
        }
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        for (_, beat) in self.0.values() {
            beat.abort();
        }
    }
}

fn beat_all(groups: &Arc<Groups>, on_the_way: &mut OnTheWay) {
    let (Some(asking), Some(view)) = (groups.grants().to_ask(), groups.view()) else {
        *on_the_way = OnTheWay::default();
        return;
    };
    on_the_way.keep_only(&asking.grantors);
    for grantor in asking.grantors {
        if grantor.name == view.me() {
            groups.grant_oneself(asking.term);
        } else if !on_the_way.asked(&grantor.name, asking.term) {
            let name = grantor.name.clone();
            let beat = tokio::spawn(beat(groups.clone(), grantor, asking.term, asking.version));
            on_the_way.0.insert(name, (asking.term, beat.abort_handle()));
        }
    }
}

/// One beat. Its grant runs from here (G3), so the clock is read before anything is sent.
async fn beat(groups: Arc<Groups>, grantor: Member, term: u64, version: Version) {
    let grants = groups.grants();
    let bound = grants.bound();
    let sent = grants.clock().now();
    let deadline = Instant::now() + bound / 2;
    match groups.peers().beat(&grantor, BeatRequest { version, deadline }).await {
        Ok(reply) => match reply.said {
            // The shorter of what the two hold for the bound: it may be changing just now, here or there.
            Beaten::Granted(length) => {
                let sent = if off(Rule::FromSending) { grants.clock().now() } else { sent };
                groups.granted(&grantor.name, term, sent, length.min(bound));
            }
            said => tracing::debug!(grantor = grantor.name, ?said, "no grant"),
        },
        Err(error) => tracing::debug!(grantor = grantor.name, %error, "a beat was not answered"),
    }
}
