//! Authorities that replace each other: in order, only when everybody follows, and from whatever half-way point.

use super::*;

/// A rotation and the nodes that live by it.
struct World {
    rotation: Rotation,
    nodes: Vec<Node>,
    phase: Phase,
    now: SystemTime,
}

impl World {
    fn new(nodes: usize) -> Self {
        let now = SystemTime::now();
        let wish = Wish { cluster_uid: "uid-1", given: None, keep: false, rotate: "", now };
        let (rotation, phase) = next(None, None, &wish, None).expect("a rotation");
        let nodes = (0..nodes).map(|n| Node { name: format!("c-{n}"), shown: None }).collect();
        let mut world = World { rotation, nodes, phase, now };
        world.all_follow();
        world
    }

    fn look(&mut self, given: Option<&Authority>, keep: bool, rotate: &str) {
        let wish = Wish { cluster_uid: "uid-1", given: given.cloned(), keep, rotate, now: self.now };
        let (rotation, phase) =
            next(Some(self.rotation.clone()), None, &wish, Some(&self.nodes)).expect("a step");
        (self.rotation, self.phase) = (rotation, phase);
    }

    /// This node has read the files as they are now.
    fn follows(&mut self, node: usize) {
        let leaf = fingerprint([&self.rotation.leaf_certificate().expect("a leaf")]);
        self.nodes[node].shown = Some((leaf, self.rotation.trust().expect("a bundle")));
    }

    fn all_follow(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.follows(node));
    }

    fn signer(&self) -> String {
        self.rotation.signer.fingerprint()
    }

    fn introduced(&self) -> Option<String> {
        self.rotation.next.as_ref().map(|next| next.authority.fingerprint())
    }

    fn trusted(&self) -> usize {
        self.rotation.bundle().matches("BEGIN CERTIFICATE").count()
    }
}

#[test]
fn a_look_at_what_is_well_changes_nothing() {
    let mut world = World::new(3);
    let (signer, leaf) = (world.signer(), world.rotation.leaf.clone());
    for _ in 0..3 {
        world.look(None, false, "");
    }
    assert_eq!((world.signer(), &world.rotation.leaf, world.trusted()), (signer, &leaf, 1));
    assert_eq!(world.phase, Phase::Steady);
}

/// Turned red by: taking any of the steps without waiting for the nodes.
#[test]
fn each_step_waits_for_every_node() {
    let mut world = World::new(3);
    let old = world.signer();
    world.look(None, false, "please");
    assert_eq!((world.signer(), world.trusted()), (old.clone(), 2), "introduced");
    assert_eq!(world.rotation.leaf.issuer, old);
    for node in 0..3 {
        assert!(matches!(&world.phase, Phase::Changing(behind) if behind.contains(&format!("c-{node}"))));
        world.look(None, false, "please");
        assert_eq!(world.signer(), old, "{node} has not followed");
        world.follows(node);
    }
    world.look(None, false, "please");
    let new = world.signer();
    assert_ne!(new, old, "replaced");
    assert_eq!((&world.rotation.leaf.issuer, world.trusted()), (&new, 2));
    for node in 0..3 {
        world.look(None, false, "please");
        assert_eq!(world.trusted(), 2, "{node} may show the old one's");
        world.follows(node);
    }
    world.look(None, false, "please");
    assert_eq!((world.trusted(), &world.phase), (1, &Phase::Steady), "dropped");
    world.look(None, false, "please");
    assert_eq!(world.signer(), new, "a wish is heard once");
    world.look(None, false, "again");
    assert_eq!(world.trusted(), 2);
}

#[test]
fn a_node_that_has_not_been_heard_holds_a_change_up() {
    let mut world = World::new(2);
    world.look(None, false, "please");
    world.all_follow();
    world.nodes[1].shown = None;
    world.look(None, false, "please");
    assert_eq!(world.phase, Phase::Changing(vec!["c-1".into()]));
}

#[test]
fn the_users_authority_replaces_ours_and_its_successor_replaces_it() {
    let mut world = World::new(1);
    let authorities =
        ["one", "two"].map(|name| Authority::generate(name, world.now, 400 * DAY).expect("an authority"));
    for given in &authorities {
        for _ in 0..4 {
            world.look(Some(given), false, "");
            world.all_follow();
        }
        assert_eq!((world.signer(), world.trusted()), (given.fingerprint(), 1));
    }
    world.look(None, true, "");
    assert_eq!(
        (world.trusted(), &world.phase),
        (1, &Phase::Steady),
        "a fault in their Secret changes nothing"
    );
}

#[test]
fn a_user_who_changes_their_mind_half_way_is_followed() {
    let mut world = World::new(1);
    let [one, two] =
        ["one", "two"].map(|name| Authority::generate(name, world.now, 400 * DAY).expect("an authority"));
    world.look(Some(&one), false, "");
    world.look(Some(&two), false, "");
    assert_eq!(world.introduced(), Some(two.fingerprint()));
    for _ in 0..3 {
        world.all_follow();
        world.look(Some(&two), false, "");
    }
    assert_eq!((world.signer(), world.trusted()), (two.fingerprint(), 1));
}

/// Turned red by: a look at the age of the authority alone. Whoever has the user's key could go on pushing memberships.
#[test]
fn an_authority_of_ours_replaces_the_users_as_soon_as_the_mode_says_so() {
    let mut world = World::new(1);
    let long = Authority::generate("theirs", world.now, AUTHORITY_VALID).expect("an authority");
    let rounds = |world: &mut World, given: Option<&Authority>| {
        for _ in 0..4 {
            world.look(given, false, "");
            world.all_follow();
        }
        assert_eq!((world.trusted(), &world.phase), (1, &Phase::Steady));
    };
    rounds(&mut world, Some(&long));
    assert_eq!(world.signer(), long.fingerprint());
    rounds(&mut world, None);
    let ours = world.signer();
    assert_ne!(ours, long.fingerprint());
    rounds(&mut world, None);
    assert_eq!(world.signer(), ours, "once");

    let copied = world.rotation.signer.clone();
    rounds(&mut world, Some(&copied));
    assert_eq!(world.signer(), ours, "the user has brought what is in use");
    rounds(&mut world, None);
    assert_ne!(world.signer(), ours, "and has its key");
}

#[test]
fn a_mode_that_is_changed_back_half_way_takes_the_users_authority_out_again() {
    let mut world = World::new(1);
    let ours = world.signer();
    let theirs = Authority::generate("theirs", world.now, AUTHORITY_VALID).expect("an authority");
    world.look(Some(&theirs), false, "");
    assert_eq!(world.introduced(), Some(theirs.fingerprint()));
    world.look(None, true, "");
    assert_eq!(
        world.introduced(),
        Some(theirs.fingerprint()),
        "a fault in their Secret is no change of mind"
    );
    world.look(None, false, "");
    assert_eq!((world.introduced(), world.signer(), world.trusted()), (None, ours, 1));
}

#[test]
fn certificates_are_renewed_after_a_third_and_authorities_while_a_third_is_left() {
    let mut world = World::new(1);
    let (signer, leaf) = (world.signer(), world.rotation.leaf.clone());
    world.now += LEAF_VALID / 3 - DAY;
    world.look(None, false, "");
    assert_eq!(world.rotation.leaf, leaf);
    world.now += 2 * DAY;
    world.look(None, false, "");
    assert_ne!(world.rotation.leaf, leaf);
    assert_eq!((world.signer(), world.trusted(), &world.phase), (signer, 1, &Phase::Steady));
    world.now += AUTHORITY_VALID * 2 / 3;
    world.look(None, false, "");
    assert_eq!(world.trusted(), 2, "the next authority is introduced");
}

#[test]
fn a_certificate_of_an_authority_that_ends_soon_is_not_renewed_at_every_look() {
    let mut world = World::new(1);
    let short = Authority::generate("short", world.now, 10 * DAY).expect("an authority");
    for _ in 0..4 {
        world.look(Some(&short), false, "");
        world.all_follow();
    }
    let leaf = world.rotation.leaf.clone();
    world.now += 2 * DAY;
    world.look(Some(&short), false, "");
    assert_eq!(world.rotation.leaf, leaf);
}

#[test]
fn nodes_whose_authority_was_lost_are_trusted_until_they_have_new_certificates() {
    let mut world = World::new(1);
    let lost = world.rotation.bundle();
    let wish = Wish { cluster_uid: "uid-1", given: None, keep: false, rotate: "", now: world.now };
    let (rotation, _) = next(None, Some(&lost), &wish, None).expect("a rotation");
    world.rotation = rotation;
    assert_eq!(world.trusted(), 2);
    world.look(None, false, "");
    assert_eq!(world.trusted(), 2);
    world.all_follow();
    world.look(None, false, "");
    assert_eq!((world.trusted(), &world.phase), (1, &Phase::Steady));
}

/// Turned red by: a renewal that looks only at the age and the issuer. Nodes of the new object would reach nobody with it.
#[test]
fn a_certificate_of_a_deleted_cluster_of_that_name_is_issued_anew_once() {
    let world = World::new(1);
    let wish = Wish { cluster_uid: "uid-2", given: None, keep: false, rotate: "", now: world.now };
    let (taken_over, _) = next(Some(world.rotation.clone()), None, &wish, None).expect("a step");
    let identity = Identity::of(&taken_over.leaf_certificate().expect("a leaf")).expect("a name");
    assert_eq!(identity, Identity::new("uid-2", Role::Node));
    assert_eq!(taken_over.signer.fingerprint(), world.signer(), "the authority is trusted already");
    let (again, _) = next(Some(taken_over.clone()), None, &wish, None).expect("a step");
    assert_eq!(again.leaf, taken_over.leaf);
}
