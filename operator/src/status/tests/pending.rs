//! Secrets that the pods are to mount and that are not there.

use super::*;

#[test]
fn a_secret_that_is_not_there_is_told_and_a_faulty_spec_is_told_first() {
    let pending = |w: &mut World| w.pending = vec!["the Secret a is not there".into(), "b lacks c".into()];
    let world = World::well().with(pending);
    assert_eq!(world.differs(), ["ConfigurationApplied=False/SecretPending"]);
    let told = "the Secret a is not there; b lacks c; pods that run go on as they are";
    assert_eq!(world.message("ConfigurationApplied"), told);
    let faulty = World::well().with(pending).with(|w| w.faults = vec!["no".into()]);
    assert_eq!(faulty.differs(), ["ConfigurationApplied=False/Invalid"]);
}
