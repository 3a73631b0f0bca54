//! Answers the names of Unicode characters to cache nodes, from an SQLite table.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use groupcache_examples::unicode::counts::Counts;
use groupcache_examples::unicode::faults::{FaultSwitch, Faults};
use groupcache_examples::unicode::server;
use groupcache_examples::unicode::service::UnicodeLoader;
use groupcache_examples::unicode::table::Table;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A loader: answers the names of Unicode characters to cache nodes, from an SQLite table.
///
/// Key `U+1F980` has the value `CRAB`. The 40,000 and more characters that have a name of their own are in;
/// CJK unified ideographs and Hangul syllables, whose names follow from their number, are not.
/// Whatever else is asked, well-formed or not, is "no such key".
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to serve gRPC: groupcache.loader.v1, health, reflection.
    #[arg(long, env = "UNICODE_LOADER_LISTEN", default_value = "0.0.0.0:9000", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Where to serve HTTP: /healthz, /metrics, /loads, /names/KEY, /faults. Without it there is no such port.
    #[arg(long, env = "UNICODE_LOADER_ADMIN", value_name = "ADDRESS")]
    admin: Option<SocketAddr>,

    /// The database file, created and filled if it is not there; `:memory:` keeps it in memory.
    #[arg(long, env = "UNICODE_LOADER_DATABASE", default_value = ":memory:", value_name = "PATH")]
    database: String,

    /// How long each load takes in addition, in milliseconds: a stand-in for a slow database.
    #[arg(long, env = "UNICODE_LOADER_DELAY", default_value_t = 0, value_name = "MS")]
    delay: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    let faults = FaultSwitch::default();
    faults
        .set(Faults { delay_ms: args.delay, fail: false })
        .map_err(anyhow::Error::msg)
        .context("--delay")?;
    let table = Table::open(&args.database).await.with_context(|| {
        format!("cannot open the database {}; is its folder there and writable?", args.database)
    })?;
    let rows = table.count().await?;
    let loader =
        UnicodeLoader { table: table.clone(), counts: Arc::new(Counts::default()), faults: Arc::new(faults) };

    let grpc = bind(args.listen).await?;
    let http = match args.admin {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    tracing::info!(
        rows,
        database = args.database,
        listen = %grpc.local_addr()?,
        admin = http.as_ref().and_then(|http| http.local_addr().ok()).map(tracing::field::display),
        "serving character names"
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server::serve(loader, grpc, http, stop).await?;
    table.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; is another process there?"))
}
