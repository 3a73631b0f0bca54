//! What is said while the operator leaves a cluster alone.

use super::*;

#[test]
fn a_pause_is_told_and_with_it_what_does_not_happen() {
    let paused = World::well().with(|w| w.pause = Some(Pause { withholds: false }));
    assert_eq!(paused.differs(), ["Progressing=False/Paused", "Paused=True/Paused"]);
    let withheld = paused.with(|w| w.pause = Some(Pause { withholds: true }));
    let expected = ["Progressing=False/Paused", "ConfigurationApplied=False/Paused", "Paused=True/Paused"];
    assert_eq!(withheld.differs(), expected);
}

#[test]
fn a_faulty_spec_is_told_rather_than_that_it_is_withheld() {
    let world = World::well().with(|w| {
        w.pause = Some(Pause { withholds: true });
        w.faults = vec!["no URL".into()];
    });
    assert!(world.differs().contains(&"ConfigurationApplied=False/Invalid".to_owned()));
}
