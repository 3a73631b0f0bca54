//! Benchmarks beside the peers, in one run.
