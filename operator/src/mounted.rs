//! The user's Secrets that pods mount: looked at before a template names them, so that no pod waits unseen.
//!
//! A Secret that is not there, or of no use, leaves the pods' template with the one before: the pods that are go on. It is looked at again every few
//! seconds. What tokens are is nobody's business here but the pods'; only that they are there is looked at.

use groupcache_crds::CacheCluster;
use groupcache_crds::access::Access;
use groupcache_tls::credentials::{CHAIN_FILE, KEY_FILE};
use groupcache_tls::shown::Shown;
use groupcache_tls::token;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use crate::apply;
use crate::plan::mounts::Mounts;

/// What a look has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What the pods are to mount now.
    pub mounts: Mounts,
    /// What is not there, for people.
    pub pending: Vec<String>,
}

/// Looks at the Secrets that the spec names.
///
/// # Errors
/// If the API server does not answer.
pub async fn look(client: &Client, cluster: &CacheCluster) -> kube::Result<Looked> {
    let asked = Mounts::asked(cluster);
    if asked == Mounts::default() {
        return Ok(Looked { mounts: asked, pending: Vec::new() });
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let read = async |name: &Option<String>| match name {
        Some(name) => api.get_opt(name).await,
        None => Ok(None),
    };
    let (shown, tokens) = (read(&asked.shown).await?, read(&asked.tokens).await?);
    let pending = Pending::of(cluster, shown.as_ref(), tokens.as_ref());
    let held = if pending.is_nothing() { None } else { apply::held_statefulset(client, cluster).await? };
    Ok(judge(asked, pending, held.as_ref()))
}

/// What is wrong with each of the Secrets.
#[derive(Debug, Default)]
struct Pending {
    shown: Option<String>,
    tokens: Option<String>,
    /// Tokens that are not in the Secret: their rules admit nobody, and the others are of use.
    lacking: Option<String>,
}

impl Pending {
    fn of(cluster: &CacheCluster, shown: Option<&Secret>, tokens: Option<&Secret>) -> Self {
        let mut pending = Pending::default();
        if let Some(data) = &cluster.spec.tls.data {
            pending.shown = unusable(shown).map(|why| {
                format!("the Secret {} that spec.tls.data.secretName names {why}", data.secret_name)
            });
        }
        if let Some(access) = &cluster.spec.access {
            let name = format!("the Secret {} that spec.access.secretName names", access.secret_name);
            match tokens {
                None => pending.tokens = Some(format!("{name} is not there")),
                Some(secret) => {
                    pending.lacking = lacking(access, secret)
                        .map(|lacks| format!("{name} has no token of use for {lacks}: they admit nobody"));
                }
            }
        }
        pending
    }

    fn is_nothing(&self) -> bool {
        self.shown.is_none() && self.tokens.is_none() && self.lacking.is_none()
    }
}

/// A new cluster's pods wait for their Secrets: without them they would serve whom they are not to serve.
fn judge(asked: Mounts, pending: Pending, held: Option<&StatefulSet>) -> Looked {
    let mut mounts = asked;
    if let Some(held) = held.map(Mounts::held) {
        if pending.shown.is_some() {
            mounts.shown = held.shown;
        }
        if pending.tokens.is_some() {
            mounts.tokens = held.tokens;
        }
    }
    let pending = [pending.shown, pending.tokens, pending.lacking];
    Looked { mounts, pending: pending.into_iter().flatten().collect() }
}

/// Why no node could show what is in this Secret.
fn unusable(secret: Option<&Secret>) -> Option<String> {
    let Some(secret) = secret else { return Some("is not there".to_owned()) };
    match Shown::from_pem(file(secret, CHAIN_FILE), file(secret, KEY_FILE)) {
        Ok(_) => None,
        Err(fault) => Some(format!("holds no certificate that a node could show: {fault}")),
    }
}

fn lacking(access: &Access, secret: &Secret) -> Option<String> {
    // As the nodes judge them: a node that admits nobody says so in its log alone.
    let fault = |name: &str| token::of(file(secret, name)).err().map(|why| format!("{name} ({why})"));
    let lacking: Vec<String> = access.tokens.iter().filter_map(|token| fault(&token.name)).collect();
    (!lacking.is_empty()).then(|| lacking.join(", "))
}

fn file<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use groupcache_tls::authority::Authority;
    use groupcache_tls::identity::{Identity, Role};
    use k8s_openapi::ByteString;

    use super::*;
    use crate::plan::{self, Defaults};

    fn cluster(spec: &str) -> CacheCluster {
        CacheCluster::new("c", serde_yaml::from_str(spec).expect("a spec"))
    }

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    fn certificate() -> Secret {
        let day = Duration::from_secs(24 * 3600);
        let authority = Authority::generate("ours", SystemTime::now(), day).expect("an authority");
        let issued = authority.issue(&Identity::new("u", Role::Node), SystemTime::now(), day).expect("one");
        secret(&[("tls.crt", &issued.chain_pem), ("tls.key", &issued.key_pem)])
    }

    fn running(mounts: &Mounts) -> StatefulSet {
        let defaults = Defaults { node_image: "node".into(), namespace: "operators".into() };
        plan::children(&cluster("{}"), &defaults, mounts).statefulset
    }

    const BOTH: &str = "
tls: { data: { secretName: shown } }
access: { secretName: tokens, tokens: [{ name: a, verbs: [Get] }, { name: b, verbs: [Set] }] }
";

    fn looked(shown: Option<&Secret>, tokens: Option<&Secret>, held: Option<&Mounts>) -> Looked {
        let cluster = cluster(BOTH);
        let held = held.map(running);
        judge(Mounts::asked(&cluster), Pending::of(&cluster, shown, tokens), held.as_ref())
    }

    fn mounts(shown: Option<&str>, tokens: Option<&str>) -> Mounts {
        Mounts { shown: shown.map(ToOwned::to_owned), tokens: tokens.map(ToOwned::to_owned) }
    }

    #[test]
    fn what_is_there_is_mounted_and_nothing_is_told() {
        let both = secret(&[("a", "0123456789abcdef"), ("b", "0123456789abcdef"), ("more", "")]);
        let of = looked(Some(&certificate()), Some(&both), None);
        assert_eq!(of, Looked { mounts: mounts(Some("shown"), Some("tokens")), pending: vec![] });
        assert_eq!(Mounts::held(&running(&of.mounts)), of.mounts, "and is read back from the pods");
    }

    #[test]
    fn pods_that_run_keep_what_they_mount_until_each_secret_is_there() {
        let both = secret(&[("a", "0123456789abcdef"), ("b", "0123456789abcdef")]);
        let before = mounts(None, Some("before"));
        let of = looked(None, None, Some(&before));
        assert_eq!(of.mounts, before);
        assert_eq!(of.pending.len(), 2, "{of:?}");
        assert_eq!(of.pending[0], "the Secret shown that spec.tls.data.secretName names is not there");
        let of = looked(None, Some(&both), Some(&before));
        assert_eq!((of.mounts, of.pending.len()), (mounts(None, Some("tokens")), 1));
        let garbled = secret(&[("tls.crt", "no certificate")]);
        let of = looked(Some(&garbled), Some(&both), Some(&before));
        assert_eq!(of.mounts.shown, None);
        assert!(of.pending[0].contains("holds no certificate that a node could show: tls.crt"), "{of:?}");
    }

    /// Turned red by: a first template without what is asked for, which would start pods that answer everybody.
    #[test]
    fn a_new_clusters_pods_wait_for_their_secrets_and_never_start_open() {
        let of = looked(None, None, None);
        assert_eq!((of.mounts, of.pending.len()), (mounts(Some("shown"), Some("tokens")), 2));
    }

    #[test]
    fn a_token_that_is_missing_or_empty_is_told_and_the_others_are_of_use() {
        let of = looked(Some(&certificate()), Some(&secret(&[("a", "0123456789abcdef"), ("b", "\n")])), None);
        assert_eq!(of.mounts.tokens.as_deref(), Some("tokens"));
        assert_eq!(
            of.pending,
            [
                "the Secret tokens that spec.access.secretName names has no token of use for b (it is empty): they admit nobody"
            ]
        );
    }
}
