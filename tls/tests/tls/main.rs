//! The cluster port's certificates in real handshakes: who is let in, who is not, and what changes under way.

mod cluster;
mod files;
mod handshakes;
