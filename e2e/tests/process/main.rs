//! What the system promises, each promise a scenario with real programs on loopback: `cargo xtask test process`.

mod drain;
mod garbage;
mod herd;
mod metrics;
mod own_loader;
mod owner_killed;
