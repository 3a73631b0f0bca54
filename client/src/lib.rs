//! A client that spreads calls over the nodes of a cluster, and survives any one of them.
//!
//! Point it at the headless Service of a cluster; it resolves every address behind the name and keeps a connection to each:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use groupcache_client::client::Client;
//!
//! let client = Client::connect("dns:///quickstart.default:8080").await?;
//! if let Some(name) = client.get("unicode", "U+1F980").await? {
//!     println!("{}", name.bytes.escape_ascii());
//! }
//! client.remove("unicode", "U+1F980").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Start reading at [`client::Client::get`].
//!
//! * [`client`]: the calls, and the one retry.
//! * [`config`]: the settings with their defaults; `service-config.json` beside this crate says the same to gRPC in other languages.
//! * [`dial`]: one connection to one node.
//! * [`error`]: why a call gave nothing, one variant per reaction.
//! * [`tls`] and [`token`]: whom the client trusts, and what it shows, where the nodes ask for it.
//! * [`target`] and [`resolve`]: from a name to addresses. `nodes` keeps the connections, `throttle` bounds the retries.
//!
//! It does not know the ring: a node that does not own a key fetches it. It keeps no values.

pub mod client;
pub mod config;
pub mod dial;
pub mod error;
mod nodes;
pub mod resolve;
pub mod target;
mod throttle;
pub mod tls;
pub mod token;
