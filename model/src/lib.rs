//! The purge protocol as a model: every order of events in small clusters is tried, with each rule on or off.

pub mod catalogue;
mod coordinator;
mod explain;
pub mod finding;
mod grantor;
pub mod judge;
pub mod model;
mod network;
mod node;
mod pack;
pub mod rules;
pub mod scenario;
pub mod search;
mod seen;
pub mod view;
pub mod world;
