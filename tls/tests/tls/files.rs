//! Certificates in files, as a volume of Kubernetes' has them: swapped at once, while a process reads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use groupcache_tls::authority::Authority;
use groupcache_tls::credentials::{Credentials, Fault};
use groupcache_tls::identity::Role;
use groupcache_tls::keeper::Keeper;

use crate::cluster::{authority, issued};

/// Writes a version of the three files and has `..data` lead to it, as the kubelet does.
fn publish(folder: &Path, version: &str, by: &Authority) {
    let within = folder.join(version);
    fs::create_dir(&within).expect("it works");
    let issued = issued(by, "uid-1", Role::Node);
    fs::write(within.join("tls.crt"), issued.chain_pem).expect("it works");
    fs::write(within.join("tls.key"), issued.key_pem).expect("it works");
    fs::write(within.join("ca.crt"), by.certificate_pem()).expect("it works");
    let new = folder.join("..data_tmp");
    symlink(version, &new).expect("it works");
    fs::rename(new, folder.join("..data")).expect("it works");
}

#[test]
fn what_is_new_is_taken_up_and_what_is_broken_is_not() {
    let folder = tempfile::tempdir().expect("it works");
    let (old, new) = (authority("old"), authority("new"));
    publish(folder.path(), "..1", &old);
    let keeper = Keeper::new(Credentials::read(folder.path()).expect("it works"));
    let first = keeper.current();

    keeper.look(folder.path()).expect("it works");
    assert_eq!(keeper.current().leaf, first.leaf, "nothing has changed");

    publish(folder.path(), "..2", &new);
    keeper.look(folder.path()).expect("it works");
    let second = keeper.current();
    assert_ne!((&second.leaf, &second.trust), (&first.leaf, &first.trust));

    publish(folder.path(), "..3", &old);
    fs::write(folder.path().join("..3/ca.crt"), new.certificate_pem()).expect("it works");
    let fault = keeper.look(folder.path()).expect_err("a fault");
    assert!(matches!(fault, Fault::Rustls(_)), "{fault}");
    fs::remove_file(folder.path().join("..3/tls.key")).expect("it works");
    let fault = keeper.look(folder.path()).expect_err("a fault");
    assert!(fault.to_string().contains("tls.key cannot be read"), "{fault}");
    assert_eq!(keeper.current().leaf, second.leaf, "those in use stay");
}

#[test]
fn a_plain_folder_will_do() {
    let folder = tempfile::tempdir().expect("it works");
    let by = authority("ours");
    let issued = issued(&by, "uid-1", Role::Operator);
    fs::write(folder.path().join("tls.crt"), issued.chain_pem).expect("it works");
    fs::write(folder.path().join("tls.key"), issued.key_pem).expect("it works");
    fs::write(folder.path().join("ca.crt"), by.certificate_pem()).expect("it works");
    assert_eq!(Credentials::read(folder.path()).expect("it works").identity.role, Role::Operator);
}
