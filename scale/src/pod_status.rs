//! What a kubelet says of a pod.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The status of a pod whose process runs, ready or not.
pub(crate) fn running(address: &str, ready: bool) -> Value {
    let (now, ready_text) = (Timestamp::now(), if ready { "True" } else { "False" });
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": now});
    json!({"status": {
        "phase": "Running",
        "hostIP": "10.250.255.254",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": [
            condition("Initialized", "True"),
            condition("ContainersReady", ready_text),
            condition("Ready", ready_text),
        ],
        "containerStatuses": [{
            "name": "cache", "image": "", "imageID": "", "containerID": "scale://cache",
            "ready": ready, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}},
        }],
    }})
}
