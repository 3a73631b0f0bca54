//! One pod's life on a machine that is not there: a node in this process, and what a kubelet tells of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use groupcache_node::args::Args;
use groupcache_node::config::Config;
use groupcache_node::node::Node;
use groupcache_process::readiness::Readiness;
use groupcache_process::shutdown::Shutdown;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::light::Light;
use crate::pod_status;

/// Ports of every node; what is bound is the pod's own address.
const PORTS: [u16; 3] = [8080, 8081, 9090];
/// Pause before a Secret that is not there is looked for again: kubelets take longer.
const SECRET_PAUSE: Duration = Duration::from_millis(500);

/// What a pod needs for its life.
pub(crate) struct Life {
    pub(crate) client: Client,
    pub(crate) pod: Pod,
    pub(crate) address: Ipv4Addr,
    /// Of this pod alone; made here.
    pub(crate) folder: PathBuf,
    /// Whether its node is a light one.
    pub(crate) light: bool,
    pub(crate) shutdown: Shutdown,
    /// Told whenever the pod becomes ready or no longer is.
    pub(crate) ready: watch::Sender<bool>,
}

impl Life {
    /// Starts the node, tells of it, and removes the pod once the node has drained.
    ///
    /// # Errors
    /// When the node does not start, or the API server does not take what is told.
    pub(crate) async fn run(self) -> Result<()> {
        let tls = self.mount_certificates().await?;
        let config = self.config(tls)?;
        let (readiness, mut served) = self.start(config).await?;
        self.tell(false).await?;
        let mut changes = readiness.follow();
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(missing) => self.tell(missing.is_empty()).await?,
                    None => break,
                },
                _ = &mut served => break,
            }
        }
        self.ready.send_replace(false);
        let _ = fs::remove_dir_all(&self.folder);
        gone(&self.client, &self.pod).await
    }

    async fn start(&self, config: Config) -> Result<(Readiness, JoinHandle<()>)> {
        if self.light {
            let node = Light::start(&config, self.shutdown.clone()).await?;
            return Ok((node.readiness().clone(), tokio::spawn(node.run())));
        }
        let node = Node::start(config, self.shutdown.clone(), None).await?;
        let readiness = node.readiness().clone();
        Ok((
            readiness,
            tokio::spawn(async move {
                let _ = node.run().await;
            }),
        ))
    }

    async fn tell(&self, ready: bool) -> Result<()> {
        let status = pod_status::running(&self.address.to_string(), ready);
        let told = api(&self.client, &self.pod)
            .patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Strategic(status))
            .await;
        self.ready.send_replace(ready);
        match told {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            told => told.map(drop).context("the pod's status was not taken"),
        }
    }

    /// The certificates, as a kubelet would mount them; `None`: the pod has none.
    async fn mount_certificates(&self) -> Result<Option<PathBuf>> {
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let Some(secret) = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.clone()).next()
        else {
            return Ok(None);
        };
        let secrets: Api<Secret> =
            Api::namespaced(self.client.clone(), &self.pod.namespace().unwrap_or_default());
        let held = loop {
            match secrets.get_opt(&secret).await? {
                Some(held) => break held,
                None => tokio::time::sleep(SECRET_PAUSE).await,
            }
        };
        let folder = self.folder.join("tls");
        fs::create_dir_all(&folder)?;
        for (file, content) in held.data.into_iter().flatten() {
            fs::write(folder.join(file), content.0)?;
        }
        Ok(Some(folder))
    }

    /// What the pod's own flags say, on the pod's own address.
    fn config(&self, tls_dir: Option<PathBuf>) -> Result<Config> {
        let container = self.pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let container = container.context("a pod without a container")?;
        let flags = container.args.iter().flatten().map(|flag| self.expanded(flag));
        let args = Args::try_parse_from(std::iter::once("groupcache-node".to_owned()).chain(flags))?;
        let config = args.into_config()?;
        let [data, cluster, admin] = PORTS.map(|port| SocketAddr::from((self.address, port)));
        Ok(Config {
            data_address: data,
            cluster_address: cluster,
            admin_address: admin,
            snapshot_dir: Some(self.folder.join("snapshot")),
            // Not mounted: it would only spare a node that starts its first push.
            ledger: None,
            tls_dir,
            ..config
        })
    }

    /// With the variables that a kubelet would put in.
    fn expanded(&self, flag: &str) -> String {
        flag.replace("$(POD_NAME)", &self.pod.name_any())
            .replace("$(POD_UID)", &self.pod.uid().unwrap_or_default())
            .replace("$(POD_IP)", &self.address.to_string())
    }
}

/// Tells that nothing of a pod runs any more, which removes it.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn gone(client: &Client, pod: &Pod) -> Result<()> {
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    match api(client, pod).delete(&pod.name_any(), &params).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        done => done.map(drop).with_context(|| format!("the pod {} cannot be removed", pod.name_any())),
    }
}

fn api(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}

/// Where the files of a pod are.
pub(crate) fn folder(all: &Path, pod: &Pod) -> PathBuf {
    all.join(pod.uid().unwrap_or_default())
}
