//! The operator's process: flags, logs, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use groupcache_operator::args::Args;
use groupcache_operator::{check, operator};
use groupcache_process::telemetry;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let log = match telemetry::init(&args.telemetry) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("groupcache-operator: {error:#}");
            return ExitCode::from(2);
        }
    };
    let done = if args.check { check::run(&args).await } else { operator::run(args, log).await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
