//! The build-info metric: which release of which component runs here.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Registers `groupcache_build_info{component,version} 1`.
pub fn register(registry: &mut Registry, component: &str, version: &str) {
    let labels =
        vec![("component".to_owned(), component.to_owned()), ("version".to_owned(), version.to_owned())];
    registry.register("groupcache_build", "The component and the release that runs here", Info::new(labels));
}
