//! The two Secrets of a cluster's certificates, and the user's: read by name, written only over what was read.

use std::collections::BTreeMap;

use groupcache_crds::CacheCluster;
use groupcache_tls::authority::Authority;
use groupcache_tls::credentials::{CHAIN_FILE, KEY_FILE, ROOTS_FILE, certificates};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use crate::certificates::Fault;
use crate::certificates::rotation::{Leaf, Next, Origin, Rotation};
use crate::{names, ownership};

const NEXT_CHAIN: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const OLD_CHAIN: &str = "old.crt";
/// Which wish of the user's was heard last.
const ROTATED: &str = "rotated";
/// Who brought the authority in use, and the next one.
const ORIGIN: &str = "origin";
const NEXT_ORIGIN: &str = "next.origin";
const OF_THE_USER: &str = "user";
const OF_THE_OPERATOR: &str = "operator";
/// Who issued the nodes' certificate.
const ISSUER: &str = "issuer";

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// `None`: there is no authority yet, or it cannot be read.
    pub rotation: Option<Rotation>,
    /// Whom the nodes trust, where the authority behind it is lost.
    pub orphan: Option<String>,
    /// Why nothing must be written: a Secret of one of the names is somebody else's.
    pub stranger: Option<String>,
    authority: Option<Secret>,
    nodes: Option<Secret>,
}

/// Reads both Secrets.
///
/// # Errors
/// If the API server does not answer.
pub async fn read(client: &Client, cluster: &CacheCluster) -> kube::Result<Page> {
    let api = api(client, cluster);
    let (ca, tls) = (names::authority(cluster), names::certificates(cluster));
    let (authority, nodes) = tokio::try_join!(api.get_opt(&ca), api.get_opt(&tls))?;
    for secret in [&authority, &nodes].into_iter().flatten() {
        if let Some(why) = ownership::stranger(&secret.metadata, cluster) {
            let stranger = Some(format!("{} {why}", secret.name_any()));
            return Ok(Page { stranger, ..Page::default() });
        }
    }
    let rotation = authority.as_ref().and_then(|authority| {
        rotation(authority, nodes.as_ref())
            .inspect_err(|why| tracing::warn!(cluster = %cluster.name_any(), %why, "the Secret {ca} cannot be read; a new authority is made"))
            .ok()
    });
    let orphan = nodes.as_ref().filter(|_| rotation.is_none()).and_then(|nodes| text(nodes, ROOTS_FILE));
    Ok(Page { rotation, orphan, stranger: None, authority, nodes })
}

/// The user's authority.
///
/// # Errors
/// If the API server does not answer.
pub async fn given(
    client: &Client,
    cluster: &CacheCluster,
    name: &str,
) -> kube::Result<Result<Authority, Fault>> {
    let Some(secret) = api(client, cluster).get_opt(name).await? else {
        return Ok(Err(Fault::SecretMissing(name.to_owned())));
    };
    let (chain, key) = (text(&secret, CHAIN_FILE), text(&secret, KEY_FILE));
    let authority = Authority::from_pem(&chain.unwrap_or_default(), &key.unwrap_or_default());
    Ok(authority.map_err(|fault| Fault::NotAnAuthority { name: name.to_owned(), why: fault.to_string() }))
}

/// Writes what differs from what was read: the authority first, because what it has issued is of no use without it.
///
/// # Errors
/// A conflict if somebody else wrote meanwhile.
pub async fn write(
    client: &Client,
    cluster: &CacheCluster,
    over: &Page,
    rotation: &Rotation,
) -> kube::Result<()> {
    let api = api(client, cluster);
    put(&api, over.authority.as_ref(), authority_secret(cluster, rotation)).await?;
    put(&api, over.nodes.as_ref(), nodes_secret(cluster, rotation)).await
}

async fn put(api: &Api<Secret>, held: Option<&Secret>, wanted: Secret) -> kube::Result<()> {
    let params = PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let (name, namespace) = (wanted.name_any(), wanted.namespace());
    match held {
        None => drop(api.create(&params, &wanted).await?),
        Some(held) => match over(held, wanted) {
            None => return Ok(()),
            Some(wanted) => drop(api.replace(&name, &params, &wanted).await?),
        },
    }
    tracing::info!(secret = %name, ?namespace, "certificates were written");
    Ok(())
}

/// What to write over `held`; `None`: it holds all that is wanted. Labels, annotations and owners of others' stay.
fn over(held: &Secret, mut wanted: Secret) -> Option<Secret> {
    let (theirs, ours) = (&held.metadata, &mut wanted.metadata);
    let labels = theirs.labels.clone().unwrap_or_default();
    let owners = theirs.owner_references.clone().unwrap_or_default();
    let our_labels = ours.labels.take().unwrap_or_default();
    let our_owners = ours.owner_references.take().unwrap_or_default();
    let labelled = our_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    // Whose owner is missing outlives the cluster: deleting one without its children takes the owner off them.
    let owned = our_owners.iter().all(|owner| owners.contains(owner));
    if held.data == wanted.data && labelled && owned {
        return None;
    }
    let others = owners.into_iter().filter(|owner| our_owners.iter().all(|ours| ours.uid != owner.uid));
    ours.owner_references = Some(others.chain(our_owners.clone()).collect());
    ours.labels = Some(labels.into_iter().chain(our_labels).collect());
    ours.annotations.clone_from(&theirs.annotations);
    ours.finalizers.clone_from(&theirs.finalizers);
    ours.resource_version.clone_from(&theirs.resource_version);
    Some(wanted)
}

fn api(client: &Client, cluster: &CacheCluster) -> Api<Secret> {
    Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default())
}

fn authority_secret(cluster: &CacheCluster, rotation: &Rotation) -> Secret {
    let signer = &rotation.signer;
    let mut data = vec![
        (CHAIN_FILE, signer.certificate_pem()),
        (KEY_FILE, signer.key_pem()),
        (ORIGIN, said(rotation.origin)),
        (ROTATED, rotation.rotated.as_str()),
    ];
    if let Some(next) = &rotation.next {
        let (chain, key) = (next.authority.certificate_pem(), next.authority.key_pem());
        data.extend([(NEXT_CHAIN, chain), (NEXT_KEY, key), (NEXT_ORIGIN, said(next.origin))]);
    }
    data.extend(rotation.old.as_deref().map(|old| (OLD_CHAIN, old)));
    secret(names::child(cluster, names::authority(cluster)), data)
}

fn nodes_secret(cluster: &CacheCluster, rotation: &Rotation) -> Secret {
    let (leaf, bundle) = (&rotation.leaf, rotation.bundle());
    let data = vec![
        (CHAIN_FILE, leaf.chain_pem.as_str()),
        (KEY_FILE, leaf.key_pem.as_str()),
        (ROOTS_FILE, bundle.as_str()),
        (ISSUER, leaf.issuer.as_str()),
    ];
    secret(names::child(cluster, names::certificates(cluster)), data)
}

fn secret(metadata: ObjectMeta, data: Vec<(&str, &str)>) -> Secret {
    let data: BTreeMap<String, ByteString> = data
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
        .collect();
    // The type of certificates and keys: tools show how long they are valid.
    Secret { metadata, data: Some(data), type_: Some("kubernetes.io/tls".to_owned()), ..Secret::default() }
}

fn said(origin: Origin) -> &'static str {
    match origin {
        Origin::Operator => OF_THE_OPERATOR,
        Origin::User => OF_THE_USER,
    }
}

/// Not said by earlier releases: what they hold is kept, as they kept it.
fn origin(secret: &Secret, key: &str) -> Origin {
    let theirs = text(secret, key).is_some_and(|said| said == OF_THE_USER);
    if theirs { Origin::User } else { Origin::Operator }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    String::from_utf8(bytes.clone()).ok()
}

fn rotation(authority: &Secret, nodes: Option<&Secret>) -> Result<Rotation, String> {
    let of = |chain: &str, key: &str| {
        let chain = text(authority, chain).ok_or(format!("it lacks {chain}"))?;
        let key = text(authority, key).ok_or(format!("it lacks {key}"))?;
        Authority::from_pem(&chain, &key).map_err(|fault| fault.to_string())
    };
    // Nobody shows its certificates yet: it is only introduced, and so can be once more.
    let next = text(authority, NEXT_CHAIN).is_some().then(|| of(NEXT_CHAIN, NEXT_KEY)).transpose();
    let mut rotated = text(authority, ROTATED).unwrap_or_default();
    let next = next.unwrap_or_else(|why| {
        tracing::warn!(secret = %authority.name_any(), %why, "the authority that was to be the next one cannot be read; it is dropped");
        // If it was there for the asking, the wish is heard again.
        rotated.clear();
        None
    });
    // A certificate that is gone or garbled is issued anew.
    let leaf = nodes.and_then(|nodes| {
        let leaf = Leaf {
            chain_pem: text(nodes, CHAIN_FILE)?,
            key_pem: text(nodes, KEY_FILE)?,
            issuer: text(nodes, ISSUER)?,
        };
        leaf.is_readable().then_some(leaf)
    });
    let signer = of(CHAIN_FILE, KEY_FILE)?;
    let leaf = leaf.unwrap_or_else(|| Leaf::lost(&signer));
    Ok(Rotation {
        signer,
        origin: origin(authority, ORIGIN),
        next: next.map(|next| Next { authority: next, origin: origin(authority, NEXT_ORIGIN) }),
        // What cannot be read is trusted by no node that reads it.
        old: text(authority, OLD_CHAIN).filter(|old| certificates(old.as_bytes(), OLD_CHAIN).is_ok()),
        rotated,
        leaf,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;
    use crate::certificates::rotation::{Wish, next};

    fn cluster() -> CacheCluster {
        let mut cluster = CacheCluster::new("c", serde_json::from_str("{}").expect("a spec"));
        cluster.metadata.uid = Some("uid-1".into());
        cluster
    }

    fn begun() -> Rotation {
        let wish =
            Wish { cluster_uid: "uid-1", given: None, keep: false, rotate: "once", now: SystemTime::now() };
        let (begun, _) = next(None, None, &wish, None).expect("a rotation");
        let again = Wish { rotate: "twice", ..wish };
        next(Some(begun), None, &again, Some(&[])).expect("a step").0
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let begun = begun();
        let (ca, tls) = (authority_secret(&cluster(), &begun), nodes_secret(&cluster(), &begun));
        let read = rotation(&ca, Some(&tls)).expect("a rotation");
        assert!(begun.next.is_some(), "half-way, so that everything is there");
        assert_eq!(read.signer.fingerprint(), begun.signer.fingerprint());
        let told =
            |next: &Option<Next>| next.as_ref().map(|next| (next.authority.fingerprint(), next.origin));
        assert_eq!(told(&read.next), told(&begun.next));
        assert_eq!((read.old, read.rotated, read.leaf), (begun.old, begun.rotated, begun.leaf));
    }

    #[test]
    fn who_brought_an_authority_is_remembered() {
        let mut begun = begun();
        for (origin, next) in [(Origin::User, Origin::Operator), (Origin::Operator, Origin::User)] {
            begun.origin = origin;
            begun.next.as_mut().expect("half-way").origin = next;
            let read = rotation(&authority_secret(&cluster(), &begun), None).expect("a rotation");
            assert_eq!((read.origin, read.next.expect("half-way").origin), (origin, next));
        }
    }

    /// Turned red by: taking the whole Secret for unreadable, or the wish for heard.
    #[test]
    fn a_garbled_successor_is_dropped_and_the_wish_for_one_is_heard_again() {
        let begun = begun();
        let sound = authority_secret(&cluster(), &begun);
        let wish =
            |rotate| Wish { cluster_uid: "uid-1", given: None, keep: false, rotate, now: SystemTime::now() };
        for (key, value) in [(NEXT_CHAIN, Some("garbage")), (NEXT_KEY, Some("")), (NEXT_KEY, None)] {
            let mut ca = sound.clone();
            let data = ca.data.as_mut().expect("data");
            match value {
                Some(text) => drop(data.insert(key.to_owned(), ByteString(text.into()))),
                None => drop(data.remove(key)),
            }
            let read = rotation(&ca, None).expect("a rotation");
            assert!(read.next.is_none(), "{key}");
            assert_eq!(read.signer.fingerprint(), begun.signer.fingerprint());
            let (again, _) = next(Some(read), None, &wish("twice"), Some(&[])).expect("a step");
            assert!(again.next.is_some(), "{key}");
        }
    }

    #[test]
    fn a_garbled_predecessor_is_dropped() {
        let begun = Rotation { old: Some("garbage".into()), ..begun() };
        let read = rotation(&authority_secret(&cluster(), &begun), None).expect("a rotation");
        assert_eq!(read.old, None);
        assert!(read.next.is_some());
    }

    /// Turned red by: comparing labels for equality, or replacing what others have added.
    #[test]
    fn what_others_have_put_on_a_secret_stays_and_is_no_reason_to_write() {
        let wanted = authority_secret(&cluster(), &begun());
        let other = OwnerReference { uid: "other".into(), ..OwnerReference::default() };
        let mut held = wanted.clone();
        held.metadata.resource_version = Some("7".into());
        held.metadata.annotations = Some([("policy".to_owned(), "seen".to_owned())].into());
        held.metadata.labels.as_mut().expect("labels").insert("policy".into(), "strict".into());
        held.metadata.owner_references.as_mut().expect("owners").push(other.clone());
        assert_eq!(over(&held, wanted.clone()), None);

        held.data.as_mut().expect("data").remove(KEY_FILE);
        held.metadata.labels.as_mut().expect("labels").insert(names::CLUSTER_LABEL.into(), "lost".into());
        let written = over(&held, wanted.clone()).expect("something to write");
        let (labels, owners) = (written.metadata.labels.as_ref(), written.metadata.owner_references.as_ref());
        assert_eq!(written.data, wanted.data);
        assert_eq!(labels.expect("labels")["policy"], "strict");
        assert_eq!(labels.expect("labels")[names::CLUSTER_LABEL], "c");
        assert!(owners.expect("owners").contains(&other) && owners.expect("owners").len() == 2);
        assert_eq!(written.metadata.annotations, held.metadata.annotations);
        assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
    }

    /// Turned red by: a look at data and labels alone. Kubernetes would not remove the Secret with the cluster.
    #[test]
    fn a_secret_that_was_orphaned_is_owned_again() {
        let wanted = authority_secret(&cluster(), &begun());
        let mut held = wanted.clone();
        held.metadata.owner_references = None;
        let written = over(&held, wanted.clone()).expect("something to write");
        assert_eq!(written.metadata.owner_references, wanted.metadata.owner_references);
        assert_eq!(written.metadata.owner_references.as_ref().expect("owners")[0].uid, "uid-1");
        assert_eq!(over(&written, wanted), None);
    }

    #[test]
    fn a_lost_or_garbled_certificate_is_issued_anew_and_the_authority_stays() {
        let begun = begun();
        let (ca, mut tls) = (authority_secret(&cluster(), &begun), nodes_secret(&cluster(), &begun));
        let data = tls.data.as_mut().expect("data");
        data.insert(CHAIN_FILE.to_owned(), ByteString(b"garbage".to_vec()));
        for nodes in [Some(&tls), None] {
            let read = rotation(&ca, nodes).expect("a rotation");
            assert_eq!(read.signer.fingerprint(), begun.signer.fingerprint());
            assert_ne!(read.leaf.issuer, read.signer.fingerprint());
        }
    }

    #[test]
    fn what_is_no_authority_is_told_in_words() {
        let mut ca = authority_secret(&cluster(), &begun());
        ca.data.as_mut().expect("data").remove(KEY_FILE);
        assert_eq!(rotation(&ca, None).expect_err("a fault"), "it lacks tls.key");
    }
}
