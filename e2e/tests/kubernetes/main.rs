//! What the system promises, each promise a scenario on a real Kubernetes: `cargo xtask test kubernetes`.

mod api_server_down;
mod bad_input;
mod broken_spec;
mod certificates;
mod data_port;
mod deletion;
mod herd;
mod kubelet_killed;
mod ledger_lost;
mod live_configuration;
mod machine_lost;
mod mass_not_ready;
mod node_killed;
mod operator_down;
mod operator_killed;
mod own_loader;
mod refused_objects;
mod rolling_restart;
mod scale;
mod two_leaders;
mod upkeep;
