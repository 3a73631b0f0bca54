//! Real binaries, real Kubernetes: the scenarios.
