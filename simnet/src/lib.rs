//! Whole clusters over the node's real transport (tonic, listener, peers, streams, breakers), on a simulated network.
//!
//! What `groupcache-sim` leaves out is what runs here: every byte goes through HTTP/2, both ports are the node's own doors, and links break as
//! connections do. Time is virtual and the network is turmoil's. Truth, faults, operator and judges are those of `groupcache-sim`.
//!
//! Start reading at [`world::run`]. [`process`] is a node, [`machine`] what outlives it, [`wire`] what carries it, [`weather`] what faults do to
//! links, [`pusher`] the operator's hand, [`source`] the way to the truth, [`callers`] who decides to call, [`app`] who calls, by way of [`door`].

pub mod app;
pub mod callers;
pub mod door;
pub mod machine;
pub mod process;
pub mod pusher;
pub mod source;
pub mod weather;
pub mod wire;
pub mod world;
