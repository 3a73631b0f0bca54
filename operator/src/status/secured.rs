//! What the condition CertificatesReady says.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::certificates::rotation::Phase;
use crate::certificates::{Fault, State};
use crate::conditions::{CERTIFICATES_READY, Finding, reason};
use crate::pods::NAME_TAKEN;

/// The finding.
pub(super) fn certificates_ready(state: &State) -> Finding {
    let finding = |status, reason, message| Finding::new(CERTIFICATES_READY, status, reason, message);
    match state {
        State::Disabled => {
            let message =
                "spec.tls.peer.mode is Disabled: whoever reaches the cluster port may replace what is cached";
            finding("True", reason::DISABLED, message.to_owned())
        }
        State::Missing(fault) => finding("False", reason_of(fault), fault.to_string()),
        State::Ready { fault: Some(fault), leaf_until, .. } => {
            let message =
                format!("{fault}; the authority in use stays, its certificates until {}", day(*leaf_until));
            finding("False", reason_of(fault), message)
        }
        State::Ready { phase: Phase::Steady, leaf_until, authority_until, .. } => {
            let (leaf, authority) = (day(*leaf_until), day(*authority_until));
            let message =
                format!("the nodes' certificate is valid until {leaf}, its authority until {authority}");
            finding("True", reason::ISSUED, message)
        }
        State::Ready { phase: Phase::Changing(behind), .. } => {
            let waits = if behind.is_empty() {
                String::new()
            } else {
                format!(": waiting for {}", behind.join(", "))
            };
            finding("True", reason::ROTATING, format!("a new authority replaces the one before{waits}"))
        }
    }
}

fn reason_of(fault: &Fault) -> &'static str {
    match fault {
        Fault::SecretMissing(_) => reason::SECRET_MISSING,
        Fault::NotAnAuthority { .. } => reason::NOT_AN_AUTHORITY,
        Fault::NameTaken(_) => NAME_TAKEN,
        Fault::Unread | Fault::Unmade(_) => reason::NOT_ISSUED,
    }
}

/// To the day: a message that changed every second would be written as often.
fn day(moment: SystemTime) -> String {
    Timestamp::try_from(moment).map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_tells_what_is_and_what_to_do() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let ready = |phase, fault| State::Ready {
            phase,
            leaf_until: at(1_800_000_000),
            authority_until: at(1_900_000_000),
            fault,
        };
        let missing = || Fault::SecretMissing("mine".into());
        let table = [
            (
                ready(Phase::Steady, None),
                "True Issued the nodes' certificate is valid until 2027-01-15, its authority until 2030-03-17",
            ),
            (
                ready(Phase::Changing(vec!["c-0".into(), "c-2".into()]), None),
                "True Rotating a new authority replaces the one before: waiting for c-0, c-2",
            ),
            (
                State::Missing(missing()),
                "False SecretMissing the Secret mine that spec.tls.peer.secretName names is not there",
            ),
            (
                ready(Phase::Steady, Some(missing())),
                "False SecretMissing the Secret mine that spec.tls.peer.secretName names is not there; the authority in use stays, its certificates until 2027-01-15",
            ),
        ];
        for (state, expected) in table {
            let Finding { status, reason, message, .. } = certificates_ready(&state);
            assert_eq!(format!("{status} {reason} {message}"), expected);
        }
    }
}
