//! Loaders and applications to copy: each folder here is a whole small program around one idea.
//!
//! * [`unicode`]: a gRPC loader over an SQL table, with the switches that demonstrations and tests need.
//! * `python-loader/`: an HTTP loader without any of our code.

pub mod unicode;
