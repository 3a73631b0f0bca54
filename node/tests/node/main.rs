//! The node over real sockets: whole nodes in this process, a real loader, loopback only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod answers;
mod cluster;
mod drain;
mod hostile;
mod http_door;
mod http_loader;
mod membership;
mod proxy;
mod silence;
mod streams;
mod support;
mod unread;
