//! Asks a cluster from the command line: get, set, remove, flush, describe, load.

mod args;
mod call;
mod change;
mod describe;
mod load;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::output::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Command::Get { group, key } => call::get(&args.shared, group, key).await,
        Command::GetMany { group, keys } => call::get_many(&args.shared, group, keys).await,
        Command::Remove { group, keys, source_version } => {
            change::remove(&args.shared, group, keys, *source_version).await
        }
        Command::Set { group, key, value, ttl, source_version } => {
            change::set(&args.shared, group, key, value.as_deref(), *ttl, *source_version).await
        }
        Command::Flush { group, yes } => change::flush(&args.shared, group, *yes).await,
        Command::Describe => describe::describe(&args.shared).await,
        Command::Load(load) => load::load(&args.shared, load).await,
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::NoSuchKey) => ExitCode::from(output::NO_SUCH_KEY),
        Err(error) => {
            eprintln!("groupcachectl: {error:#}");
            ExitCode::FAILURE
        }
    }
}
