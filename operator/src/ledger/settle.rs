//! When a version counts as settled: conservatively, once everyone it names has had it in force for one bound. Pure.

use std::collections::HashMap;
use std::time::Duration;

use groupcache_ring::{Snapshot, Version};
use tokio::time::Instant;

use crate::configuration::STALENESS_BOUND_MS;
use crate::report::Report;

/// How long everyone must have had a version in force.
pub const BOUND: Duration = Duration::from_millis(STALENESS_BOUND_MS);

/// Since when everyone has which version. Lost with the operator, at the cost of waiting the bound once more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settling {
    adopted: Option<(Version, Instant)>,
}

impl Settling {
    /// The newest settled version, and how long until the one in force is, if it is on its way.
    pub fn look(
        &mut self,
        now: Instant,
        snapshot: &Snapshot,
        reports: &HashMap<String, Report>,
    ) -> (Version, Option<Duration>) {
        let version = snapshot.version();
        let everyone = snapshot.members().iter().all(|member| {
            let report = reports.get(&member.pod_uid);
            report.is_some_and(|report| report.has(version))
        });
        if !everyone {
            self.adopted = None;
            return (snapshot.settled(), None);
        }
        let since = match self.adopted {
            Some((adopted, since)) if adopted == version => since,
            _ => now,
        };
        self.adopted = Some((version, since));
        match (since + BOUND).checked_duration_since(now).filter(|left| !left.is_zero()) {
            Some(left) => (snapshot.settled(), Some(left)),
            None => (version, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use groupcache_ring::Member;

    use super::*;
    use crate::report::Applied;

    fn reports(of: &[(&str, Version)]) -> HashMap<String, Report> {
        let applied = |version| Some(Applied { version, ring_hash: 1, boot: 1 });
        of.iter()
            .map(|(uid, v)| ((*uid).to_owned(), Report { applied: applied(*v), ..Report::default() }))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_settles_one_bound_after_the_last_acknowledgement() {
        let (v1, v2) = (Version::new(1, 1), Version::new(1, 2));
        let named = |name: &str| Member { pod_uid: name.into(), ..Member::active(name, format!("{name}:1")) };
        let snapshot = Snapshot::new("uid", v2, v1, Vec::new(), vec![named("a"), named("b")]).unwrap();
        let mut settling = Settling::default();
        let start = Instant::now();

        let partly = reports(&[("a", v2), ("b", v1)]);
        assert_eq!(settling.look(start, &snapshot, &partly), (v1, None));
        let all = reports(&[("a", v2), ("b", v2)]);
        assert_eq!(settling.look(start + BOUND, &snapshot, &all), (v1, Some(BOUND)));
        assert_eq!(settling.look(start + BOUND * 2, &snapshot, &all), (v2, None));
        assert_eq!(
            settling.look(start + BOUND * 2, &snapshot, &partly),
            (v1, None),
            "a restarted node unsettles"
        );
    }
}
