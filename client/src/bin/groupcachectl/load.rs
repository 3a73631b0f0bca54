//! load: many callers, each a Get or a batch of them at a time, and an honest account of what came.

mod keys;
mod pace;
mod record;
mod summary;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use groupcache_client::client::{Answer, Client};
use groupcache_client::error::GetError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::args::{Load, Shared};
use crate::load::keys::Keys;
use crate::load::pace::Pace;
use crate::load::record::{Live, Record};
use crate::load::summary::{Second, Summary};
use crate::output::{Outcome, Output};

/// How long a load runs if no end is given.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// A node takes 128 calls at a time on one connection; some are left for retries.
const CALLERS_PER_CONNECTION: usize = 100;

/// How long to wait for the last node before the first Get, so that the Gets are spread over all of them.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most seconds in a timeline: a day.
const MAX_TIMELINE: usize = 86_400;

pub(crate) async fn load(shared: &Shared, load: &Load) -> anyhow::Result<Outcome> {
    let callers = if load.cold_key.is_some() { load.concurrent } else { load.callers } as usize;
    let connections = load.connections.unwrap_or_else(|| callers.div_ceil(CALLERS_PER_CONNECTION));
    let builder = shared.builder()?.connections_per_node(connections);
    let client = builder.connect(&shared.address).await;
    let client = client.with_context(|| format!("cannot reach {} (--address)", shared.address))?;
    if !client.wait_for_all(PATIENCE).await {
        eprintln!("not every address is connected; going on with {:?}", client.addresses());
    }
    let keys = Arc::new(Keys::new(load)?);

    let (stop_tx, stop) = watch::channel(false);
    let live = Arc::new(Live::default());
    let budget = Arc::new(AtomicU64::new(match load.cold_key {
        Some(_) => u64::from(load.concurrent),
        None => load.gets.unwrap_or(u64::MAX),
    }));
    let pace = load.rate.map(|rate| Arc::new(Pace::new(rate)));
    let barrier = Arc::new(Barrier::new(callers + 1));
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let seed = load.seed.wrapping_add(caller as u64);
        let caller = Caller {
            client: client.clone(),
            group: load.group.clone(),
            draws: if load.in_turn { keys.in_turn() } else { keys.draws(seed) },
            batch: u64::from(load.batch),
            pace: pace.clone(),
            live: live.clone(),
            budget: budget.clone(),
            stop: stop.clone(),
            once: load.cold_key.is_some(),
            record: Record::new()?,
        };
        let barrier = barrier.clone();
        tasks.spawn(async move {
            barrier.wait().await;
            caller.run().await
        });
    }
    barrier.wait().await;
    let started = Instant::now();
    let (record, timeline) = watch_over(tasks, load, &live, &client, &stop_tx).await?;
    let summary = Summary {
        record,
        attempts: client.attempts(),
        elapsed: started.elapsed(),
        callers,
        nodes: client.addresses().len(),
        timeline: load.timeline.then_some(timeline),
    };
    match shared.output {
        Output::Json => println!("{}", summary.as_json()),
        Output::Text => print!("{}", summary.as_text()),
    }
    Ok(if summary.record.errors() == 0 { Outcome::Done } else { Outcome::Failed })
}

/// Waits for the callers, reporting each second, and stops them at the end of the time or at a signal.
async fn watch_over(
    mut tasks: JoinSet<Record>,
    load: &Load,
    live: &Live,
    client: &Client,
    stop_tx: &watch::Sender<bool>,
) -> anyhow::Result<(Record, Vec<Second>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let endless = load.until_signal || load.gets.is_some() || load.cold_key.is_some();
    let duration = load.duration.or((!endless).then_some(DEFAULT_DURATION));
    let over = async {
        match duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(Instant::now() + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut record = Record::new()?;
    let mut timeline: Vec<Second> = Vec::new();
    let mut before = Second::default();
    let mut stopping = false;
    loop {
        tokio::select! {
            joined = tasks.join_next() => match joined {
                Some(joined) => record.add(&joined.context("a caller panicked")?)?,
                None => return Ok((record, timeline)),
            },
            () = &mut over, if !stopping => stopping = true,
            _ = terminate.recv() => stopping = true,
            _ = interrupt.recv() => stopping = true,
            _ = ticks.tick() => {
                let now = Second::now(live, client.attempts());
                let passed = now.since(&before, timeline.len() as u64 + 1);
                if !load.quiet {
                    eprintln!("{}", passed.as_line(client.addresses().len()));
                }
                if timeline.len() < MAX_TIMELINE {
                    timeline.push(passed);
                }
                before = now;
            }
        }
        if stopping {
            stop_tx.send_replace(true);
        }
    }
}

/// One caller.
struct Caller {
    client: Client,
    group: String,
    draws: keys::Draws,
    /// Gets in one call.
    batch: u64,
    /// `None`: as fast as answers come.
    pace: Option<Arc<Pace>>,
    live: Arc<Live>,
    budget: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
    /// One Get and no more.
    once: bool,
    record: Record,
}

impl Caller {
    async fn run(mut self) -> Record {
        while !*self.stop.borrow() {
            let gets = self.may_send();
            if gets == 0 || !self.waited_for_its_turn(gets).await {
                break;
            }
            let started = Instant::now();
            let answers = self.ask(gets).await;
            for answer in &answers {
                self.record.note(answer, started.elapsed());
                self.live.note(answer.is_err());
            }
            if self.once {
                break;
            }
        }
        self.record
    }

    /// One call for so many keys; where it fails as a whole, it has failed for each of them.
    async fn ask(&mut self, gets: u64) -> Vec<Result<Answer, GetError>> {
        if self.batch == 1 {
            return vec![self.client.answer(&self.group, self.draws.next_key()).await];
        }
        let keys: Vec<_> = (0..gets).map(|_| self.draws.next_key()).collect();
        let asked = keys.len();
        match self.client.answer_many(&self.group, keys).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); asked],
        }
    }

    /// False if the load ended before it was this caller's turn.
    async fn waited_for_its_turn(&mut self, gets: u64) -> bool {
        let Some(pace) = &self.pace else { return true };
        tokio::select! {
            () = pace.turn(gets) => true,
            _ = self.stop.wait_for(|stop| *stop) => false,
        }
    }

    /// Takes the Gets of one call from the common budget; 0: it is spent.
    fn may_send(&self) -> u64 {
        let less = |left: u64| (left > 0).then(|| left.saturating_sub(self.batch));
        let left = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        left.map_or(0, |left| left.min(self.batch))
    }
}
