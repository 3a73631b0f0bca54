//! Tests of the group file.
