//! What the system promises, each promise a scenario with real programs on loopback: `cargo xtask test process`.

mod own_loader;
