//! Hostile bytes for every decoder: each seed as it is, and some thousand seeds with mistakes, the same in every run.
//!
//! For hours instead of seconds: `cargo xtask fuzz --target snapshot --minutes 10`. What that finds becomes a seed here.

mod harness;
mod mistakes;

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use crate::harness::{DECODERS, Decode};
use crate::mistakes::Mistakes;

/// Seeds with mistakes for each decoder.
const MADE: usize = 50_000;

fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a folder that can be listed").path()).collect();
    paths.sort();
    let seed = |path: &PathBuf| (path.display().to_string(), fs::read(path).expect("a seed is a file"));
    paths.iter().map(seed).collect()
}

/// Some seeds must be taken, and some refused: where all go one way, the other is not looked at.
fn replay(name: &str, decode: Decode) {
    let seeds = seeds(name);
    let taken = seeds.iter().filter(|(path, bytes)| {
        println!("{path}");
        decode(bytes)
    });
    let taken = taken.count();
    assert!(taken > 0 && taken < seeds.len(), "{name}: {taken} of {} seeds are taken", seeds.len());
}

fn make_mistakes(name: &str, decode: Decode) {
    let seeds: Vec<_> = seeds(name).into_iter().map(|(_, bytes)| bytes).collect();
    let mut mistakes = Mistakes::new(name);
    let mut taken = 0;
    for _ in 0..MADE {
        let bytes = mistakes.of(&seeds);
        let decoded = catch_unwind(|| decode(&bytes));
        taken += usize::from(decoded.unwrap_or_else(|broken| {
            println!("{name} breaks; make this a seed: {}", bytes.escape_ascii());
            resume_unwind(broken)
        }));
    }
    assert!(taken > MADE / 1000, "{name}: only {taken} of {MADE} were taken: the mistakes are too coarse");
}

#[test]
fn every_seed_is_taken_or_refused_and_nothing_worse() {
    for (name, decode) in DECODERS {
        replay(name, *decode);
    }
}

#[test]
fn no_mistake_in_a_seed_breaks_a_decoder() {
    std::thread::scope(|scope| {
        for (name, decode) in DECODERS {
            scope.spawn(move || make_mistakes(name, *decode));
        }
    });
}
