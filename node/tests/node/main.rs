//! The node over real sockets: whole nodes in this process, a real loader, loopback only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod answers;
mod changes;
mod cluster;
mod data_tls;
mod drain;
mod handover;
mod hostile;
mod http_door;
mod http_loader;
mod incoming;
mod loaders;
mod many;
mod membership;
mod proxy;
mod secured;
mod silence;
mod stale;
mod streams;
mod support;
mod tokens;
mod unread;
