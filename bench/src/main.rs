//! Runs a benchmark and prints its figures.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use groupcache_bench::peers::Rate;
use groupcache_bench::rounds::Figure;
use groupcache_bench::trace::{HitRatios, PERCENT};
use groupcache_bench::{hit, memory, peers, ring, trace};
use groupcache_group::group::StoreKind;

/// Benchmarks beside their neighbours, in one run. Build with --release; see bench/README.md for how to read them.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    bench: Bench,
    /// Rounds in which the contestants take turns; the median counts.
    #[arg(long, default_value_t = 9, global = true, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Operations of each thread in each round.
    #[arg(long, default_value_t = 500_000, global = true, value_parser = clap::value_parser!(u32).range(1_000..))]
    operations: u32,
    /// For whom the output is.
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A Get that is in the cache: a whole group beside the raw stores.
    Hit {
        /// Numbers of threads, one after the other.
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        threads: Vec<usize>,
        /// Keys in the cache: 500 stay in a core's own caches, 10,000 do not.
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        keys: u32,
    },
    /// Who owns a key, in clusters of 3, 10 and 50.
    Ring,
    /// Fetches from another node over one link: streams beside a call for each.
    Peers {
        /// Callers at the same time, one number after the other.
        #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
        callers: Vec<usize>,
    },
    /// What an entry really costs, beside what is charged for it.
    Memory {
        /// Whose entries.
        #[arg(long, value_enum, default_value_t = Store::Quick)]
        store: Store,
        /// Bytes of each value.
        #[arg(long, default_value_t = 100)]
        value_bytes: usize,
        /// Let three times as many come as fit.
        #[arg(long)]
        churn: bool,
    },
    /// Hit ratios of the stores on a recorded trace, beside an exact LRU.
    Trace {
        /// The accesses, uncompressed: each key a big-endian word of 4 bytes.
        #[arg(long)]
        trace: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    Quick,
    Moka,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing; add --release");
    }
    let (rounds, operations) = (args.rounds as usize, args.operations as usize);
    let mut figures = Vec::new();
    match &args.bench {
        Bench::Hit { threads, keys } => {
            for &threads in threads {
                anyhow::ensure!((1..=256).contains(&threads), "--threads takes numbers from 1 to 256");
                eprintln!("measuring with {threads} thread(s), {rounds} rounds");
                figures.push(hit::run(*keys as usize, threads, rounds, operations)?);
            }
        }
        Bench::Peers { callers } => {
            anyhow::ensure!(callers.iter().all(|n| (1..=1_000).contains(n)), "--callers takes 1 to 1,000");
            for rates in peers::run(callers, rounds, operations)? {
                match args.output {
                    Output::Json => println!("{}", serde_json::to_string(&rates)?),
                    Output::Text => print_rates(&rates),
                }
            }
        }
        Bench::Ring => figures.push(ring::run(rounds, operations)),
        Bench::Memory { store, value_bytes, churn } => {
            let store = match store {
                Store::Quick => StoreKind::Quick,
                Store::Moka => StoreKind::Moka,
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let cost = runtime.block_on(memory::run(store, *value_bytes, *churn))?;
            match args.output {
                Output::Json => println!("{}", serde_json::to_string(&cost)?),
                Output::Text => println!(
                    "{}: {} entries with values of {} bytes; each takes {:.0} bytes beyond key and value and is charged {:.0}",
                    cost.store, cost.entries, cost.value_bytes, cost.resident_over, cost.charged_over
                ),
            }
        }
        Bench::Trace { trace } => {
            let ratios = trace::run(trace)?;
            match args.output {
                Output::Json => println!("{}", serde_json::to_string(&ratios)?),
                Output::Text => print_ratios(&ratios),
            }
        }
    }
    for figures in &figures {
        match args.output {
            Output::Json => println!("{}", serde_json::to_string(figures)?),
            Output::Text => print_table(figures),
        }
    }
    Ok(())
}

/// One line per contestant, each compared with the first.
fn print_table(figures: &[Figure]) {
    println!(
        "{:<32}{:>8}{:>10}{:>10}{:>18}{:>8}{:>9}",
        "", "threads", "ns/op", "M op/s", "fastest-slowest", "ratio", "over ns"
    );
    for figure in figures {
        let spread = format!("{:.0}-{:.0}", figure.spread_ns.0, figure.spread_ns.1);
        let ratio = figure.ns_per_op / figures[0].ns_per_op;
        println!(
            "{:<32}{:>8}{:>10.1}{:>10.2}{:>18}{:>8.2}{:>9.1}",
            figure.name,
            figure.threads,
            figure.ns_per_op,
            figure.million_per_second,
            spread,
            ratio,
            figure.over_first_ns
        );
    }
}

/// One line per way of asking, each compared with the first.
fn print_rates(rates: &[Rate]) {
    println!("{:<24}{:>8}{:>14}{:>20}{:>8}", "", "callers", "fetches/s", "slowest-fastest", "ratio");
    for rate in rates {
        let spread = format!("{:.0}-{:.0}", rate.spread.0, rate.spread.1);
        let ratio = rate.per_second / rates[0].per_second;
        println!("{:<24}{:>8}{:>14.0}{:>20}{:>8.2}", rate.name, rate.callers, rate.per_second, spread, ratio);
    }
}

/// One line per policy: percent of hits at each size.
fn print_ratios(ratios: &[HitRatios]) {
    println!("{:<32}{}", "cache in % of the keys", PERCENT.map(|percent| format!("{percent:>8}")).concat());
    for HitRatios { name, percent } in ratios {
        println!("{name:<32}{}", percent.iter().map(|percent| format!("{percent:>8.2}")).collect::<String>());
    }
}
