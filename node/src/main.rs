//! The cache node as a process: parse, start, wait, exit code.

fn main() {}
