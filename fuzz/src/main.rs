//! One decoder under libFuzzer, the one that the environment names, with the promises of `node/tests/decoders/`.
#![no_main]

#[path = "../../node/tests/decoders/harness.rs"]
mod harness;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

use crate::harness::{DECODERS, Decode};

/// Names the decoder; `cargo xtask fuzz` sets it.
const DECODER: &str = "GROUPCACHE_FUZZ_DECODER";

fuzz_target!(|bytes: &[u8]| {
    static CHOSEN: OnceLock<Decode> = OnceLock::new();
    let decode = CHOSEN.get_or_init(|| {
        let name = std::env::var(DECODER).unwrap_or_default();
        let chosen = DECODERS.iter().find(|(decoder, _)| *decoder == name);
        let names: Vec<_> = DECODERS.iter().map(|(name, _)| *name).collect();
        chosen.unwrap_or_else(|| panic!("{DECODER} is {name:?}; it names one of {}", names.join(", "))).1
    });
    decode(bytes);
});
