//! Loaders and applications to copy.
