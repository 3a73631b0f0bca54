//! The node over real sockets: whole nodes in this process, a real loader, loopback only.

mod answers;
mod cluster;
mod hostile;
mod http_door;
mod http_loader;
mod membership;
mod support;
