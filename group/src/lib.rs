//! The loading process: cache, flights, generations and the order of a Get.
//!
//! This is the library an application embeds; the cache node is the same library behind a socket.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use groupcache_group::group::{Group, Origin, Settings};
//! use groupcache_group::loader::{FnLoader, LoadRequest, Loaded};
//! use groupcache_group::value::{Key, Outcome};
//! use tokio::time::Instant;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Called once per missing key, however many callers wait for it.
//! let loader = FnLoader::new("shout", |request: LoadRequest| async move {
//!     Ok(Loaded::value(request.key.as_bytes().to_ascii_uppercase()))
//! });
//! let mut settings = Settings::new("greetings", 64 * 1024 * 1024);
//! settings.ttl = Some(Duration::from_secs(60));
//! let group = Group::alone(settings, Arc::new(loader));
//!
//! let key = Key::new("hello", 1024)?;
//! let in_a_second = || Instant::now() + Duration::from_secs(1);
//! let answer = group.get(key.clone(), Origin::Client, in_a_second()).await?;
//! assert_eq!(answer.entry.outcome, Outcome::Value("HELLO".into()));
//!
//! // Change the source first, then say so: every Get that starts afterwards sees it.
//! group.remove(vec![key], None, in_a_second()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Start reading at [`group::Group::get`]. The order of things stands there alone; each mechanism is a file that knows none of its siblings:
//!
//! * [`value`]: keys, values and what an entry costs.
//! * [`loader`] and [`peer`]: the two seams, one to the source of truth, one to the other nodes.
//! * [`view`]: a membership as one node sees it.
//! * `generation`: the fence between loads and purges. `flight`: one run per key, however many wait.
//! * `cache`: main and hot, within their bytes. `hot`: what may become hot. `expiry`: until when. `freshness`: what comes after, and before.
//! * [`group`]: one group; [`groups`]: all of them, by name. [`stats`]: what they did. [`simulation`]: switches for its judges.
//! * `sync`: locks and tasks, which a model checker can take the place of.
//!
//! The rules named K1 to K6, G1 to G6 and R1 to R5 in the comments are those of the purge protocol: what must hold so that a removed value never comes back.
//!
//! It knows no socket, no Kubernetes, no file, no environment and no wire format.

mod cache;
pub mod clock;
mod expiry;
mod flight;
mod freshness;
mod generation;
pub mod grants;
pub mod group;
pub mod groups;
mod hot;
pub mod loader;
pub mod peer;
pub mod simulation;
pub mod stats;
mod sync;
pub mod value;
pub mod view;
