//! What runs added up to, and how that is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Figures of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs.
    pub seeds: u64,
    /// Milliseconds of the clusters' time.
    pub simulated: u64,
    /// Events.
    pub events: u64,
    /// Messages.
    pub messages: u64,
    /// Loads.
    pub loads: u64,
    /// Gets that were called, that gave a value, and those of them that came from main or hot at the node.
    pub gets: u64,
    /// See `gets`.
    pub answered: u64,
    /// See `gets`.
    pub hits: u64,
    /// Of these, from hot.
    pub hot_hits: u64,
    /// Removes, Sets and Flushes called.
    pub removes: u64,
    /// Of these, succeeded: each of them is checked by every Get after it.
    pub succeeded: u64,
    /// Of the succeeded, barred: a node was unreachable and known to be silent.
    pub barred: u64,
    /// Succeeded with a Get of a key in flight at the call.
    pub with_get: u64,
    /// Succeeded across a fault or a change of the view.
    pub across: u64,
    /// Called across one, whatever came of it.
    pub called_across: u64,
    /// With time enough and without a fault: called and succeeded.
    pub calm: (u64, u64),
    /// With time enough, within faults, at a node that reaches a majority: called and succeeded.
    pub troubled: (u64, u64),
    /// Gets that answered a value Set at the same time as a later Remove was called.
    pub unordered: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The longest that a call ended after its deadline, in milliseconds.
    pub latest: u64,
}

impl Tally {
    /// Adds another run's figures.
    pub fn add(&mut self, other: &Tally) {
        let sums = [
            (&mut self.seeds, other.seeds),
            (&mut self.simulated, other.simulated),
            (&mut self.events, other.events),
            (&mut self.messages, other.messages),
            (&mut self.loads, other.loads),
            (&mut self.gets, other.gets),
            (&mut self.answered, other.answered),
            (&mut self.hits, other.hits),
            (&mut self.hot_hits, other.hot_hits),
            (&mut self.removes, other.removes),
            (&mut self.succeeded, other.succeeded),
            (&mut self.barred, other.barred),
            (&mut self.with_get, other.with_get),
            (&mut self.across, other.across),
            (&mut self.called_across, other.called_across),
            (&mut self.unordered, other.unordered),
            (&mut self.calm.0, other.calm.0),
            (&mut self.calm.1, other.calm.1),
            (&mut self.troubled.0, other.troubled.0),
            (&mut self.troubled.1, other.troubled.1),
        ];
        for (sum, one) in sums {
            *sum += one;
        }
        self.latest = self.latest.max(other.latest);
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    /// Cluster-hours.
    #[must_use]
    pub fn hours(&self) -> f64 {
        Duration::from_millis(self.simulated).as_secs_f64() / 3600.0
    }

    /// Removes across a fault in a minute of one core.
    #[must_use]
    pub fn across_a_minute(&self, worked: Duration) -> f64 {
        self.called_across as f64 / worked.as_secs_f64().max(1e-9) * 60.0
    }
}

/// One part in a hundred.
#[must_use]
pub fn percent((called, succeeded): (u64, u64)) -> f64 {
    if called == 0 { 100.0 } else { 100.0 * succeeded as f64 / called as f64 }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { seeds, events, messages, loads, gets, answered, hits, hot_hits, .. } = self;
        writeln!(f, "simulated  {:.2} cluster-hours, {seeds} seeds, {events} events", self.hours())?;
        let kinds: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(f, "faults     {}: {}", self.faults.values().sum::<u64>(), kinds.join(", "))?;
        writeln!(
            f,
            "Gets       {gets} called, {answered} answered, {hits} from the node itself ({hot_hits} hot); {loads} loads, {messages} messages"
        )?;
        let Tally { removes, succeeded, barred, with_get, across, called_across, .. } = self;
        writeln!(
            f,
            "Removes    {removes} called, {succeeded} succeeded and checked, {barred} of them barred"
        )?;
        writeln!(
            f,
            "           of the checked {with_get} with a Get of the key in flight, {across} across a fault or view change (of {called_across} called)"
        )?;
        writeln!(
            f,
            "           succeed without faults {:.2} % of {}, within faults {:.2} % of {}",
            percent(self.calm),
            self.calm.0,
            percent(self.troubled),
            self.troubled.0
        )?;
        writeln!(
            f,
            "           {} Gets answered a value Set in the same window as a Remove",
            self.unordered
        )?;
        write!(f, "deadlines  overrun by {} ms at most", self.latest)
    }
}
