//! What is said over sockets: applications and other nodes to this one, and this one to other nodes.
//!
//! * [`doors`]: what each port serves; [`listener`]: takes connections, and keeps hostile ones from costing much.
//! * [`accepting`] and [`dialing`]: the wire at either end, [`io`]; all else does not know which it is.
//! * [`secured`]: both ends of the cluster port under certificates; `roles` is who may call what there.
//! * [`encrypted`]: the data port under TLS; `gate` asks its callers for tokens.
//! * [`incoming`]: large requests on their way in, bounded; `arriving` counts those of gRPC.
//! * [`outgoing`]: answers on their way out, bounded, and cut off where nobody reads them.
//! * [`overdue`]: calls that are never sent whole.
//! * [`calls`]: what every door does with a call: find the group, check the key, ask, by a deadline.
//! * [`data_server`], [`stream`], [`family_server`], [`http`]: the doors of the data port.
//! * [`cluster_server`]: the cluster port, with `invalidation_server` for what Removes need and `handover_server` for changes of the ring; [`control`] is what it needs to know of memberships.
//! * [`peers`]: the way to other nodes.
//! * [`wire`]: one table, our words to messages and statuses and back.

pub mod accepting;
mod arriving;
pub mod calls;
pub mod cluster_server;
mod connection;
pub mod control;
pub mod data_server;
pub mod dialing;
pub mod doors;
pub mod encrypted;
pub mod family_server;
mod fetching;
mod gate;
mod handover_server;
pub mod http;
pub mod incoming;
mod invalidation_server;
pub mod io;
pub mod listener;
pub mod outgoing;
pub mod overdue;
mod parked;
pub mod peers;
pub mod preface;
mod roles;
pub mod secured;
pub mod stream;
pub mod wire;
