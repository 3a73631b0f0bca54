//! What is said on the wire: the protocol buffers, their generated Rust and the checked conversions.
