//! What the system promises, each promise a scenario with real programs on loopback: `cargo xtask test process`.

mod alerts;
mod cut_off;
mod dashboard;
mod drain;
mod garbage;
mod herd;
mod loader_fails;
mod metrics;
mod outages;
mod own_loader;
mod owner_killed;
mod removes_hold;
