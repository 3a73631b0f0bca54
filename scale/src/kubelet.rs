//! The kubelet of all machines: starts a node for every pod that comes, and stops it when the pod is to go.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use groupcache_process::shutdown::Shutdown;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::addresses::Addresses;
use crate::machines;
use crate::pod::{self, Life};

/// How many pods run, and how many of them are ready.
pub(crate) type Count = HashMap<String, Running>;

/// A pod that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Its name.
    pub(crate) name: String,
    /// Whether its node says so.
    pub(crate) ready: bool,
}

/// What the kubelet keeps of its pods.
struct Kubelet {
    client: Client,
    folder: PathBuf,
    addresses: Addresses,
    /// Whether nodes are light ones.
    light: bool,
    lives: HashMap<String, (Shutdown, AbortHandle)>,
    count: watch::Sender<Count>,
}

/// Runs until dropped; every pod that runs is in `count`, by its uid.
pub(crate) async fn run(client: Client, folder: PathBuf, light: bool, count: watch::Sender<Count>) {
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).default_backoff();
    let mut kubelet =
        Kubelet { client, folder, addresses: Addresses::default(), light, lives: HashMap::new(), count };
    pin_mut!(pods);
    while let Some(event) = pods.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => kubelet.look(pod),
            Ok(Event::Delete(pod)) => kubelet.forget(&pod.uid().unwrap_or_default()),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => eprintln!("the watch of pods starts over: {error}"),
        }
    }
}

impl Kubelet {
    fn look(&mut self, pod: Pod) {
        let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if !machine.is_some_and(machines::is_ours) {
            return;
        }
        let uid = pod.uid().unwrap_or_default();
        match (self.lives.get(&uid), pod.metadata.deletion_timestamp.is_some()) {
            (None, false) => self.start(uid, pod),
            (None, true) => {
                let client = self.client.clone();
                tokio::spawn(async move { pod::gone(&client, &pod).await });
            }
            (Some((shutdown, _)), true) if !shutdown.is_draining() => {
                shutdown.drain();
                let (shutdown, grace) = (shutdown.clone(), pod.metadata.deletion_grace_period_seconds);
                tokio::spawn(async move { end(&shutdown, grace).await });
            }
            (Some(_), _) => {}
        }
    }

    fn start(&mut self, uid: String, pod: Pod) {
        let (shutdown, ready) = (Shutdown::new(), watch::Sender::new(false));
        let name = pod.name_any();
        let follow = follow(uid.clone(), name.clone(), ready.subscribe(), self.count.clone());
        let life = Life {
            client: self.client.clone(),
            address: self.addresses.next(),
            folder: pod::folder(&self.folder, &pod),
            light: self.light,
            shutdown: shutdown.clone(),
            ready,
            pod,
        };
        tokio::spawn(follow);
        let task = tokio::spawn(async move {
            if let Err(error) = life.run().await {
                eprintln!("the pod {name} failed: {error:#}");
            }
        });
        self.lives.insert(uid, (shutdown, task.abort_handle()));
    }

    fn forget(&mut self, uid: &str) {
        if let Some((shutdown, _)) = self.lives.remove(uid) {
            shutdown.abort();
        }
    }
}

/// Ends what has not ended when the grace is over.
async fn end(shutdown: &Shutdown, grace: Option<i64>) {
    let grace = Duration::from_secs(grace.and_then(|grace| u64::try_from(grace).ok()).unwrap_or(0));
    if timeout(grace, shutdown.aborted()).await.is_err() {
        shutdown.abort();
    }
}

/// Counts one pod for as long as it lives.
async fn follow(uid: String, name: String, mut ready: watch::Receiver<bool>, count: watch::Sender<Count>) {
    loop {
        let running = Running { name: name.clone(), ready: *ready.borrow_and_update() };
        count.send_modify(|count| drop(count.insert(uid.clone(), running)));
        if ready.changed().await.is_err() {
            count.send_modify(|count| drop(count.remove(&uid)));
            return;
        }
    }
}
