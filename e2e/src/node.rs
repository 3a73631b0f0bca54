//! Cache nodes as processes on loopback.
