//! The ledger's ConfigMap: read, and written only over the state that was read.

use std::collections::BTreeMap;
use std::time::Duration;

use groupcache_crds::CacheCluster;
use groupcache_proto::cluster::SignedSnapshot;
use groupcache_ring::Version;
use groupcache_tls::credentials::Credentials;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use prost::Message;

use crate::ledger::Held;
use crate::{names, ownership};

/// For people, and for the version before the bytes are read.
const VERSION_KEY: &str = "version";
const MEMBERSHIP_SINCE_KEY: &str = "membershipSince";
const CONFIGURATION_SINCE_KEY: &str = "configurationSince";
const LONGEST_BOUND_KEY: &str = "longestStalenessBoundMilliseconds";
const MEMBERS_KEY: &str = "members";

/// What was read: the content, and the state it may be written over.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// `None`: there is no ledger yet, or it cannot be read.
    held: Option<Held>,
    /// The snapshot as it is stored, with whatever signature it has.
    stored: SignedSnapshot,
    /// Why it must not be written: a ConfigMap of that name is somebody else's.
    pub stranger: Option<String>,
    /// `None`: it must be created.
    resource_version: Option<String>,
}

/// Reads the ledger.
///
/// # Errors
/// If the API server does not answer.
pub async fn read(client: &Client, cluster: &CacheCluster) -> kube::Result<Page> {
    let Some(map) = api(client, cluster).get_opt(&names::ledger(cluster)).await? else {
        return Ok(Page::default());
    };
    if let Some(why) = ownership::stranger(&map.metadata, cluster) {
        let stranger = Some(format!("ConfigMap {} {why}", map.name_any()));
        return Ok(Page { stranger, ..Page::default() });
    }
    let resource_version = map.resource_version();
    let (held, stored) = match content(&map) {
        Ok((held, stored)) => (Some(held), stored),
        Err(error) => {
            tracing::warn!(
                cluster = %cluster.name_any(), namespace = ?cluster.namespace(), %error,
                "the ledger cannot be read; it is written anew under a higher epoch than any node reports"
            );
            (None, SignedSnapshot::default())
        }
    };
    Ok(Page { held, stored, stranger: None, resource_version })
}

impl Page {
    /// What it holds, if these credentials trust who signed it; where there are none, what it holds.
    ///
    /// Who may write ConfigMaps must not have a membership or a loader's address signed by the operator: what nobody vouches for is taken for lost.
    #[must_use]
    pub fn vouched(&self, by: Option<&Credentials>) -> Option<&Held> {
        let held = self.held.as_ref()?;
        let Some(by) = by else { return Some(held) };
        // Over the bytes as they are: another release may have put the same into others.
        match by.verify(&self.stored.key_id, &self.stored.snapshot, &self.stored.signature) {
            Ok(()) => Some(held),
            Err(fault) => {
                tracing::warn!(version = %held.version(), %fault, "nobody vouches for what the ledger holds; it is taken for lost");
                None
            }
        }
    }
}

/// Writes the ledger over what was read.
///
/// # Errors
/// A conflict if someone else wrote meanwhile; nothing is written then.
pub async fn write(client: &Client, cluster: &CacheCluster, over: &Page, held: &Held) -> kube::Result<()> {
    let mut map = to_map(cluster, held);
    let api = api(client, cluster);
    let params = PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match &over.resource_version {
        None => api.create(&params, &map).await?,
        Some(version) => {
            map.metadata.resource_version = Some(version.clone());
            api.replace(&names::ledger(cluster), &params, &map).await?
        }
    };
    Ok(())
}

fn api(client: &Client, cluster: &CacheCluster) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default())
}

fn to_map(cluster: &CacheCluster, held: &Held) -> ConfigMap {
    let members = held.snapshot.members().iter().map(|member| {
        let zone = if member.zone.is_empty() { "-" } else { &member.zone };
        format!("{} {} {} {zone}\n", member.name, member.address, member.state)
    });
    let data = [
        (VERSION_KEY, held.version().to_string()),
        (MEMBERSHIP_SINCE_KEY, held.membership_since.to_string()),
        (CONFIGURATION_SINCE_KEY, held.configuration_since.to_string()),
        (LONGEST_BOUND_KEY, held.longest_bound.as_millis().to_string()),
        (MEMBERS_KEY, members.collect()),
    ];
    let snapshot = ByteString(held.to_wire().encode_to_vec());
    ConfigMap {
        metadata: names::child(cluster, names::ledger(cluster)),
        data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
        binary_data: Some(BTreeMap::from([(names::SNAPSHOT_KEY.to_owned(), snapshot)])),
        ..ConfigMap::default()
    }
}

fn content(map: &ConfigMap) -> Result<(Held, SignedSnapshot), String> {
    let bytes = map
        .binary_data
        .as_ref()
        .and_then(|data| data.get(names::SNAPSHOT_KEY))
        .ok_or("it holds no snapshot")?;
    let text = |key: &str| map.data.as_ref().and_then(|data| data.get(key));
    let since = |key: &str| {
        let text = text(key).ok_or(format!("it lacks {key}"))?;
        parse(text).ok_or(format!("{key} is {text:?}, not epoch.sequence"))
    };
    // Absent: the operator that wrote it waited for no grants.
    let longest = text(LONGEST_BOUND_KEY).map(|text| {
        let bound = text.parse().map(Duration::from_millis);
        bound.map_err(|_| format!("{LONGEST_BOUND_KEY} is {text:?}, not a number"))
    });
    let (membership, configuration) = (since(MEMBERSHIP_SINCE_KEY)?, since(CONFIGURATION_SINCE_KEY)?);
    let held = Held::from_stored(&bytes.0, membership, configuration, longest.transpose()?)?;
    Ok((held, SignedSnapshot::decode(&bytes.0[..]).map_err(|error| error.to_string())?))
}

fn parse(text: &str) -> Option<Version> {
    let (epoch, sequence) = text.split_once('.')?;
    Some(Version::new(epoch.parse().ok()?, sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use groupcache_crds::CacheClusterSpec;
    use groupcache_proto::cluster::Configuration;
    use groupcache_ring::{Member, Snapshot};
    use groupcache_tls::authority::Authority;
    use groupcache_tls::identity::{Identity, Role};

    use super::*;

    fn cluster() -> CacheCluster {
        let spec: CacheClusterSpec = serde_json::from_str("{}").unwrap();
        CacheCluster::new("c", spec)
    }

    fn held() -> Held {
        let members = vec![Member::active("a", "10.0.0.1:8081")];
        let version = Version::new(3, 4);
        Held {
            snapshot: Snapshot::new("uid", version, Version::new(3, 3), vec!["a".into()], members).unwrap(),
            configuration: Configuration { staleness_bound_ms: 5, ..Configuration::default() },
            membership_since: Version::new(3, 3),
            configuration_since: Version::new(2, 1),
            longest_bound: Duration::from_secs(60),
            seal: None,
        }
    }

    /// Turned red by: an operator that signs whatever somebody has written into the ConfigMap.
    #[test]
    fn what_nobody_vouches_for_is_taken_for_lost_and_what_another_release_wrote_is_not() {
        let authority =
            |name: &str| Authority::generate(name, SystemTime::now(), Duration::from_secs(3600)).unwrap();
        let (ours, other) = (authority("ours"), authority("other"));
        let issued = ours
            .issue(&Identity::new("uid", Role::Operator), SystemTime::now(), Duration::from_secs(60))
            .unwrap();
        let (chain, key) = (issued.chain_pem.as_bytes(), issued.key_pem.as_bytes());
        let trusting = Credentials::from_pem(chain, key, ours.certificate_pem().as_bytes()).unwrap();
        let page = |held: &Held| {
            let (held, stored) = content(&to_map(&cluster(), held)).unwrap();
            Page { held: Some(held), stored, ..Page::default() }
        };
        let sealed = held().sealed(&ours).unwrap();
        assert_eq!(page(&sealed).vouched(Some(&trusting)), Some(&sealed));
        assert_eq!(page(&held()).vouched(None), Some(&held()), "nobody is asked to");
        assert_eq!(page(&held()).vouched(Some(&trusting)), None, "it is not signed");
        assert_eq!(
            page(&held().sealed(&other).unwrap()).vouched(Some(&trusting)),
            None,
            "nobody trusts its signer"
        );
        let edited = Held { configuration: Configuration::default(), ..sealed.clone() };
        assert_eq!(page(&edited).vouched(Some(&trusting)), None, "it is the signature of another");

        // An unknown field, as a later release has: to be signed anew, and not lost.
        let mut stored = sealed.to_wire();
        stored.snapshot = [&stored.snapshot[..], &[0xf8, 0x07, 0x01]].concat().into();
        stored.signature = ours.sign(&stored.snapshot).unwrap().into();
        let mut map = to_map(&cluster(), &sealed);
        let data = map.binary_data.as_mut().unwrap();
        data.insert(names::SNAPSHOT_KEY.to_owned(), ByteString(stored.encode_to_vec()));
        let (later, stored) = content(&map).unwrap();
        let page = Page { held: Some(later), stored, ..Page::default() };
        assert_eq!(page.vouched(Some(&trusting)).map(Held::signer), Some(None));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let held = held();
        let mut map = to_map(&cluster(), &held);
        assert_eq!(content(&map).unwrap().0, held);

        map.data.as_mut().unwrap().insert(LONGEST_BOUND_KEY.into(), "long".into());
        let said = content(&map).unwrap_err();
        assert_eq!(said, "longestStalenessBoundMilliseconds is \"long\", not a number");
        map.data.as_mut().unwrap().remove(LONGEST_BOUND_KEY);
        assert_eq!(content(&map).unwrap().0.longest_bound, held.bound());

        map.data.as_mut().unwrap().insert(MEMBERSHIP_SINCE_KEY.into(), "three".into());
        assert_eq!(content(&map).unwrap_err(), "membershipSince is \"three\", not epoch.sequence");
        map.binary_data = None;
        assert_eq!(content(&map).unwrap_err(), "it holds no snapshot");
    }

    #[tokio::test]
    async fn a_config_map_of_somebody_else_is_no_ledger() {
        let theirs =
            r#"{"metadata": {"name": "c-ledger", "resourceVersion": "7"}, "data": {"theirs": "yes"}}"#;
        let server = tower::service_fn(move |_: http::Request<kube::client::Body>| async move {
            let body = kube::client::Body::from(theirs.as_bytes().to_vec());
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        });
        let cluster = CacheCluster::new("c", serde_json::from_str("{}").unwrap());
        let page = read(&Client::new(server, "shop"), &cluster).await.unwrap();
        assert!(page.stranger.unwrap().starts_with("ConfigMap c-ledger was there before"));
    }
}
