//! Plain counters of one group; whoever exports them reads them, the group only counts.

/// What a group has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gets from clients.
    pub gets: u64,
    /// Gets from peers: we were asked as the owner.
    pub peer_gets: u64,
    /// Gets answered from the main cache.
    pub main_hits: u64,
    /// Gets answered from the hot cache.
    pub hot_hits: u64,
    /// Gets answered by another node.
    pub fetches: u64,
    /// Fetches that found the peer unreachable.
    pub fetch_failures: u64,
    /// Gets answered by the key's second owner.
    pub second_owner_fetches: u64,
    /// Loads that answered, values and "no such key".
    pub loads: u64,
    /// Loads that failed.
    pub load_failures: u64,
    /// Loads that were refused because a bound was met.
    pub loads_shed: u64,
    /// Gets that waited for a load or fetch which another Get had started.
    pub joined: u64,
    /// Gets answered with "no such key".
    pub not_found: u64,
    /// Gets that ended at their deadline.
    pub deadline_exceeded: u64,
    /// Results that were answered but not kept, because a purge came between.
    pub fenced: u64,
    /// Values over the group's size limit: answered, not kept.
    pub oversize: u64,
    /// Removes that this node coordinated and every node acknowledged.
    pub removes: u64,
    /// Removes that this node coordinated and not every node acknowledged.
    pub removes_partial: u64,
    /// Keys purged here, whoever coordinated.
    pub purged_keys: u64,
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
