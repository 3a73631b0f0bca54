//! The operator's process: flags, logs, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use groupcache_operator::args::Args;
use groupcache_operator::operator;
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
    match operator::run(args, log).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
