//! The StatefulSet: the pods, each a cache node with an address of its own.
//!
//! Groups, loaders and rules of access are not in the pod template: they reach running nodes with the membership, so that changing them restarts
//! no pod. Pods start and stop in parallel, and none is replaced by the StatefulSet itself: the operator evicts them one by one.

use std::collections::BTreeMap;

use groupcache_crds::CacheCluster;
use groupcache_crds::tls::PeerTlsMode;
use groupcache_tls::credentials::{CHAIN_FILE, KEY_FILE, ROOTS_FILE};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::names;
use crate::plan::mounts::Mounts;
use crate::plan::{marks, placement};

/// Where a node keeps the last membership it applied.
const SNAPSHOT_DIR: &str = "/var/lib/groupcache";
/// Where the ledger is mounted: what a pod starts with that is made while no operator is there to tell it.
const LEDGER_DIR: &str = "/var/run/groupcache/ledger";
/// Where the certificates are mounted.
const CERTIFICATES_DIR: &str = "/var/run/groupcache/certificates";
/// Room for the snapshot: a membership is below 100 kB.
const SNAPSHOT_ROOM: &str = "16Mi";
/// Seconds between the end of the drain and the kill: connections close over 5 s, what is under way ends.
const STOP_SECONDS: i64 = 25;
/// Any user that is not root.
const USER: i64 = 65532;

/// The pods of this cluster, running this image.
#[must_use]
pub fn statefulset(cluster: &CacheCluster, image: &str, mounts: &Mounts) -> StatefulSet {
    let selector = LabelSelector { match_labels: Some(names::selector(cluster)), ..LabelSelector::default() };
    StatefulSet {
        metadata: names::child(cluster, names::base(cluster)),
        spec: Some(StatefulSetSpec {
            replicas: Some(cluster.spec.replicas),
            service_name: Some(names::members(cluster)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            revision_history_limit: Some(3),
            template: template(cluster, (image, mounts), &selector),
            selector,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn template(
    cluster: &CacheCluster,
    (image, mounts): (&str, &Mounts),
    selector: &LabelSelector,
) -> PodTemplateSpec {
    let restarted = cluster.annotations().get_key_value(names::RESTARTED_AT);
    let annotations = restarted.into_iter().map(|(key, at)| (key.clone(), at.clone()));
    let made_for = cluster.uid().map(|uid| (names::CLUSTER_UID.to_owned(), uid));
    let pods = PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(i64::from(cluster.spec.drain_seconds) + STOP_SECONDS),
        security_context: Some(pod_security()),
        image_pull_secrets: pull_secrets(cluster),
        containers: vec![container(cluster, image, mounts)],
        volumes: Some(volumes(cluster).into_iter().chain(mounts.volumes()).collect()),
        ..PodSpec::default()
    };
    let mut metadata = ObjectMeta {
        labels: Some(names::labels(cluster)),
        annotations: Some(annotations.chain(made_for).collect()),
        ..ObjectMeta::default()
    };
    marks::add(&cluster.spec.pod_metadata, &mut metadata);
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(placement::placed(pods, &cluster.spec.scheduling, selector)),
    }
}

fn pull_secrets(cluster: &CacheCluster) -> Option<Vec<LocalObjectReference>> {
    let secrets = &cluster.spec.image_pull_secrets;
    let references = secrets.iter().map(|secret| LocalObjectReference { name: secret.name.clone() });
    (!secrets.is_empty()).then(|| references.collect())
}

fn volumes(cluster: &CacheCluster) -> Vec<Volume> {
    let kept = EmptyDirVolumeSource {
        size_limit: Some(Quantity(SNAPSHOT_ROOM.to_owned())),
        ..EmptyDirVolumeSource::default()
    };
    let ledger = ConfigMapVolumeSource {
        name: names::ledger(cluster),
        items: Some(vec![KeyToPath {
            key: names::SNAPSHOT_KEY.to_owned(),
            path: names::SNAPSHOT_KEY.to_owned(),
            mode: None,
        }]),
        // The first pods start before there is one.
        optional: Some(true),
        ..ConfigMapVolumeSource::default()
    };
    let certificates = is_secured(cluster).then(|| Volume {
        name: "certificates".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(names::certificates(cluster)),
            items: Some(
                [CHAIN_FILE, KEY_FILE, ROOTS_FILE]
                    .map(|file| KeyToPath { key: file.to_owned(), path: file.to_owned(), mode: None })
                    .into(),
            ),
            // The pod's group reads the key, nobody else.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let others = [
        Volume { name: "snapshot".to_owned(), empty_dir: Some(kept), ..Volume::default() },
        Volume { name: "ledger".to_owned(), config_map: Some(ledger), ..Volume::default() },
    ];
    others.into_iter().chain(certificates).collect()
}

fn is_secured(cluster: &CacheCluster) -> bool {
    cluster.spec.tls.peer.mode != PeerTlsMode::Disabled
}

fn container(cluster: &CacheCluster, image: &str, mounts: &Mounts) -> Container {
    Container {
        name: "cache".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: cluster.spec.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        args: Some(args(cluster).into_iter().chain(mounts.args()).collect()),
        env: Some(vec![
            field("POD_NAME", "metadata.name"),
            field("POD_UID", "metadata.uid"),
            field("POD_IP", "status.podIP"),
        ]),
        ports: Some(vec![
            port("data", names::DATA_PORT),
            port("cluster", names::CLUSTER_PORT),
            port("admin", names::ADMIN_PORT),
        ]),
        resources: cluster.spec.resources.as_ref().map(resources),
        // A node that is starved of processor time for a while must not be killed for it: that would empty its cache.
        liveness_probe: Some(Probe { failure_threshold: Some(6), ..probe("/healthz", 10, 5) }),
        readiness_probe: Some(Probe { failure_threshold: Some(2), ..probe("/readyz", 2, 2) }),
        startup_probe: Some(Probe { failure_threshold: Some(120), ..probe("/healthz", 1, 2) }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(own_mounts(cluster).into_iter().chain(mounts.mounts()).collect()),
        ..Container::default()
    }
}

fn own_mounts(cluster: &CacheCluster) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let certificates = is_secured(cluster).then(|| mount("certificates", CERTIFICATES_DIR, true));
    [mount("snapshot", SNAPSHOT_DIR, false), mount("ledger", LEDGER_DIR, true)]
        .into_iter()
        .chain(certificates)
        .collect()
}

/// The node's flags; their meaning is the node's `--help`.
fn args(cluster: &CacheCluster) -> Vec<String> {
    let spec = &cluster.spec;
    let mut args = vec![
        "--name=$(POD_NAME)".to_owned(),
        "--pod-uid=$(POD_UID)".to_owned(),
        "--advertise=$(POD_IP)".to_owned(),
        format!("--snapshot-dir={SNAPSHOT_DIR}"),
        format!("--ledger={LEDGER_DIR}/{}", names::SNAPSHOT_KEY),
        format!("--drain-delay={}s", spec.drain_seconds),
        format!("--memory-share={}", spec.memory.cache_percent),
    ];
    args.extend(is_secured(cluster).then(|| format!("--tls-dir={CERTIFICATES_DIR}")));
    // Told, so that node and rules reckon with one number: the kernel rounds the limit down to whole pages.
    let limit = spec.resources.as_ref().and_then(|resources| resources.limits.get("memory"));
    args.extend(
        limit.and_then(groupcache_crds::Quantity::whole).map(|bytes| format!("--memory-limit={bytes}")),
    );
    args
}

fn resources(asked: &groupcache_crds::cluster::Resources) -> ResourceRequirements {
    let amounts = |asked: &BTreeMap<String, groupcache_crds::Quantity>| {
        let amounts = asked.iter().map(|(name, amount)| (name.clone(), Quantity(amount.0.clone())));
        (!asked.is_empty()).then(|| amounts.collect())
    };
    ResourceRequirements {
        requests: amounts(&asked.requests),
        limits: amounts(&asked.limits),
        ..ResourceRequirements::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        // The snapshot's volume belongs to root otherwise.
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, timeout_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(timeout_seconds),
        ..Probe::default()
    }
}
