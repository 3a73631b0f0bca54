//! Two sources in the middle of the network, which no machine takes along: one counts loads, one is for a checker.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::cachecluster::Wanted;
use crate::caller::Address;
use crate::checker::{Check, Load};
use crate::counting::CountingSource;
use crate::fleet::Fleet;
use crate::load;
use crate::machines::Machines;
use crate::readers;

/// A load that overlaps Removes.
const LOAD_TIME: Duration = Duration::from_millis(5);
/// A million keys, on two cores that are not idle.
const FILL: Duration = Duration::from_secs(900);
/// Little, because what is measured shares its processors with a whole Kubernetes.
const CHECKED: Load = Load { keys: 4, removers: 1, readers: 1 };

/// The sources of one scenario.
#[derive(Debug)]
pub struct Sources {
    machines: Machines,
    /// Behind the group `unicode`; it has every key.
    pub keys: CountingSource,
    /// Behind the group `counters`, which the checker has for itself.
    counters: CountingSource,
}

impl Sources {
    /// Starts them.
    ///
    /// # Errors
    /// When the cluster's network cannot be entered.
    pub fn start(machines: &Machines) -> Result<Self> {
        let address = machines.address()?;
        let start = |delay| machines.visit(|| CountingSource::start_at(address, delay));
        Ok(Self { machines: machines.clone(), keys: start(Duration::ZERO)?, counters: start(LOAD_TIME)? })
    }

    /// Three nodes before these sources. They drain for a short time: a scenario that is not about clients' habits need not wait for them.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let counters = Some(self.counters.url());
        Wanted { counters, drain_seconds: 5, ..Wanted::three(self.keys.url()) }
    }

    /// Begins to check that Removes hold, at every node of the fleet.
    ///
    /// # Errors
    /// When the cluster's network cannot be entered.
    pub fn check(&self, fleet: &Fleet) -> Result<Check> {
        self.machines.visit(|| Ok(Check::begin(&self.counters, &fleet.data(), "counters", CHECKED)))
    }

    /// Has the keys `key-0`, `key-1`, ... of the group `unicode` loaded.
    ///
    /// # Errors
    /// When a node does not answer.
    pub fn fill(&self, fleet: &Fleet, keys: usize) -> Result<()> {
        let nodes: Vec<SocketAddr> = fleet.data().iter().map(Address::now).collect();
        self.machines.visit(|| readers::fill(&nodes, "unicode", keys))
    }

    /// The same for very many keys, with values of so many bytes; asked for in batches.
    ///
    /// # Errors
    /// When a key was not loaded.
    pub fn fill_in_batches(&self, fleet: &Fleet, keys: u64, value_bytes: usize) -> Result<()> {
        self.keys.set_width(value_bytes);
        let nodes: Vec<String> = fleet.data().iter().map(|node| node.now().to_string()).collect();
        // More at a time would wait for a place at the loader, and be refused.
        let line = format!(
            "--group unicode --keys {keys} --gets {keys} --in-turn --batch 32 --callers 10 --deadline 20s"
        );
        let arguments: Vec<&str> = line.split(' ').collect();
        let load = load::start_inside(&self.machines, "fill", &nodes.join(","), &arguments)?;
        load::finish_within(load, FILL)?.demand_no_errors("while the cache was filled")
    }
}
