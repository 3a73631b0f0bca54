//! Runs seeds over the simulated network and tells what they added up to.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use clap::Parser;
use groupcache_sim::tally::Tally;
use groupcache_simnet::world::{self, Options, Outcome};

/// Runs whole clusters over the node's real transport on a simulated network, with faults, and judges what they promise
#[derive(Parser)]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many seeds
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Seeds at a time; the machine's cores if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Show the events: all of them, or those before a broken promise
    #[arg(long)]
    journal: bool,
}

/// How a user calls this program.
const COMMAND: &str = "cargo xtask sim --wire";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = arguments.jobs.unwrap_or_else(cores).max(1);
    let next = AtomicU64::new(arguments.seed);
    let last = arguments.seed.saturating_add(arguments.seeds);
    let options = Options { rules_off: Vec::new(), keep_journal: arguments.journal };
    let (tell, told) = mpsc::channel::<Outcome>();
    let began = Instant::now();
    let (mut sum, mut broken, mut digest) = (Tally::default(), 0, 0);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (tell, next, options) = (tell.clone(), &next, &options);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let _ = tell.send(world::run(seed, options));
                }
            });
        }
        drop(tell);
        for outcome in told {
            sum.add(&outcome.tally);
            digest ^= outcome.digest;
            broken += usize::from(!outcome.broken.is_empty());
            tell_one(&outcome);
        }
    });
    println!("{sum}");
    println!("speed      {:.1} s of {jobs} threads", began.elapsed().as_secs_f64());
    println!("digest     {digest:016x} of all seeds together");
    println!("violations {broken} seeds");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell_one(outcome: &Outcome) {
    let Outcome { seed, digest, tally, .. } = outcome;
    if outcome.broken.is_empty() {
        print!("{}", outcome.journal);
        println!("seed {seed} held: {} Removes checked, digest {digest:016x}", tally.succeeded);
        return;
    }
    println!("seed {seed} broke, digest {digest:016x}:");
    print!("{}", outcome.journal);
    for broken in &outcome.broken {
        println!("  {:>7}.{:03} s {}: {}", broken.at / 1000, broken.at % 1000, broken.promise, broken.what);
    }
    println!("  replay it: {COMMAND} --seed {seed} --seeds 1 --journal");
}
