//! The two Secrets of a cluster's certificates, and the user's: read by name, written only over what was read.

use std::collections::BTreeMap;

use groupcache_crds::CacheCluster;
use groupcache_tls::authority::Authority;
use groupcache_tls::credentials::{CHAIN_FILE, KEY_FILE, ROOTS_FILE};
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

async fn put(api: &Api<Secret>, over: Option<&Secret>, mut wanted: Secret) -> kube::Result<()> {
    let params = PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let name = wanted.name_any();
    match over {
        None => api.create(&params, &wanted).await?,
        Some(held) if held.data == wanted.data && held.metadata.labels == wanted.metadata.labels => {
            return Ok(());
        }
        Some(held) => {
            wanted.metadata.resource_version = held.resource_version();
            api.replace(&name, &params, &wanted).await?
        }
    };
    tracing::info!(secret = %name, namespace = ?wanted.metadata.namespace, "certificates were written");
    Ok(())
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
    let next = text(authority, NEXT_CHAIN).is_some().then(|| of(NEXT_CHAIN, NEXT_KEY)).transpose()?;
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
        old: text(authority, OLD_CHAIN),
        rotated: text(authority, ROTATED).unwrap_or_default(),
        leaf,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

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
