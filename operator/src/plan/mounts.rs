//! Which of the user's Secrets the pods mount: what the data port shows, and the tokens of its callers.

use groupcache_crds::CacheCluster;
use groupcache_tls::credentials::{CHAIN_FILE, KEY_FILE};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};

/// Name of the volume with the data port's certificate.
const SHOWN: &str = "data-certificate";
/// Name of the volume with the tokens.
const TOKENS: &str = "tokens";
/// Where the data port's certificate is mounted.
const SHOWN_DIR: &str = "/var/run/groupcache/data-certificate";
/// Where the tokens are mounted.
const TOKENS_DIR: &str = "/var/run/groupcache/tokens";

/// The Secrets, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// With the data port's certificate; `None`: it speaks no TLS.
    pub shown: Option<String>,
    /// With the tokens; `None`: nobody is asked for one.
    pub tokens: Option<String>,
}

impl Mounts {
    /// Those that the spec asks for.
    #[must_use]
    pub fn asked(cluster: &CacheCluster) -> Self {
        let spec = &cluster.spec;
        Mounts {
            shown: spec.tls.data.as_ref().map(|data| data.secret_name.clone()),
            tokens: spec.access.as_ref().map(|access| access.secret_name.clone()),
        }
    }

    /// Those that the pods of this StatefulSet mount.
    #[must_use]
    pub fn held(statefulset: &StatefulSet) -> Self {
        let pods = statefulset.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let volumes = pods.and_then(|pods| pods.volumes.as_deref()).unwrap_or_default();
        let of = |name: &str| {
            let volume = volumes.iter().find(|volume| volume.name == name)?;
            volume.secret.as_ref()?.secret_name.clone()
        };
        Mounts { shown: of(SHOWN), tokens: of(TOKENS) }
    }

    pub(super) fn volumes(&self) -> impl Iterator<Item = Volume> {
        // A Secret may hold more than is the node's business; of the tokens every key is a name.
        let files = [CHAIN_FILE, KEY_FILE].map(|file| KeyToPath {
            key: file.to_owned(),
            path: file.to_owned(),
            mode: None,
        });
        let shown = self.shown.iter().map(move |secret| volume(SHOWN, secret, Some(files.to_vec())));
        let tokens = self.tokens.iter().map(|secret| volume(TOKENS, secret, None));
        shown.chain(tokens)
    }

    pub(super) fn mounts(&self) -> impl Iterator<Item = VolumeMount> {
        self.folders().map(|(name, folder, _)| VolumeMount {
            name: name.to_owned(),
            mount_path: folder.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        })
    }

    pub(super) fn args(&self) -> impl Iterator<Item = String> {
        self.folders().map(|(_, folder, flag)| format!("{flag}={folder}"))
    }

    fn folders(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let shown = self.shown.as_ref().map(|_| (SHOWN, SHOWN_DIR, "--data-tls-dir"));
        let tokens = self.tokens.as_ref().map(|_| (TOKENS, TOKENS_DIR, "--token-dir"));
        shown.into_iter().chain(tokens)
    }
}

fn volume(name: &str, secret: &str, items: Option<Vec<KeyToPath>>) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items,
            // The pod's group reads it, nobody else.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
