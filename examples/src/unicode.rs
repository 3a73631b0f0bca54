//! A loader over a real SQL table: the names of the Unicode characters, key `U+1F980`, value `CRAB`.
//!
//! * [`key`]: which keys can have a name at all.
//! * [`table`]: the SQLite table: filled once, read by Load and LoadMany, changed by people.
//! * [`service`]: `groupcache.loader.v1` over the table.
//! * [`counts`]: how often each key was loaded: what a cache in front of this loader is measured by.
//! * [`faults`]: the switch that makes the loader slow or failing, for tests.
//! * [`admin`]: the HTTP port on which people look, change names and turn that switch.
//! * [`server`]: starts and stops all of it.

pub mod admin;
pub mod counts;
pub mod faults;
pub mod key;
pub mod server;
pub mod service;
pub mod table;
