//! The cache node as a process: parse, start, wait, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use groupcache_node::args::Args;
use groupcache_node::metrics::table;
use groupcache_node::node::Node;
use groupcache_process::shutdown::{Ending, Shutdown};
use groupcache_process::telemetry;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.list_metrics {
        std::io::stdout().write_all(table::list().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let log = telemetry::init(&args.telemetry)?;
    let shutdown = Shutdown::new();
    shutdown.listen_to_signals()?;
    let node = Node::start(args.into_config()?, shutdown, Some(log)).await?;
    match node.run().await {
        Ending::Clean => Ok(ExitCode::SUCCESS),
        Ending::Forced => Ok(ExitCode::FAILURE),
    }
}
