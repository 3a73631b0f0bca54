//! Whole groups in one process: real groups, links that can be cut or held, a source that counts, and a clock that stands still.

mod gets;
mod hits;
mod membership;
mod network;
mod removes;
mod source;
mod stress;
