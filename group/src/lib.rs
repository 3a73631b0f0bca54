//! The loading process: cache, flights, generations and the order of a Get.
//!
//! This is the library an application embeds; the cache node is the same library behind a socket.
//! Start reading at [`group::Group::get`]. The order of things stands there alone; each mechanism is a file that knows none of its siblings:
//!
//! * [`value`]: keys, values and what an entry costs.
//! * [`loader`] and [`peer`]: the two seams, one to the source of truth, one to the other nodes.
//! * [`view`]: a membership as one node sees it.
//! * [`group`]: one group; [`groups`]: all of them, by name.
//!
//! It knows no socket, no Kubernetes, no file, no environment and no wire format.

pub mod group;
pub mod groups;
pub mod loader;
pub mod peer;
pub mod stats;
pub mod value;
pub mod view;
