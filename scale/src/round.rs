//! One round, in its order: clusters made, left alone, one changed, all changed, one pod replaced.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::figures::{Figures, Phase};
use crate::kubelet::{self, Count};
use crate::operator::{self, Operator};
use crate::sight::{self, Seen};
use crate::{audit, clusters, machines};

/// For so long after a state is reached, what is still asked belongs to it.
const AFTERMATH: Duration = Duration::from_secs(10);

/// What is running during a round.
struct Round<'a> {
    arguments: &'a Arguments,
    client: Client,
    operator: Operator,
    seen: watch::Receiver<Seen>,
    pods: watch::Receiver<Count>,
    names: Vec<String>,
    phases: Vec<Phase>,
}

/// Runs a round, in a cluster where there was none before.
///
/// # Errors
/// When a state is not reached, or the API server or the operator ends.
pub(crate) async fn run(arguments: &Arguments) -> Result<Figures> {
    let client = Client::try_default().await.context("cannot find the API server")?;
    let folder = tempfile::tempdir()?;
    let namespace = json!({"metadata": {"name": clusters::NAMESPACE}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
    let count = machines::needed(arguments.clusters * arguments.members);
    machines::make(&client, count).await?;

    let mut background = JoinSet::new();
    background.spawn(machines::keep_up(client.clone(), count));
    let (pods_tx, pods) = watch::channel(Count::new());
    let (ours, files, light) = (client.clone(), folder.path().join("pods"), arguments.light);
    background.spawn(async move { kubelet::run(ours, files, light, pods_tx).await });
    let (seen_tx, seen) = watch::channel(Seen::new());
    background.spawn(sight::keep_up(client.clone(), seen_tx));

    let operator =
        Operator::start(&arguments.operator, &client, &arguments.kubeconfig, folder.path(), &arguments.logs)
            .await?;
    let names = (0..arguments.clusters).map(clusters::name).collect();
    let mut round = Round { arguments, client, operator, seen, pods, names, phases: Vec::new() };
    let (nodes_bytes, peers) = round.measure().await?;
    let cost = round.operator.cost()?;
    let Round { operator, phases, .. } = round;
    drop(operator);
    let requests = audit::requests(&arguments.audit, &operator::user())?;
    Ok(Figures::new(arguments, cost, nodes_bytes, peers, &phases, &requests))
}

impl Round<'_> {
    async fn measure(&mut self) -> Result<(u64, usize)> {
        let (began, cost, since) = self.begin()?;
        let ours = operator::cost_of(std::process::id())?.resident_bytes;
        clusters::create(&self.client, self.arguments.clusters, self.arguments.members).await?;
        let took = self.at_rest("made", since, &self.first(0)).await?;
        self.end("made", None, (began, cost), took).await?;
        let nodes = operator::cost_of(std::process::id())?.resident_bytes.saturating_sub(ours);
        let ready = self.pods.borrow().values().filter(|pod| pod.ready).count();

        eprintln!("  left alone for {} s", self.arguments.idle);
        let (began, cost, since) = self.begin()?;
        tokio::time::sleep(Duration::from_secs(self.arguments.idle)).await;
        self.phases.push(self.phase("idle", None, (began, cost), since.elapsed())?);

        self.change("one changed", 1, "second").await?;
        if self.arguments.clusters > 1 {
            self.change("all changed", self.arguments.clusters, "third").await?;
        }
        self.replace().await?;
        Ok((nodes, ready))
    }

    async fn change(&mut self, what: &'static str, count: usize, group: &str) -> Result<()> {
        let (began, cost, since) = self.begin()?;
        let changed = clusters::add_group(&self.client, count, group).await?;
        let took = self.at_rest(what, since, &changed).await?;
        self.end(what, (count == 1).then(|| clusters::name(0)), (began, cost), took).await
    }

    /// Deletes one pod, and waits until another is in the ring in its place.
    async fn replace(&mut self) -> Result<()> {
        let (began, cost, since) = self.begin()?;
        let name = format!("{}-0", clusters::name(0));
        let old: Vec<String> = self.uids_of(&name);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), clusters::NAMESPACE);
        api.delete(&name, &DeleteParams::default()).await.context("no pod to delete")?;
        let sequence = || {
            let seen = self.seen.borrow();
            let status = seen.get(&clusters::name(0)).and_then(|cluster| cluster.status.clone());
            status.and_then(|status| status.membership).map_or(0, |membership| membership.sequence)
        };
        let before = sequence();
        let mut pods = self.pods.clone();
        let replaced = pods.wait_for(|pods| {
            pods.iter().any(|(uid, pod)| pod.name == name && pod.ready && !old.contains(uid))
        });
        tokio::time::timeout(sight::LIMIT, replaced).await.context("the pod was not replaced")??;
        let reached = |cluster: &groupcache_crds::CacheCluster| {
            let membership = cluster.status.as_ref().and_then(|status| status.membership.as_ref());
            clusters::at_rest(cluster, 0) && membership.is_some_and(|now| now.sequence > before + 1)
        };
        let names = [clusters::name(0)];
        let took = sight::all(self.seen.clone(), "pod replaced", since, &names, reached).await?;
        self.end("pod replaced", Some(clusters::name(0)), (began, cost), took).await
    }

    fn uids_of(&self, name: &str) -> Vec<String> {
        let pods = self.pods.borrow();
        pods.iter().filter(|(_, pod)| pod.name == name).map(|(uid, _)| uid.clone()).collect()
    }

    fn first(&self, generation: i64) -> Vec<(String, i64)> {
        self.names.iter().map(|name| (name.clone(), generation)).collect()
    }

    async fn at_rest(&self, what: &str, since: Instant, clusters: &[(String, i64)]) -> Result<Duration> {
        let names: Vec<String> = clusters.iter().map(|(name, _)| name.clone()).collect();
        let generations: std::collections::BTreeMap<&str, i64> =
            clusters.iter().map(|(name, generation)| (name.as_str(), *generation)).collect();
        let reached = |cluster: &groupcache_crds::CacheCluster| {
            let name = cluster.metadata.name.as_deref().unwrap_or_default();
            clusters::at_rest(cluster, generations.get(name).copied().unwrap_or_default())
        };
        sight::all(self.seen.clone(), what, since, &names, reached).await
    }

    fn begin(&self) -> Result<(Timestamp, operator::Cost, Instant)> {
        Ok((Timestamp::now(), self.operator.cost()?, Instant::now()))
    }

    async fn end(
        &mut self,
        what: &'static str,
        about: Option<String>,
        begun: (Timestamp, operator::Cost),
        took: Duration,
    ) -> Result<()> {
        tokio::time::sleep(AFTERMATH).await;
        let phase = self.phase(what, about, begun, took)?;
        eprintln!("  {what}: {:.1} s", took.as_secs_f64());
        self.phases.push(phase);
        Ok(())
    }

    fn phase(
        &self,
        what: &'static str,
        about: Option<String>,
        (began, before): (Timestamp, operator::Cost),
        took: Duration,
    ) -> Result<Phase> {
        let now = self.operator.cost()?;
        Ok(Phase {
            what,
            about,
            began,
            ended: Timestamp::now(),
            took,
            cpu: now.cpu.saturating_sub(before.cpu),
            resident_bytes: now.resident_bytes,
        })
    }
}
