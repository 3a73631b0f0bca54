//! Measures several contestants in turn, round after round, and takes medians.

use std::sync::Barrier;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// What one contestant took, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// How many threads worked at the same time.
    pub threads: usize,
    /// Median over the rounds of the time of one operation, in nanoseconds of a thread's own time.
    pub ns_per_op: f64,
    /// Operations per second of all threads together, in millions, in the median round.
    pub million_per_second: f64,
    /// The fastest and the slowest round, in nanoseconds per operation: how far to trust the median.
    pub spread_ns: (f64, f64),
    /// Median of what it took longer than the first contestant *in the same round*, in nanoseconds per operation.
    pub over_first_ns: f64,
}

/// One contestant: its name, and what one thread does for one round of so many operations.
pub struct Contestant<'a> {
    /// Its name.
    pub name: String,
    /// Does `operations` operations as thread `thread`.
    pub work: Box<dyn Fn(usize, usize) + Sync + 'a>,
}

impl std::fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contestant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Lets each contestant work `rounds` times, in turn, and answers their figures in the same order. One round before that is thrown away.
#[must_use]
pub fn measure(
    contestants: &[Contestant<'_>],
    threads: usize,
    rounds: usize,
    operations: usize,
) -> Vec<Figure> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let took = one_round(contestant, threads, operations);
            if round > 0 {
                times.push(took.as_nanos() as f64 / operations as f64);
            }
        }
    }
    let first = times.first().cloned().unwrap_or_default();
    contestants
        .iter()
        .zip(times)
        .map(|(contestant, times)| figure(&contestant.name, threads, times, &first))
        .collect()
}

/// The time that the slowest of the threads ran. Each thread keeps to a core of its own, the same in every round.
fn one_round(contestant: &Contestant<'_>, threads: usize, operations: usize) -> Duration {
    let start = Barrier::new(threads);
    let cores = cores();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let start = &start;
                let core = cores.get(thread % cores.len().max(1)).copied();
                scope.spawn(move || {
                    core.into_iter().for_each(pin);
                    start.wait();
                    let started = time_run();
                    (contestant.work)(thread, operations);
                    time_run() - started
                })
            })
            .collect();
        let times = workers.into_iter().map(|worker| worker.join().expect("a worker panicked"));
        times.max().unwrap_or_default()
    })
}

/// For how long the calling thread has run: the time in which other processes had its core does not count.
fn time_run() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// The cores this process may run on.
fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps the calling thread to one core. Where that is not allowed it runs where it may: the figures are less steady then, nothing else.
fn pin(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    let _ = sched_setaffinity(None, &only);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn figure(name: &str, threads: usize, mut times: Vec<f64>, first: &[f64]) -> Figure {
    let mut over: Vec<f64> = times.iter().zip(first).map(|(mine, first)| mine - first).collect();
    let median_ns = median(&mut times);
    let ends = times.first().zip(times.last()).map_or((f64::NAN, f64::NAN), |(first, last)| (*first, *last));
    Figure {
        name: name.to_owned(),
        threads,
        ns_per_op: median_ns,
        million_per_second: threads as f64 * 1_000.0 / median_ns,
        spread_ns: ends,
        over_first_ns: median(&mut over),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn contestants_take_turns_and_the_first_round_does_not_count() {
        let turns = Mutex::new(String::new());
        let contestant = |name: &'static str| Contestant {
            name: name.to_owned(),
            work: Box::new(|_, _| turns.lock().unwrap().push_str(name)),
        };
        let figures = measure(&[contestant("a"), contestant("b")], 1, 2, 10);
        assert_eq!(*turns.lock().unwrap(), "ababab");
        assert_eq!(figures.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_figure_is_the_median_round() {
        let figure = figure("a", 2, vec![300.0, 100.0, 200.0], &[299.0, 90.0, 195.0]);
        assert_eq!(
            (figure.ns_per_op, figure.million_per_second, figure.spread_ns, figure.over_first_ns),
            (200.0, 10.0, (100.0, 300.0), 5.0)
        );
    }
}
