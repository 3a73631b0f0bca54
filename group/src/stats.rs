//! Plain counters of one group; whoever exports them reads them, the group only counts.
//!
//! Every Get ends in exactly one way, so that when none is on its way
//! `gets + peer_gets = main_hits + hot_hits + stale_hits + fetches + loaded + joined + failed + not_ready + deadline_exceeded + abandoned`.
//! The other counters count loads, fetches, refreshes, entries and Removes, which are not Gets.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a group has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gets from clients.
    pub gets: u64,
    /// Gets from peers: we were asked as the owner.
    pub peer_gets: u64,
    /// Calls for several keys from clients; each of their keys is a Get.
    pub get_manys: u64,
    /// Gets answered from the main cache.
    pub main_hits: u64,
    /// Gets answered from the hot cache.
    pub hot_hits: u64,
    /// Gets answered with an expired value, of this node or of the owner: while it is refreshed, or because the load or fetch that they started failed.
    pub stale_hits: u64,
    /// Gets answered by another node, which they were the first to ask.
    /// Gets answered by another node, which they were the first to ask: its owner, or its former owner.
    pub fetches: u64,
    /// Gets answered by a load that they started.
    pub loaded: u64,
    /// Gets that ended with what a load or fetch gave which another Get had started.
    pub joined: u64,
    /// Gets that ended with the failure of a load or fetch which they started, or for which there was no room.
    pub failed: u64,
    /// Gets refused because no membership is known yet.
    pub not_ready: u64,
    /// Gets that ended at their deadline.
    pub deadline_exceeded: u64,
    /// Gets whose caller went away first.
    pub abandoned: u64,
    /// Gets answered with "no such key", wherever it was found.
    pub not_found: u64,
    /// Fetches that a peer could not answer: unreachable, another process, or it does not know the group.
    pub fetch_failures: u64,
    /// Fetches answered by the key's second owner.
    pub second_owner_fetches: u64,
    /// Loads that answered, values and "no such key", whether or not anyone still waited.
    pub loads: u64,
    /// Loads that failed.
    pub load_failures: u64,
    /// Calls of a loader for several keys at once.
    pub load_manys: u64,
    /// Keys that those calls asked for; each is a load.
    pub load_many_keys: u64,
    /// Loads and fetches that were refused because a bound was met.
    /// Loads, fetches and refreshes that were refused because a bound was met.
    pub loads_shed: u64,
    /// Loads and fetches that failed and ended with an expired value instead of the failure.
    pub stale_on_error: u64,
    /// Refreshes started in the background, at the source or at the owner.
    pub refreshes: u64,
    /// Refreshes that failed; the entry stayed as it was.
    pub refresh_failures: u64,
    /// Results that were answered but not kept, because a purge came between, its window was open, the source may lag behind, or is newer itself.
    pub fenced: u64,
    /// Values over the group's size limit: answered, not kept.
    pub oversize: u64,
    /// Results that were answered but not kept, because they would take too much of the cache.
    pub no_room: u64,
    /// Removes that this node coordinated and every node acknowledged.
    pub removes: u64,
    /// Removes that this node coordinated and not every node acknowledged.
    pub removes_partial: u64,
    /// Keys purged here, whoever coordinated.
    pub purged_keys: u64,
    /// Purges that found too many windows open and opened one for a thousandth of all keys.
    pub window_overflows: u64,
    /// Times that everything was dropped because this node held no grants any more.
    pub lapses: u64,
    /// Gets that found this node without grants: it loaded or fetched what it might have held.
    pub passed_through: u64,
    /// Flushes that purged every key here, whoever coordinated.
    pub flushes: u64,
    /// Sets that this node coordinated and that hold.
    pub sets: u64,
    /// Sets that this node coordinated and that failed.
    pub sets_failed: u64,
    /// Removes and Sets that held although a node could not be reached: it was barred, and its grants ran out.
    pub removes_barred: u64,
    /// Keys that this node had come to own, for which it looked at a former owner before it called the loader.
    pub peeks: u64,
    /// Such looks that found the key, and so saved a load.
    pub peek_hits: u64,
    /// Keys that other nodes offered this one after a change of the ring, because it owns them now.
    pub offered: u64,
    /// Entries that this node took over from other nodes.
    pub taken_over: u64,
    /// Entries that left a cache to make room.
    pub evictions: u64,
}

/// What a group holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Entries in the main cache.
    pub main_entries: u64,
    /// Bytes charged to the main cache: keys, values and overhead.
    pub main_bytes: u64,
    /// Entries in the hot cache.
    pub hot_entries: u64,
    /// Bytes charged to the hot cache.
    pub hot_bytes: u64,
    /// Loads and fetches in flight.
    pub flights: u64,
}

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// A client's Get that was not answered at first sight.
    Misses,
    /// The same, of a peer.
    PeerMisses,
    /// A client's Get answered at first sight.
    MainHits,
    /// A peer's Get answered at first sight.
    PeerMainHits,
    /// A client's Get answered at first sight from the hot cache.
    HotHits,
    /// A Get that found the key in main only on the longer way: in the flight that it started, or as it began a refresh.
    LateMainHits,
    /// The same, in hot.
    LateHotHits,
    StaleHits,
    Fetches,
    Loaded,
    Joined,
    Failed,
    NotReady,
    DeadlineExceeded,
    Abandoned,
    NotFound,
    FetchFailures,
    SecondOwnerFetches,
    Loads,
    LoadFailures,
    GetManys,
    LoadManys,
    LoadManyKeys,
    LoadsShed,
    StaleOnError,
    Refreshes,
    RefreshFailures,
    Fenced,
    Oversize,
    NoRoom,
    Removes,
    RemovesPartial,
    PurgedKeys,
    Lapses,
    PassedThrough,
    Flushes,
    Sets,
    SetsFailed,
    RemovesBarred,
    Peeks,
    PeekHits,
    Offered,
    TakenOver,
}

const COUNTS: usize = Count::TakenOver as usize + 1;

/// Sets of counters: threads beyond so many share them.
const MOST_SHARDS: usize = 64;

/// A group's counters, one set per thread, so that counting a hit touches no cache line that another core writes.
#[derive(Debug)]
pub(crate) struct Counters(Box<[Shard]>);

#[derive(Debug)]
#[repr(align(128))]
struct Shard([AtomicU64; COUNTS]);

thread_local! {
    /// Which set the thread counts in: threads are numbered as they come.
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

impl Counters {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(8, std::num::NonZero::get);
        let shards = (cores * 2).next_power_of_two().min(MOST_SHARDS);
        Counters((0..shards).map(|_| Shard([const { AtomicU64::new(0) }; COUNTS])).collect())
    }

    /// Counts one.
    #[inline]
    pub(crate) fn add(&self, what: Count) {
        self.add_many(what, 1);
    }

    /// Counts several.
    #[inline]
    pub(crate) fn add_many(&self, what: Count, many: u64) {
        let thread = THREAD.with(|thread| *thread);
        self.0[thread & (self.0.len() - 1)].0[what as usize].fetch_add(many, Ordering::Relaxed);
    }

    /// All of them. Not one instant's picture: Gets go on meanwhile.
    pub(crate) fn read(&self) -> Stats {
        let sum = |what: Count| {
            self.0.iter().map(|shard| shard.0[what as usize].load(Ordering::Relaxed)).sum::<u64>()
        };
        let client_hits = sum(Count::MainHits);
        let peer_hits = sum(Count::PeerMainHits);
        let hot_hits = sum(Count::HotHits);
        Stats {
            gets: client_hits + hot_hits + sum(Count::Misses),
            peer_gets: peer_hits + sum(Count::PeerMisses),
            get_manys: sum(Count::GetManys),
            main_hits: client_hits + peer_hits + sum(Count::LateMainHits),
            hot_hits: hot_hits + sum(Count::LateHotHits),
            stale_hits: sum(Count::StaleHits),
            fetches: sum(Count::Fetches),
            loaded: sum(Count::Loaded),
            joined: sum(Count::Joined),
            failed: sum(Count::Failed),
            not_ready: sum(Count::NotReady),
            deadline_exceeded: sum(Count::DeadlineExceeded),
            abandoned: sum(Count::Abandoned),
            not_found: sum(Count::NotFound),
            fetch_failures: sum(Count::FetchFailures),
            second_owner_fetches: sum(Count::SecondOwnerFetches),
            loads: sum(Count::Loads),
            load_failures: sum(Count::LoadFailures),
            load_manys: sum(Count::LoadManys),
            load_many_keys: sum(Count::LoadManyKeys),
            loads_shed: sum(Count::LoadsShed),
            stale_on_error: sum(Count::StaleOnError),
            refreshes: sum(Count::Refreshes),
            refresh_failures: sum(Count::RefreshFailures),
            fenced: sum(Count::Fenced),
            oversize: sum(Count::Oversize),
            no_room: sum(Count::NoRoom),
            removes: sum(Count::Removes),
            removes_partial: sum(Count::RemovesPartial),
            purged_keys: sum(Count::PurgedKeys),
            lapses: sum(Count::Lapses),
            passed_through: sum(Count::PassedThrough),
            flushes: sum(Count::Flushes),
            sets: sum(Count::Sets),
            sets_failed: sum(Count::SetsFailed),
            removes_barred: sum(Count::RemovesBarred),
            peeks: sum(Count::Peeks),
            peek_hits: sum(Count::PeekHits),
            offered: sum(Count::Offered),
            taken_over: sum(Count::TakenOver),
            ..Stats::default()
        }
    }
}

/// A Get that was not answered at first sight, until it ends. If it never says how, its caller went away.
pub(crate) struct Ending<'a> {
    counters: &'a Counters,
    end: Count,
}

impl<'a> Ending<'a> {
    /// A Get begins.
    pub(crate) fn new(counters: &'a Counters, begin: Count) -> Self {
        counters.add(begin);
        Ending { counters, end: Count::Abandoned }
    }

    /// It ends so.
    pub(crate) fn at(mut self, end: Count) {
        self.end = end;
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.counters.add(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_a_field_of_its_own() {
        let counters = Counters::new();
        counters.add(Count::MainHits);
        counters.add(Count::PeerMainHits);
        counters.add(Count::LateMainHits);
        counters.add_many(Count::PurgedKeys, 5);
        let stats = counters.read();
        assert_eq!((stats.gets, stats.peer_gets, stats.main_hits, stats.purged_keys), (1, 1, 3, 5));
    }

    #[test]
    fn a_get_that_does_not_say_how_it_ended_was_abandoned() {
        let counters = Counters::new();
        Ending::new(&counters, Count::Misses).at(Count::Loaded);
        drop(Ending::new(&counters, Count::PeerMisses));
        let stats = counters.read();
        assert_eq!((stats.gets, stats.peer_gets, stats.loaded, stats.abandoned), (1, 1, 1, 1));
    }

    #[test]
    fn threads_count_in_sets_of_their_own_and_are_summed() {
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000).for_each(|_| counters.add(Count::MainHits)));
            }
        });
        assert_eq!(counters.read().main_hits, 8_000);
    }
}
