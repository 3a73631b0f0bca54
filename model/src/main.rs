//! Searches the model from the command line: one scenario, or everything that is known about the rules.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Parser;
use groupcache_model::catalogue;
use groupcache_model::finding::{BOUNDS, Finding, NEEDED, PAIRS, SPARE};
use groupcache_model::model::Model;
use groupcache_model::rules::{Rule, Rules};
use groupcache_model::scenario::Scenario;
use groupcache_model::search::{Outcome, Verdict};

/// Searches the purge protocol for a Get that answers a removed value.
///
/// Ends with 0 if none was found (with --all: if everything is as it is known to be), with 1 otherwise.
#[derive(Parser)]
struct Arguments {
    /// The scenario to search; see --list
    #[arg(long, default_value = "one-view", value_name = "NAME")]
    scenario: String,
    /// Rules to switch off, separated by commas; see --list
    #[arg(long, value_delimiter = ',', value_name = "RULE")]
    without: Vec<String>,
    /// Let so many flights be under way at once, in place of what the scenario says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3))]
    flights: Option<u8>,
    /// Let so many restarts happen
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3))]
    restarts: Option<u8>,
    /// Let these nodes beat as they like, for example ABC
    #[arg(long, value_name = "NODES")]
    free: Option<String>,
    /// Let the Remove be called at these nodes only
    #[arg(long, value_name = "NODES")]
    coordinators: Option<String>,
    /// Let replies to beats of the free nodes be slow
    #[arg(long)]
    late_grants: bool,
    /// Let bars expire after so many ticks
    #[arg(long, value_name = "TICKS", value_parser = clap::value_parser!(u8).range(1..=7))]
    bar_expiry: Option<u8>,
    /// Stop after so many states; each takes about 50 bytes of memory
    #[arg(long, default_value_t = 20_000_000, value_name = "N")]
    states: usize,
    /// Go on where nothing old is left, and count how often the Remove succeeds
    #[arg(long)]
    to_the_end: bool,
    /// List the scenarios and the rules
    #[arg(long)]
    list: bool,
    /// Search every scenario with all rules, then every rule's known counterexample without it
    #[arg(long)]
    all: bool,
    /// Search every scenario without the rules of --without, or without each single rule in turn
    #[arg(long)]
    matrix: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let off = arguments.without.iter().map(|name| rule(name)).collect::<Result<Vec<_>>>()?;
    if arguments.list {
        list();
        return Ok(true);
    }
    if arguments.all {
        return Ok(all(arguments.states));
    }
    if arguments.matrix {
        return Ok(matrix(&off, arguments.states));
    }
    let scenario = scenario(arguments)?;
    let model = Model { scenario, rules: Rules::without(&off), to_the_end: arguments.to_the_end };
    let (outcome, took) = search(&model, arguments.states);
    println!("{}", row(&scenario, &off, &outcome, took));
    if let Verdict::Broken(violation, way) = &outcome.verdict {
        for (number, line) in model.explain(way, violation).iter().enumerate() {
            println!("{:>4}  {line}", number + 1);
        }
        return Ok(false);
    }
    if arguments.to_the_end {
        println!(
            "the Remove succeeds on {} steps, on {} of them after bars",
            outcome.successes, outcome.after_bars
        );
    }
    Ok(true)
}

/// The scenario asked for, with what the other arguments change in it.
fn scenario(arguments: &Arguments) -> Result<Scenario> {
    let mut scenario = catalogue::named(&arguments.scenario).ok_or_else(|| {
        anyhow!("there is no scenario named {:?}; --list names those there are", arguments.scenario)
    })?;
    scenario.flights = arguments.flights.map_or(scenario.flights, usize::from);
    scenario.restarts = arguments.restarts.unwrap_or(scenario.restarts);
    scenario.bar_expiry = arguments.bar_expiry.unwrap_or(scenario.bar_expiry);
    scenario.late_grants |= arguments.late_grants;
    if let Some(free) = &arguments.free {
        scenario.free = nodes(&scenario, free)?;
    }
    if let Some(coordinators) = &arguments.coordinators {
        scenario.coordinators = nodes(&scenario, coordinators)?;
    }
    Ok(scenario)
}

/// A set of the scenario's nodes from their letters.
fn nodes(scenario: &Scenario, letters: &str) -> Result<u8> {
    letters.chars().try_fold(0, |set, letter| {
        let node = "ABCD"[..scenario.nodes].find(letter.to_ascii_uppercase());
        let node = node.ok_or_else(|| {
            anyhow!("{} has no node {letter:?}; name its nodes by letters, as in ABC", scenario.name)
        })?;
        Ok(set | 1 << node)
    })
}

fn rule(name: &str) -> Result<Rule> {
    Rule::named(name).ok_or_else(|| anyhow!("there is no rule named {name:?}; --list names those there are"))
}

fn list() {
    println!("Scenarios:");
    for scenario in catalogue::ALL {
        println!("  {:<18} {}", scenario.name, scenario.text);
    }
    println!("Rules:");
    for rule in Rule::ALL {
        println!("  {:<18} {}", rule.name(), rule.text());
    }
}

/// Everything that is known, searched again; false if anything has turned out otherwise.
fn all(states: usize) -> bool {
    let mut as_known = true;
    println!("All rules in force:");
    for scenario in catalogue::ALL.iter().filter(|scenario| scenario.sound()) {
        let model = Model { scenario: *scenario, rules: Rules::FULL, to_the_end: false };
        let (outcome, took) = search(&model, states);
        println!("{}", row(scenario, &[], &outcome, took));
        as_known &= !matches!(outcome.verdict, Verdict::Broken(..));
    }
    let parts: [(&str, &[Finding]); 4] = [
        ("Without one rule:", NEEDED),
        ("Without two that cover for each other:", PAIRS),
        ("Outside the bounds, all rules in force:", BOUNDS),
        ("Rules that no search has found needed:", SPARE),
    ];
    for (title, findings) in parts {
        println!("{title}");
        for finding in findings {
            let model =
                Model { scenario: finding.scenario, rules: Rules::without(finding.off), to_the_end: false };
            let (outcome, took) = search(&model, states);
            let found = outcome.steps();
            let surprise = if found == finding.steps { "" } else { "  NOT AS KNOWN" };
            println!("{}{surprise}", row(&finding.scenario, finding.off, &outcome, took));
            as_known &= found == finding.steps;
        }
    }
    as_known
}

/// Every scenario without these rules, or without each rule alone; false if anything broke.
fn matrix(off: &[Rule], states: usize) -> bool {
    let singles: Vec<&[Rule]> = if off.is_empty() { Rule::ALL.chunks(1).collect() } else { vec![off] };
    let mut held = true;
    for off in singles {
        for scenario in catalogue::ALL.iter().filter(|scenario| scenario.sound()) {
            let model = Model { scenario: *scenario, rules: Rules::without(off), to_the_end: false };
            let (outcome, took) = search(&model, states);
            println!("{}", row(scenario, off, &outcome, took));
            held &= !matches!(outcome.verdict, Verdict::Broken(..));
        }
    }
    held
}

/// One search, with a line of progress each second if someone watches.
fn search(model: &Model, states: usize) -> (Outcome, Duration) {
    let started = Instant::now();
    let watched = std::io::stderr().is_terminal();
    let mut last = started;
    let mut found = 0;
    let outcome = model.search(states, |progress| {
        let since = last.elapsed();
        if since >= Duration::from_secs(1) {
            let rate = (progress.found - found) as f64 / since.as_secs_f64() / 1e3;
            let start = if watched { "\r" } else { "" };
            let end = if watched { "  " } else { "\n" };
            eprint!(
                "{start}  {}: {} states, {} to expand, depth {}, {rate:.0} k states/s{end}",
                model.scenario.name,
                progress.found,
                progress.found - progress.expanded,
                progress.depth,
            );
            // Progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
            last = Instant::now();
            found = progress.found;
        }
    });
    if watched {
        eprint!("\r\x1b[K");
    }
    (outcome, started.elapsed())
}

fn row(scenario: &Scenario, off: &[Rule], outcome: &Outcome, took: Duration) -> String {
    let names: Vec<&str> = off.iter().map(|rule| rule.name()).collect();
    let without = if names.is_empty() { "all rules".to_owned() } else { format!("no {}", names.join(", ")) };
    let verdict = match outcome.verdict {
        Verdict::Exhausted => "holds, exhausted".to_owned(),
        Verdict::CutShort => "holds, cut short".to_owned(),
        Verdict::Broken(_, ref way) => format!("BROKEN in {} steps", way.len()),
    };
    format!(
        "  {:<18} {without:<26} {verdict:<20} {:>10} states, depth {:>2}, {:>6.1} s",
        scenario.name,
        outcome.states,
        outcome.depth,
        took.as_secs_f64()
    )
}
