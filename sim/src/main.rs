//! Runs seeds of the simulation and tells what they added up to.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use groupcache_sim::mutations::{self, Caught, RULES};
use groupcache_sim::tally::Tally;
use groupcache_sim::world::{self, Options, Outcome};

/// Runs whole clusters of real nodes in virtual time, with faults, and judges what they promise
#[derive(Parser)]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many seeds
    #[arg(long, conflicts_with = "hours")]
    seeds: Option<u64>,
    /// Until so many cluster-hours are simulated
    #[arg(long)]
    hours: Option<f64>,
    /// Seeds at a time; the machine's cores if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Show the events: all of them, or those of the minute before a broken promise
    #[arg(long)]
    journal: bool,
    /// Switch each rule off in turn and demand that a promise breaks
    #[arg(long)]
    mutations: bool,
    /// Only mutations whose description contains this
    #[arg(long, value_name = "WORD", requires = "mutations")]
    only: Option<String>,
}

/// How a user calls this program.
const COMMAND: &str = "cargo xtask sim";

/// Seeds without either bound.
const SEEDS: u64 = 200;

/// A mutation that no seed of so many shows is not caught.
const MOST_SEEDS: u64 = 150;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = arguments.jobs.unwrap_or_else(cores).max(1);
    let held = if arguments.mutations { hunt_all(&arguments, jobs) } else { run_all(&arguments, jobs) };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the seeds on so many threads; true if every promise was kept.
fn run_all(arguments: &Arguments, jobs: usize) -> bool {
    let next = AtomicU64::new(arguments.seed);
    let simulated = AtomicU64::new(0);
    let wanted = arguments.hours.map(|hours| (hours * 3_600_000.0) as u64);
    let seeds = arguments.seeds.unwrap_or(if wanted.is_some() { u64::MAX } else { SEEDS });
    let options = Options { rules_off: Vec::new(), keep_journal: arguments.journal };
    let (tell, told) = mpsc::channel::<Outcome>();
    let began = Instant::now();
    let (mut sum, mut worked, mut broken, mut digest) = (Tally::default(), Duration::ZERO, 0, 0);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (tell, next, simulated, options) = (tell.clone(), &next, &simulated, &options);
            let last = arguments.seed.saturating_add(seeds);
            scope.spawn(move || {
                while wanted.is_none_or(|wanted| simulated.load(Ordering::Relaxed) < wanted) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let outcome = world::run(seed, options);
                    simulated.fetch_add(outcome.tally.simulated, Ordering::Relaxed);
                    let _ = tell.send(outcome);
                }
            });
        }
        drop(tell);
        let mut shown = Instant::now();
        for outcome in told {
            sum.add(&outcome.tally);
            worked += outcome.worked;
            digest ^= outcome.digest;
            broken += usize::from(!outcome.broken.is_empty());
            tell_broken(&outcome);
            if shown.elapsed() > Duration::from_secs(1) {
                shown = Instant::now();
                progress(&format!(
                    "{} seeds, {:.2} cluster-hours, {} Removes checked, {broken} seeds broken, {:.0} s",
                    sum.seeds,
                    sum.hours(),
                    sum.succeeded,
                    began.elapsed().as_secs_f64()
                ));
            }
        }
    });
    progress("");
    println!("{sum}");
    println!(
        "speed      {:.1} s of {jobs} threads; {:.1} s of one core; {:.0} Removes across a fault or view change in a minute of it",
        began.elapsed().as_secs_f64(),
        worked.as_secs_f64(),
        sum.across_a_minute(worked)
    );
    println!("digest     {digest:016x} of all seeds together");
    println!("violations {broken} seeds");
    broken == 0
}

fn tell_broken(outcome: &Outcome) {
    if outcome.broken.is_empty() {
        print!("{}", outcome.journal);
        return;
    }
    progress("");
    println!("seed {} broke, digest {:016x}:", outcome.seed, outcome.digest);
    print!("{}", outcome.journal);
    for broken in &outcome.broken {
        println!("  {:>7}.{:03} s {}: {}", broken.at / 1000, broken.at % 1000, broken.promise, broken.what);
    }
    println!("  replay it: {COMMAND} --seed {} --seeds 1 --journal", outcome.seed);
}

/// One line that replaces the former, where somebody looks on.
fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{line}");
        let _ = std::io::stderr().flush();
    } else if !line.is_empty() {
        eprintln!("{line}");
    }
}

/// Hunts for every mutation; true if all were caught.
fn hunt_all(arguments: &Arguments, jobs: usize) -> bool {
    let wanted = |text: &str| arguments.only.as_ref().is_none_or(|word| text.contains(word.as_str()));
    let hunted: Vec<_> = RULES.iter().filter(|(_, text)| wanted(text)).collect();
    let next = AtomicU64::new(0);
    let (tell, told) = mpsc::channel::<(usize, Caught)>();
    let mut all = true;
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (tell, next, hunted) = (tell.clone(), &next, &hunted);
            let most = arguments.seeds.unwrap_or(MOST_SEEDS);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some((rule, _)) = hunted.get(at) else { return };
                    let _ = tell.send((at, mutations::hunt(*rule, arguments.seed, most)));
                }
            });
        }
        drop(tell);
        for (at, caught) in told {
            let text = hunted[at].1;
            match caught.outcome.as_ref().and_then(|outcome| outcome.broken.first()) {
                Some(broken) => {
                    println!(
                        "caught     {text}: seeds {}, by {}: {}",
                        caught.seeds, broken.promise, broken.what
                    );
                }
                None => {
                    all = false;
                    println!("NOT CAUGHT {text}: {} seeds broke nothing", caught.seeds);
                }
            }
        }
    });
    all
}
