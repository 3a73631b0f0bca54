//! The command line, and the environment behind it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use groupcache_client::client::Client;
use groupcache_client::config::Builder;
use groupcache_client::tls::Tls;
use groupcache_client::token::Token;

use crate::output::Output;

/// Asks a groupcache cluster: get, set, remove, flush, describe, and a load generator.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 no such key.\n\n\
        Examples:\n  \
        groupcachectl --address dns:///quickstart:8080 get unicode U+1F980\n  \
        groupcachectl remove unicode U+1F980 U+0041\n  \
        groupcachectl set pages / - --ttl 10m < page.html\n  \
        groupcachectl load --group unicode --cold-key U+1F980 --concurrent 1000\n  \
        groupcachectl load --group unicode --keys-from unicode --callers 32 --duration 10s --output json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Shared {
    /// The cluster's data port: dns:///HOST:PORT, https://HOST:PORT or HOST:PORT; several divided by commas.
    /// Every address behind a name is used.
    #[arg(long, env = "GROUPCACHE_ADDRESS", default_value = "127.0.0.1:8080", global = true)]
    pub(crate) address: String,
    /// When a call is given up, its retry included. The default is 5s, and 10s for set, remove and flush: they take longer where a node is away.
    #[arg(long, value_parser = humantime::parse_duration, global = true)]
    pub(crate) deadline: Option<Duration>,
    /// A PEM file with the authorities to trust. With it TLS is spoken whatever --address says; https:// alone trusts whom the system trusts.
    #[arg(long, value_name = "FILE", env = "GROUPCACHE_CA_FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// The name that the nodes' certificates are for; without it the host in --address.
    #[arg(long, value_name = "NAME", env = "GROUPCACHE_SERVER_NAME", global = true)]
    pub(crate) server_name: Option<String>,
    /// A file with the token to send, where the nodes ask for one.
    #[arg(long, value_name = "FILE", env = "GROUPCACHE_TOKEN_FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// For whom the output is.
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    pub(crate) output: Output,
}

impl Shared {
    /// A client's settings as these arguments have them.
    pub(crate) fn builder(&self) -> anyhow::Result<Builder> {
        let mut builder = match self.deadline {
            Some(deadline) => Client::builder().deadline(deadline).change_deadline(deadline),
            None => Client::builder(),
        };
        if let Some(tls) = self.tls()? {
            builder = builder.tls(tls);
        }
        if let Some(file) = &self.token_file {
            builder = builder.token(Token::file(file).context("--token-file")?);
        }
        Ok(builder)
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let tls = match &self.ca_file {
            Some(file) => {
                let pem = std::fs::read(file).with_context(|| format!("--ca-file {}", file.display()))?;
                Tls::authorities(&pem).with_context(|| format!("--ca-file {}", file.display()))?
            }
            None if self.server_name.is_some() => Tls::system()?,
            None => return Ok(None),
        };
        let Some(name) = &self.server_name else { return Ok(Some(tls)) };
        Ok(Some(tls.server_name(name).context("--server-name")?))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the value of one key. Exit code 3 if there is no such key.
    Get {
        /// The group's name.
        group: String,
        /// The key, as text.
        key: String,
    },
    /// Print the values of several keys of one group, in one call.
    GetMany {
        /// The group's name.
        group: String,
        /// The keys, as text.
        #[arg(required = true, num_args = 1..=1024)]
        keys: Vec<String>,
    },
    /// Purge keys from every node. After success every Get answers what the loader says from then on.
    Remove {
        /// The group's name.
        group: String,
        /// The keys, as text.
        #[arg(required = true, num_args = 1..=1024)]
        keys: Vec<String>,
        /// The source's version of one key: what is loaded with a lower one is not kept.
        #[arg(long)]
        source_version: Option<u64>,
    },
    /// Store a value in the cache, in place of what any node holds. The source stays the truth: change it first.
    Set {
        /// The group's name.
        group: String,
        /// The key, as text.
        key: String,
        /// The value, as text; left out, or -: all of standard input.
        value: Option<String>,
        /// For how long it may be used, for example 90s or 10m, if that is shorter than the group's ttl.
        #[arg(long, value_parser = humantime::parse_duration)]
        ttl: Option<Duration>,
        /// The source's version of the value.
        #[arg(long)]
        source_version: Option<u64>,
    },
    /// Purge every key of a group from every node. Asks first where somebody sits at a terminal.
    Flush {
        /// The group's name.
        group: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Ask every node who it is, what it holds and which membership it has adopted.
    ///
    /// Asks every address that --address names: a headless Service names all its pods.
    Describe,
    /// Send Gets and report what came: counts, sources, failed attempts, latencies.
    ///
    /// Each caller sends a Get, waits for the answer and sends the next; with --batch it asks for several keys in one call, and each key counts as a Get. SIGINT or SIGTERM ends it early, with the summary.
    /// Latencies are of the Gets that were answered, retries included. Exit code 1 if a Get failed although it was retried.
    Load(Load),
}

/// The arguments of the load generator.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("end").args(["duration", "gets", "until_signal", "cold_key"]))]
#[command(group = ArgGroup::new("source").args(["keys_file", "keys_from", "key_pattern", "cold_key"]))]
pub(crate) struct Load {
    /// The group's name.
    #[arg(long)]
    pub(crate) group: String,
    /// How many callers send Gets at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) callers: u32,
    /// Stop after this time, for example 10s or 2m. The default, 10s, holds where no other end is given.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Stop after so many Gets.
    #[arg(long)]
    pub(crate) gets: Option<u64>,
    /// Stop only when told to, by SIGINT or SIGTERM.
    #[arg(long)]
    pub(crate) until_signal: bool,
    /// Instead of all that: send --concurrent Gets of this one key at the same moment.
    #[arg(long, value_name = "KEY")]
    pub(crate) cold_key: Option<String>,
    /// How many Gets of the cold key.
    #[arg(long, default_value_t = 1_000, requires = "cold_key", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrent: u32,
    /// Take the keys from a file, one per line, the most popular first.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys_file: Option<PathBuf>,
    /// Take the keys from a known set; unicode: U+0020 and on, the assigned characters with a name of their own.
    #[arg(long, value_enum)]
    pub(crate) keys_from: Option<KeysFrom>,
    /// Make the keys from a pattern in which {n} stands for 0, 1, and so on. The default is key-{n}.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) key_pattern: Option<String>,
    /// How many different keys.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) keys: u32,
    /// How unequal the keys are: the exponent of a Zipf distribution; 0: all alike.
    #[arg(long, default_value_t = 0.99, value_parser = exponent)]
    pub(crate) zipf: f64,
    /// Take one key after the other, all callers together, instead of drawing them: nobody asks for a key again before all others were asked for.
    #[arg(long, conflicts_with_all = ["zipf", "seed", "cold_key"])]
    pub(crate) in_turn: bool,
    /// Ask for so many keys in one call.
    #[arg(long, value_name = "KEYS", default_value_t = 1, conflicts_with = "cold_key", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) batch: u32,
    /// Send no more Gets than so many a second, all callers together. They catch up with what they could not send in time.
    #[arg(long, value_name = "GETS", conflicts_with = "cold_key", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Draw the same keys in every run with the same seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Connections to each node. The default is one for each 100 callers.
    #[arg(long)]
    pub(crate) connections: Option<usize>,
    /// Add one entry per second to the summary.
    #[arg(long)]
    pub(crate) timeline: bool,
    /// No progress on standard error.
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Known sets of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeysFrom {
    Unicode,
}

fn exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(exponent),
        _ => Err("it is a number from 0 to 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        assert!(
            Args::try_parse_from(["g", "load", "--group", "g", "--gets", "1", "--duration", "1s"]).is_err()
        );
        assert!(Args::try_parse_from(["g", "get", "unicode", "U+1F980", "--output", "json"]).is_ok());
    }
}
