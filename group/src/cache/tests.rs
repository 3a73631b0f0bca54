//! Tests of the cache file.
