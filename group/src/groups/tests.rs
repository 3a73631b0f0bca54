//! Tests of the groups file.
