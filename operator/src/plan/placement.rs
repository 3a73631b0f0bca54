//! Where pods may run, from the spec's scheduling.

use std::collections::BTreeMap;

use groupcache_crds::scheduling::{Scheduling, Spread, TaintEffect, TolerationOperator};
use k8s_openapi::api::core::v1::{PodSpec, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// These pods, placed like that.
pub(super) fn placed(pods: PodSpec, scheduling: &Scheduling, selector: &LabelSelector) -> PodSpec {
    PodSpec {
        topology_spread_constraints: spread(scheduling, selector),
        affinity: scheduling.affinity.clone(),
        node_selector: node_selector(scheduling),
        tolerations: tolerations(scheduling),
        priority_class_name: scheduling.priority_class_name.clone(),
        ..pods
    }
}

/// The user's constraints, or those that a word stands for.
fn spread(scheduling: &Scheduling, selector: &LabelSelector) -> Option<Vec<TopologySpreadConstraint>> {
    if !scheduling.topology_spread_constraints.is_empty() {
        let mut asked = scheduling.topology_spread_constraints.clone();
        // Without one a constraint counts no pods, and so does nothing.
        for constraint in &mut asked {
            constraint.label_selector.get_or_insert_with(|| selector.clone());
        }
        return Some(asked);
    }
    let otherwise = match scheduling.spread {
        Spread::Preferred => "ScheduleAnyway",
        Spread::Required => "DoNotSchedule",
        Spread::Disabled => return None,
    };
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: otherwise.to_owned(),
        label_selector: Some(selector.clone()),
        ..TopologySpreadConstraint::default()
    };
    Some(vec![over("topology.kubernetes.io/zone"), over("kubernetes.io/hostname")])
}

fn node_selector(scheduling: &Scheduling) -> Option<BTreeMap<String, String>> {
    let labels = scheduling.node_selector.iter().map(|(name, value)| (name.clone(), value.0.clone()));
    (!scheduling.node_selector.is_empty()).then(|| labels.collect())
}

fn tolerations(scheduling: &Scheduling) -> Option<Vec<Toleration>> {
    let tolerations = scheduling.tolerations.iter().map(|toleration| Toleration {
        key: toleration.key.clone(),
        operator: toleration.operator.map(|operator| match operator {
            TolerationOperator::Exists => "Exists".to_owned(),
            TolerationOperator::Equal => "Equal".to_owned(),
        }),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| match effect {
            TaintEffect::NoSchedule => "NoSchedule".to_owned(),
            TaintEffect::PreferNoSchedule => "PreferNoSchedule".to_owned(),
            TaintEffect::NoExecute => "NoExecute".to_owned(),
        }),
        toleration_seconds: toleration.toleration_seconds,
    });
    (!scheduling.tolerations.is_empty()).then(|| tolerations.collect())
}
