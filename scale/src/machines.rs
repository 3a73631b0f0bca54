//! Machines that are not there: Node objects with room for pods, kept Ready by their Leases.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// What every machine's name begins with.
const PREFIX: &str = "scale-";
/// Label and taint of the machines: nothing else comes here, and what belongs here goes nowhere else.
pub(crate) const MARK: &str = "scale.groupcache.dev/machine";
/// Pods that a machine takes: what kubelets take unless told.
const ROOM: usize = 110;
/// Between two signs of life; the control plane waits for several times as long.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Where machines keep their signs of life.
const LEASES: &str = "kube-node-lease";

/// How many machines so many pods need; one more, for those that replace others.
pub(crate) fn needed(pods: usize) -> usize {
    pods.div_ceil(ROOM) + 1
}

/// Whether a pod is on one of them.
pub(crate) fn is_ours(node: &str) -> bool {
    node.starts_with(PREFIX)
}

/// Makes them.
///
/// # Errors
/// When the API server refuses one.
pub(crate) async fn make(client: &Client, count: usize) -> Result<()> {
    let (nodes, leases): (Api<Node>, Api<Lease>) =
        (Api::all(client.clone()), Api::namespaced(client.clone(), LEASES));
    for number in 0..count {
        let name = name(number);
        let lease = json!({
            "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now()},
        });
        leases.create(&PostParams::default(), &serde_json::from_value(lease)?).await?;
        let node = json!({
            "metadata": {
                "name": name,
                "labels": {
                    MARK: "true",
                    "kubernetes.io/hostname": name,
                    "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
                },
            },
            "spec": {"taints": [{"key": MARK, "value": "true", "effect": "NoSchedule"}]},
        });
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
        let room = json!({"cpu": "64", "memory": "512Gi", "pods": ROOM.to_string()});
        let status = json!({"status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                "lastHeartbeatTime": Timestamp::now(), "lastTransitionTime": Timestamp::now(),
            }],
        }});
        let patched = nodes.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await;
        patched.with_context(|| format!("could not make the machine {name} Ready"))?;
    }
    Ok(())
}

/// Keeps them Ready until dropped.
pub(crate) async fn keep_up(client: Client, count: usize) {
    let leases: Api<Lease> = Api::namespaced(client, LEASES);
    let mut beats = tokio::time::interval(HEARTBEAT);
    loop {
        beats.tick().await;
        for number in 0..count {
            let renewed = json!({"spec": {"renewTime": now()}});
            let patched = leases.patch(&name(number), &PatchParams::default(), &Patch::Merge(renewed)).await;
            if let Err(error) = patched {
                eprintln!("the machine {} gave no sign of life: {error}", name(number));
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("{PREFIX}{number}")
}

/// As Leases want it: with microseconds.
fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_room_for_one_pod_more() {
        assert_eq!((needed(1), needed(110), needed(111), needed(900)), (2, 2, 3, 10));
    }
}
