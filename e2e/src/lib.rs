//! Real binaries, real Kubernetes: what the scenarios under `tests/` are told with.
//!
//! The scenarios use the system as its users do: through kubectl, `groupcachectl` and HTTP. They take everything about their
//! world (programs, images, kubeconfig) from variables that begin with `GROUPCACHE_E2E_`; `cargo xtask test process` and
//! `cargo xtask test kubernetes` set them. Nothing here waits for time to pass: [`wait`] waits for a state.

pub mod audit;
pub mod cable;
pub mod cachecluster;
pub mod caller;
pub mod causes;
pub mod checker;
pub mod counting;
pub mod diagnostics;
pub mod fleet;
pub mod forward;
pub mod http;
pub mod killed;
pub mod kubectl;
pub mod lan;
pub mod load;
pub mod loader;
pub mod machines;
pub mod namespace;
pub mod node;
pub mod operator;
pub mod page;
pub mod program;
pub mod promql;
pub mod readers;
pub mod scenario;
pub mod settings;
pub mod sources;
pub mod spawned;
pub mod stopped;
pub mod stuck;
pub mod tally;
pub mod trial;
pub mod versions;
pub mod wait;
pub mod watch;
