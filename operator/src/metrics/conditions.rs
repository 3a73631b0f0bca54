//! The conditions of every cluster as one gauge, in the words of its status.
//!
//! A series for what each condition says, with the reason, and none for what it does not say: eight a cluster instead of twenty-four, and whoever is woken reads
//! why. All of a cluster's change at once, so that no scrape sees a condition say two things.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metrics::OfCluster;

/// What each cluster's conditions said last. Cheap to clone; clones tell the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions(Arc<Mutex<BTreeMap<OfCluster, Vec<Said>>>>);

/// What one condition says.
#[derive(Debug)]
struct Said {
    type_: String,
    status: String,
    reason: String,
}

impl Conditions {
    /// They say this now, and nothing of what they said before.
    pub(super) fn say(&self, of: OfCluster, conditions: &[Condition]) {
        let said = |condition: &Condition| Said {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
        };
        let said = conditions.iter().map(said).collect();
        self.0.lock().insert(of, said);
    }

    /// The cluster is gone.
    pub(super) fn forget(&self, of: &OfCluster) {
        self.0.lock().remove(of);
    }
}

impl Collector for Conditions {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let name = "groupcache_operator_cluster_condition";
        let help = "1 for what each condition of a cluster's status says";
        let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, conditions) in &*self.0.lock() {
            for Said { type_, status, reason } in conditions {
                let labels = [
                    ("namespace", &*of.namespace),
                    ("cluster", &*of.cluster),
                    ("type", type_),
                    ("status", status),
                    ("reason", reason),
                ];
                ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
