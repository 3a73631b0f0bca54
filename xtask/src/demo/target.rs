//! The Kubernetes that the demo runs on: a local one, or a context of the user's.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, DEFAULT_NAME};
use crate::images::archive::ImageRef;
use crate::images::build::{self, Images};
use crate::images::push;
use crate::install;
use crate::progress::Progress;
use crate::quickstart::{self, CLUSTER_FILE, FILES};
use crate::tools::{self, KubernetesTools, run};

/// What the user asked for.
pub(crate) enum Choice {
    Local { nodes: u8 },
    Context { name: String, registry: Option<String> },
}

/// A Kubernetes that answers.
pub(crate) enum Target {
    Local(Box<Cluster>),
    Context { name: String, registry: Option<String>, tools: KubernetesTools },
}

impl Choice {
    pub(crate) fn new(context: Option<&str>, registry: Option<&str>, nodes: u8) -> Self {
        match context {
            None => Self::Local { nodes },
            Some(name) => Self::Context { name: name.to_owned(), registry: registry.map(ToOwned::to_owned) },
        }
    }

    /// Brings the local cluster up, or looks whether the context answers.
    ///
    /// # Errors
    /// When this machine cannot run one, or the context does not answer.
    pub(crate) fn up(self, progress: &Progress) -> Result<Target> {
        match self {
            Self::Local { nodes } => {
                Ok(Target::Local(Box::new(Cluster::up(DEFAULT_NAME, Some(nodes), progress)?)))
            }
            Self::Context { name, registry } => {
                let target = Target::Context { name, registry, tools: tools::ensure_kubernetes(progress)? };
                target.kubectl(&["version"]).context("the context does not answer")?;
                Ok(target)
            }
        }
    }

    /// Removes every trace of the demo: the local cluster, or what was installed into the context's.
    ///
    /// # Errors
    /// When something could not be removed.
    pub(crate) fn down(self, progress: &Progress) -> Result<()> {
        if matches!(self, Self::Local { .. }) {
            return Cluster::down(DEFAULT_NAME, false, progress);
        }
        let target = self.up(progress)?;
        progress.step("removing the quickstart", || {
            let is_defined = install::is_defined(target.kubectl_command())?;
            for file in FILES.into_iter().filter(|file| is_defined || *file != CLUSTER_FILE) {
                let mut delete = target.kubectl_command();
                delete.args(["delete", "--ignore-not-found", "--filename"]).arg(quickstart::path(file));
                run::output(&mut delete)?;
            }
            Ok(())
        })?;
        progress
            .step("removing the operator", || install::uninstall(target.helm(), || target.kubectl_command()))
    }
}

impl Target {
    /// Builds the images and brings them to where pods find them.
    ///
    /// # Errors
    /// When a build fails, or the images cannot be brought there.
    pub(crate) fn images(&self, progress: &Progress) -> Result<Images> {
        match self {
            Self::Local(cluster) => build::load(cluster, progress),
            Self::Context { name, registry, .. } => {
                let archives = build::archives(&build::RECIPES, progress)?;
                match (registry, name.strip_prefix("kind-")) {
                    (Some(registry), _) => push::to_registry(&archives, registry, None, progress),
                    (None, Some(kind)) => push::into_kind(&archives, kind, progress),
                    (None, None) => bail!(
                        "the pods of context {name} must find our images: name a registry that they pull from with \
                         --registry, or use a kind cluster"
                    ),
                }
            }
        }
    }

    pub(crate) fn helm(&self) -> Command {
        match self {
            Self::Local(cluster) => cluster.helm(),
            Self::Context { name, tools, .. } => {
                let mut helm = Command::new(&tools.helm);
                helm.args(["--kube-context", name]);
                helm
            }
        }
    }

    fn kubectl_command(&self) -> Command {
        match self {
            Self::Local(cluster) => cluster.kubectl(),
            Self::Context { name, tools, .. } => {
                let mut kubectl = Command::new(&tools.kubectl);
                kubectl.args(["--context", name]);
                kubectl
            }
        }
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// When it fails; its words are in the error.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run::output(self.kubectl_command().args(arguments))
    }

    /// Applies a file of the quickstart with our images in place of its placeholders.
    ///
    /// # Errors
    /// When it cannot be read, or is refused.
    pub(crate) fn apply(&self, file: &str, images: &Images) -> Result<()> {
        let path = quickstart::path(file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let applied = tempfile::NamedTempFile::new()?;
        fs::write(applied.path(), with_images(&text, images))?;
        quickstart::apply(self.kubectl_command(), applied.path())
    }

    /// Asks a port of a Service, through the API server.
    ///
    /// # Errors
    /// When the answer is no success.
    pub(crate) fn proxy(&self, verb: &str, service: &str, path: &str) -> Result<String> {
        let namespace =
            self.kubectl(&["config", "view", "--minify", "--output", "jsonpath={..namespace}"])?;
        let namespace = if namespace.trim().is_empty() { "default" } else { namespace.trim() };
        self.kubectl(&[
            verb,
            "--raw",
            &format!("/api/v1/namespaces/{namespace}/services/{service}/proxy{path}"),
        ])
    }

    /// What a user may type next, or paste in one go.
    pub(crate) fn next_commands(&self, key: &str, images: &Images) -> String {
        let (setup, down) = match self {
            Self::Local(cluster) => (cluster.shell_setup(), "cargo xtask demo --down".to_owned()),
            Self::Context { name, .. } => (
                format!("kubectl config use-context {name}"),
                format!("cargo xtask demo --context {name} --down"),
            ),
        };
        format!(
            "The cluster stays up. Next:\n\n  \
             {setup}\n  \
             kubectl port-forward service/quickstart-lb 8080 >/dev/null &\n  \
             url=http://127.0.0.1:8080/v1/groups/unicode/keys/{key}\n  \
             curl -sS --retry 20 --retry-connrefused -w '\\n' $url                   # a value, once the port is open\n  \
             curl -X DELETE $url                                                    # gone from every node\n  \
             kill $!\n  \
             kubectl run ctl --quiet --rm --attach --restart=Never --image={ctl} -- --address=quickstart:8080 describe\n  \
             kubectl scale cc/quickstart --replicas=5                               # the ring grows\n  \
             kubectl wait cc/quickstart --for=jsonpath='{{.status.readyReplicas}}'=5 --timeout=2m\n  \
             kubectl wait cc/quickstart --for=condition=RingConverged               # and converges\n\n\
             A loader of your own: docs/your-own-loader.md\n\
             To remove every trace: {down}",
            ctl = images.ctl,
        )
    }
}

fn with_images(text: &str, images: &Images) -> String {
    let placeholders: [(&str, &ImageRef); 2] = [
        ("groupcache.dev/unicode-loader:latest", &images.unicode_loader),
        ("groupcache.dev/groupcachectl:latest", &images.ctl),
    ];
    let replace = |text: String, (placeholder, image): &(&str, &ImageRef)| {
        text.replace(placeholder, &image.to_string())
    };
    placeholders.iter().fold(text.to_owned(), replace)
}
