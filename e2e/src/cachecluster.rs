//! A `CacheCluster` as a scenario asks for it, and what its status says.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kubectl::Kubectl;
use crate::wait::{self, Seen};

/// The name of every scenario's cluster; each scenario has its own namespace.
pub const NAME: &str = "quickstart";
/// The label that all children of a cluster carry.
pub const LABEL: &str = "groupcache.dev/cluster";
/// A loader of the kind `http` is a source in the scenario's own process, which waits for a processor like the nodes: it has more time than the second that
/// is the default, and less than a Get.
const HTTP: &str = "timeoutMilliseconds: 4000, http: {url: ";
/// Pods start within seconds; a loaded machine takes longer.
const LIMIT: Duration = Duration::from_secs(180);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many nodes.
    pub replicas: u32,
    /// How long a node that was told to stop goes on serving.
    pub drain_seconds: u32,
    /// Names of groups with their ttl in seconds; all of them load from `loader`.
    pub groups: Vec<(&'static str, u32)>,
    /// Where the loader of every group is: a gRPC target, or a URL with `{key}`.
    pub loader: String,
    /// The URL of the source behind the group `counters`, for scenarios with a checker.
    pub counters: Option<String>,
    /// The staleness bound in seconds; every change of the ring takes about one.
    pub bound_seconds: u32,
    /// Another image of the nodes than the operator's.
    pub image: Option<String>,
    /// What a node asks for of its machine's processors.
    pub cpu: &'static str,
    /// What a node may take of its machine's memory.
    pub memory: &'static str,
    /// What each group may take of that.
    pub max_bytes: &'static str,
}

impl Wanted {
    /// Three nodes and the group `unicode`, as the quickstart has them.
    #[must_use]
    pub fn three(loader: String) -> Self {
        Self {
            replicas: 3,
            drain_seconds: 35,
            groups: vec![("unicode", 3600)],
            loader,
            counters: None,
            bound_seconds: 5,
            image: None,
            cpu: "50m",
            memory: "128Mi",
            max_bytes: "16Mi",
        }
    }

    /// The object in YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut yaml = format!(
            "apiVersion: groupcache.dev/v1alpha1\nkind: CacheCluster\nmetadata: {{name: {NAME}}}\nspec:\n  \
             replicas: {}\n  drainSeconds: {}\n  invalidation: {{stalenessBoundSeconds: {}}}\n  \
             resources: {{limits: {{memory: {}}}, requests: {{cpu: \"{}\", memory: 64Mi}}}}\n",
            self.replicas, self.drain_seconds, self.bound_seconds, self.memory, self.cpu
        );
        let mut line = |text: String| yaml.push_str(&(text + "\n"));
        if let Some(image) = &self.image {
            line(format!("  image: {image:?}"));
        }
        line("  loaders:".to_owned());
        let loaders = [("names", Some(&self.loader)), ("counters", self.counters.as_ref())];
        for (name, place) in loaders.into_iter().filter_map(|(name, place)| Some((name, place?))) {
            let kind = if place.starts_with("http") { HTTP } else { "grpc: {target: " };
            line(format!("    - {{name: {name}, {kind}{place:?}}}}}"));
        }
        line("  groups:".to_owned());
        let groups = self.groups.iter().map(|(name, ttl)| (*name, *ttl, "names"));
        for (name, ttl, loader) in groups.chain(self.counters.iter().map(|_| ("counters", 3600, "counters")))
        {
            let max = self.max_bytes;
            line(format!("    - {{name: {name}, maxBytes: {max}, ttlSeconds: {ttl}, loaderName: {loader}}}"));
        }
        yaml
    }
}

/// A cluster that was applied.
#[derive(Debug)]
pub struct CacheCluster<'a> {
    kubectl: &'a Kubectl,
}

impl<'a> CacheCluster<'a> {
    /// Applies a cluster and waits until it is available and its ring has converged.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn up(kubectl: &'a Kubectl, wanted: &Wanted) -> Result<Self> {
        kubectl.apply(&wanted.yaml())?;
        let cluster = Self::found(kubectl);
        cluster.wait_converged(wanted.replicas)?;
        Ok(cluster)
    }

    /// The cluster that somebody has applied.
    #[must_use]
    pub fn found(kubectl: &'a Kubectl) -> Self {
        Self { kubectl }
    }

    /// Applies a changed cluster; does not wait.
    ///
    /// # Errors
    /// When it is refused.
    pub fn change(&self, wanted: &Wanted) -> Result<()> {
        self.kubectl.apply(&wanted.yaml())
    }

    /// What applications point at.
    #[must_use]
    pub fn address(&self) -> String {
        format!("dns:///{NAME}.{}:8080", self.kubectl.namespace())
    }

    /// Waits until the status says of the newest spec that so many nodes serve and all agree on the ring.
    ///
    /// # Errors
    /// With the status that was seen last.
    pub fn wait_converged(&self, nodes: u32) -> Result<()> {
        let reached = |cc: &Value| {
            let count = |pointer: &str| cc.pointer(pointer).and_then(Value::as_u64) == Some(u64::from(nodes));
            cc["status"]["observedGeneration"] == cc["metadata"]["generation"]
                && ["Available", "RingConverged"].iter().all(|condition| condition_holds(cc, condition))
                && count("/status/readyReplicas")
                && count("/status/replicas")
                && count("/status/membership/active")
        };
        let what = format!("{nodes} nodes, available, ring converged");
        self.kubectl.wait(("cc", NAME), &what, LIMIT, reached, |cc| cc["status"].to_string()).map(drop)
    }

    /// Waits until a condition has a status and a reason; answers its message.
    ///
    /// # Errors
    /// With the condition that was seen last.
    pub fn wait_condition(&self, kind: &str, status: &str, reason: &str) -> Result<String> {
        let reached = |cc: &Value| {
            let found = condition(cc, kind);
            found["status"] == status && found["reason"] == reason
        };
        let what = format!("{kind}={status}/{reason}");
        let shown = |cc: &Value| condition(cc, kind).to_string();
        let cc = self.kubectl.wait(("cc", NAME), &what, LIMIT, reached, shown)?;
        Ok(condition(&cc, kind)["message"].as_str().unwrap_or_default().to_owned())
    }

    /// The pods: name, uid and how often they were restarted; by name.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn pods(&self) -> Result<Vec<Pod>> {
        let pods = self.kubectl.list("pods", &format!("{LABEL}={NAME}"))?;
        let mut pods: Vec<Pod> = pods.iter().map(Pod::of).collect::<Result<_>>()?;
        pods.sort();
        Ok(pods)
    }

    /// The machine with the fewest nodes of the cluster, and the one with the most.
    ///
    /// # Errors
    /// When all are on one.
    pub fn machines(&self) -> Result<(String, String)> {
        let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
        for pod in self.pods()? {
            *nodes.entry(pod.machine).or_default() += 1;
        }
        let few = nodes.iter().min_by_key(|(_, count)| **count).context("a machine")?.0.clone();
        let many = nodes.iter().rev().max_by_key(|(_, count)| **count).context("a machine")?.0.clone();
        ensure!(few != many, "all nodes are on one machine: {nodes:?}");
        Ok((few, many))
    }

    /// Waits until there is a ready pod of this name with another uid than before.
    ///
    /// # Errors
    /// With the pods that were seen last.
    pub fn wait_replaced(&self, old: &Pod) -> Result<Pod> {
        wait::until(&format!("a ready pod in place of {}", old.name), LIMIT, || {
            let pods = self.pods()?;
            let new = pods.iter().find(|pod| pod.name == old.name && pod.uid != old.uid && pod.ready);
            Ok(new.map_or_else(|| Seen::NotYet(format!("{pods:?}")), |pod| Seen::Reached(pod.clone())))
        })
    }

    /// Waits until there is a ready pod of every one of these names with another uid than before.
    ///
    /// # Errors
    /// With the pods that were seen last.
    pub fn wait_all_replaced(&self, old: &[Pod]) -> Result<()> {
        // As a rollout goes: the last by ordinal first.
        old.iter().rev().try_for_each(|pod| self.wait_replaced(pod).map(drop))
    }
}

/// One pod of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Such as `quickstart-0`.
    pub name: String,
    /// Another one after a replacement.
    pub uid: String,
    /// How often its container was started anew.
    pub restarts: u64,
    /// Whether it is ready.
    pub ready: bool,
    /// The machine it is on; empty: none yet.
    pub machine: String,
}

impl Pod {
    fn of(pod: &Value) -> Result<Self> {
        let text = |pointer: &str| {
            let value = pod.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
            value.with_context(|| format!("a pod without {pointer}"))
        };
        Ok(Self {
            name: text("/metadata/name")?,
            uid: text("/metadata/uid")?,
            restarts: pod
                .pointer("/status/containerStatuses/0/restartCount")
                .and_then(Value::as_u64)
                .unwrap_or(0),
            ready: condition_holds(pod, "Ready"),
            machine: text("/spec/nodeName").unwrap_or_default(),
        })
    }
}

/// A condition of an object; null: it has none of that type.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.cloned().unwrap_or_default()
}

/// Whether a condition of an object is `True`.
#[must_use]
pub fn condition_holds(object: &Value, kind: &str) -> bool {
    condition(object, kind)["status"] == "True"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_wanted_stands_in_the_object() {
        let plain = Wanted::three("dns:///loader:9000".to_owned());
        assert!(plain.yaml().contains("grpc: {target: \"dns:///loader:9000\"}"), "{}", plain.yaml());
        assert!(!plain.yaml().contains("image:") && !plain.yaml().contains("counters"), "{}", plain.yaml());

        let counters = Some("http://10.0.0.1:80/{key}".to_owned());
        let whole = Wanted { counters, image: Some("none".to_owned()), ..plain };
        for part in
            ["http: {url: \"http://10.0.0.1:80/{key}\"}", "name: counters, maxBytes", "image: \"none\""]
        {
            assert!(whole.yaml().contains(part), "{part} in {}", whole.yaml());
        }
    }

    #[test]
    fn a_condition_holds_only_when_it_is_true() {
        let object = json!({"status": {"conditions": [
            {"type": "Available", "status": "True"}, {"type": "RingConverged", "status": "False"}]}});

        assert!(condition_holds(&object, "Available"));
        assert!(!condition_holds(&object, "RingConverged"));
        assert!(!condition_holds(&json!({}), "Available"));
    }
}
