//! Memberships as the cluster port sees them: pushes, announcements, and catching up with a peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, join_all, ready};
use groupcache_proto::cluster::{AnnounceRequest, ApplyOutcome, ApplyRequest, ApplyResponse, SignedSnapshot};
use groupcache_proto::convert;
use groupcache_ring::{Member, Version};
use groupcache_tls::keeper::Keeper;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::loader::Loaders;
use crate::membership::{Identity, Membership, Outcome};
use crate::news;
use crate::transport::control::Control;
use crate::transport::peers::{Heard, TonicPeers};

/// How long a peer may take to hand over its snapshot.
const PULL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a peer may take to hear an announcement.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(1);

/// Other members asked for a snapshot when the one that showed it is not known here yet.
const ASKED: usize = 3;

/// Who this node is, what it adopts, and whom it tells.
#[derive(Debug)]
pub struct NodeControl {
    membership: Arc<Membership>,
    peers: Arc<TonicPeers>,
    heard: mpsc::Sender<Heard>,
    draining: AtomicBool,
    /// Host and port of the cluster port, as others reach it.
    address: String,
    certificates: Option<Keeper>,
    loaders: Arc<Loaders>,
}

impl NodeControl {
    /// Adopts into `membership`; versions heard of go to `heard`, which [`NodeControl::catch_up_with`] reads.
    #[must_use]
    pub fn new(
        membership: Arc<Membership>,
        peers: Arc<TonicPeers>,
        heard: mpsc::Sender<Heard>,
        address: String,
        certificates: Option<Keeper>,
        loaders: Arc<Loaders>,
    ) -> Self {
        let draining = AtomicBool::new(false);
        NodeControl { membership, peers, heard, draining, address, certificates, loaders }
    }

    /// Fetches newer snapshots from whoever shows them, for as long as it is polled.
    pub async fn catch_up_with(&self, mut heard: mpsc::Receiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            self.pull(&heard.node, heard.version, Instant::now() + PULL_TIMEOUT).await;
        }
    }

    /// Tells every other member who this process is, and whether it drains.
    pub async fn announce(&self) {
        let Some(now) = self.membership.in_force() else { return };
        let version = now.view.version();
        let announce = AnnounceRequest {
            caller: None,
            pod_uid: self.me().pod_uid.clone(),
            address: self.address.clone(),
            draining: self.is_draining(),
        };
        let until = Instant::now() + ANNOUNCE_TIMEOUT;
        let told = now.view.others().map(|member| {
            let announce = announce.clone();
            async move {
                if let Err(error) = self.peers.announce(member, version, announce, until).await {
                    tracing::debug!(node = member.name, %error, "a peer did not hear the announcement");
                }
            }
        });
        join_all(told).await;
    }

    /// Follows what is in force: a membership that knows another process or address of this node's is corrected at once.
    pub async fn introduce(&self) {
        let mut in_force = self.membership.subscribe();
        loop {
            let now = in_force.borrow_and_update().clone();
            let me = now.as_ref().and_then(|now| now.view.snapshot().member(&self.me().name));
            if me.is_some_and(|me| me.boot != self.me().boot || me.address != self.address) {
                self.announce().await;
            }
            if in_force.changed().await.is_err() {
                return;
            }
        }
    }

    /// Says from now on that the node drains.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn me(&self) -> &Identity {
        self.membership.me()
    }

    /// Fetches the snapshot of `node`, or of others if it is not known here, until `version` is in force.
    async fn pull(&self, node: &str, version: Version, until: Instant) {
        let Some(now) = self.membership.in_force() else { return };
        let named: Vec<Member> = now.view.others().filter(|member| member.name == node).cloned().collect();
        let asked = if named.is_empty() { now.view.others().take(ASKED).cloned().collect() } else { named };
        for member in asked {
            if self.membership.version() >= version {
                return;
            }
            match self.peers.snapshot(&member, until).await {
                Ok(Some(signed)) => {
                    self.membership.offer(signed);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(node = member.name, %error, "a newer snapshot could not be fetched");
                }
            }
        }
    }

    /// Adopts what is pushed, or not, and answers.
    fn judged(&self, request: ApplyRequest) -> ApplyResponse {
        let outcome = match (self.wrong_target(&request), request.snapshot) {
            (Some(fault), _) => Outcome::Refused(vec![fault]),
            (None, None) => Outcome::Refused(vec!["the snapshot is missing".to_owned()]),
            (None, Some(signed)) => self.membership.offer(signed),
        };
        match outcome {
            Outcome::Adopted => self.standing(ApplyOutcome::Adopted, Vec::new()),
            Outcome::Unchanged => self.standing(ApplyOutcome::Unchanged, Vec::new()),
            Outcome::Older => self.standing(ApplyOutcome::Older, Vec::new()),
            Outcome::Refused(faults) => self.standing(ApplyOutcome::Refused, faults),
        }
    }

    /// How this node stands.
    fn standing(&self, outcome: ApplyOutcome, faults: Vec<String>) -> ApplyResponse {
        let in_force = self.membership.in_force();
        let shown = self.certificates.as_ref().map(Keeper::current);
        let answer = ApplyResponse {
            version: Some(convert::version_to_wire(self.membership.version())),
            ring_hash: in_force.map_or(0, |now| now.view.ring_hash()),
            boot: self.boot(),
            outcome: outcome.into(),
            faults,
            certificate: shown.as_ref().map(|shown| shown.leaf.clone()).unwrap_or_default(),
            authorities: shown.map(|shown| shown.trust.clone()).unwrap_or_default(),
            loaders: self.loaders.states(),
            state: 0,
        };
        ApplyResponse { state: news::state(&answer), ..answer }
    }

    fn wrong_target(&self, request: &ApplyRequest) -> Option<String> {
        let me = self.me();
        let (name, uid) = (&request.expected_node, &request.expected_pod_uid);
        if !name.is_empty() && **name != *me.name {
            return Some(format!("this is the node {}, not {name}", me.name));
        }
        if !uid.is_empty() && !me.pod_uid.is_empty() && *uid != me.pod_uid {
            return Some(format!("this is the pod {}, not {uid}", me.pod_uid));
        }
        None
    }
}

impl Control for NodeControl {
    fn name(&self) -> &str {
        &self.me().name
    }

    fn pod_uid(&self) -> &str {
        &self.me().pod_uid
    }

    fn boot(&self) -> u64 {
        self.me().boot
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn apply(&self, request: ApplyRequest) -> BoxFuture<'_, ApplyResponse> {
        let (wait, known) = (news::wait(request.wait_ms), request.known_state);
        let answer = self.judged(request);
        if wait.is_zero() || answer.outcome() != ApplyOutcome::Unchanged {
            return Box::pin(ready(answer));
        }
        let version = answer.version;
        let now = move || {
            let answer = self.standing(ApplyOutcome::Unchanged, Vec::new());
            let outcome =
                if answer.version == version { ApplyOutcome::Unchanged } else { ApplyOutcome::Older };
            ApplyResponse { outcome: outcome.into(), ..answer }
        };
        Box::pin(news::kept_back(known, wait, self.membership.subscribe(), || self.is_draining(), now))
    }

    fn snapshot(&self) -> Option<SignedSnapshot> {
        self.membership.in_force().map(|now| now.signed.clone())
    }

    fn announced(&self, announce: &AnnounceRequest) {
        let Some(caller) = &announce.caller else { return };
        let Some(now) = self.membership.in_force() else { return };
        let Some(member) = now.view.snapshot().member(&caller.node) else { return };
        tracing::info!(node = member.name, draining = announce.draining, "a member says who it is now");
        let address = if announce.address.is_empty() { &member.address } else { &announce.address };
        if caller.boot != member.boot || *address != member.address {
            self.peers.hint(&member.name, caller.boot, address);
        }
    }

    fn heard(&self, node: &str, version: Version) {
        if version > self.membership.version() {
            // A full queue is fine: every later call tells again.
            let _ = self.heard.try_send(Heard { node: Arc::from(node), version });
        }
    }

    fn catch_up(&self, node: &str, version: Version, until: Instant) -> BoxFuture<'_, ()> {
        let node = node.to_owned();
        Box::pin(async move {
            if version > self.membership.version() {
                self.pull(&node, version, until).await;
            }
        })
    }
}
