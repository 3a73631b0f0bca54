//! Logs: JSON for machines, text for people, and a filter that can be changed while the process runs.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// What is logged, and how; flags to flatten into a binary's own.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct TelemetryArgs {
    /// What is logged: a level (error, warn, info, debug, trace), or a filter such as `info,groupcache_node=debug`.
    /// `PUT /debug/log` on the admin port changes it while the process runs.
    #[arg(long = "log", value_name = "FILTER", default_value = "info", env = "GROUPCACHE_LOG")]
    pub filter: String,

    /// How lines are written; `auto` is text on a terminal and JSON elsewhere.
    #[arg(long = "log-format", value_name = "FORMAT", default_value = "auto", env = "GROUPCACHE_LOG_FORMAT")]
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// Text with colours on a terminal.
    Text,
}

/// Changes what is logged while the process runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
}

impl LogFilter {
    /// Puts another filter in force.
    ///
    /// # Errors
    /// If the text is no filter; the one in force stays.
    pub fn set(&self, filter: &str) -> anyhow::Result<()> {
        self.handle.reload(parse(filter)?).context("the logs have been closed")
    }

    /// The filter in force.
    #[must_use]
    pub fn current(&self) -> String {
        self.handle.with_current(ToString::to_string).unwrap_or_default()
    }
}

/// Starts the process's logs, on standard error. Once per process.
///
/// # Errors
/// If the filter is none, or logs were started before.
pub fn init(args: &TelemetryArgs) -> anyhow::Result<LogFilter> {
    let (filter, handle) = reload::Layer::new(parse(&args.filter)?);
    let terminal = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter);
    let json = match args.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    if json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
    } else {
        registry.with(fmt::layer().with_ansi(terminal).with_writer(std::io::stderr)).try_init()
    }
    .context("logs were started before in this process")?;
    Ok(LogFilter { handle })
}

fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder().parse(filter.trim()).with_context(|| {
        format!("{filter:?} is no log filter; give a level, or something like `info,groupcache_node=debug`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_a_list() {
        assert!(parse("debug\n").is_ok());
        assert!(parse("info,groupcache_node=debug").is_ok());
        let said = parse("info,a=loud").unwrap_err().to_string();
        assert!(said.contains("is no log filter"), "{said}");
    }
}
