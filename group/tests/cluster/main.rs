//! Whole groups in one process: links that can be cut or held, a source that counts, a still clock.
#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect should stop")]

mod abandoned;
mod batches;
mod gets;
mod hits;
mod lag;
mod links;
mod many;
mod membership;
mod moving;
mod network;
mod outages;
mod peeks;
mod refresh;
mod removes;
mod sets;
mod shake;
mod source;
mod stale;
mod stress;
mod take_over;
mod warm;
