//! What the tiers share and is built at most once: programs, a cluster with images, the operator in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::cluster::Cluster;
use crate::images::build::{self, Images};
use crate::progress::Progress;
use crate::tools::interrupt::Interrupt;
use crate::tools::{cargo, host, run};

/// A cluster of its own, so that a running demo is not disturbed.
pub(crate) const CLUSTER: &str = "groupcache-test";
const NODES: u8 = 2;

/// Made when a tier first asks for it, removed at the end of the run.
pub(crate) struct World<'a> {
    pub(crate) progress: &'a Progress,
    pub(crate) interrupt: Interrupt,
    /// Only scenarios with this word in their name.
    pub(crate) only: Option<String>,
    cluster: Option<Cluster>,
    images: Option<Images>,
    /// A cluster may be up, whole or in part.
    touched_cluster: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(progress: &'a Progress, interrupt: Interrupt, only: Option<String>) -> Self {
        Self { progress, interrupt, only, cluster: None, images: None, touched_cluster: false }
    }

    /// Runs a program, its output shown, until it ends or the user interrupts.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        self.interrupt.run(command)
    }

    /// Our programs as the images have them: static, optimised; by name.
    ///
    /// # Errors
    /// When they do not build.
    pub(crate) fn programs(&self) -> Result<BTreeMap<&'static str, PathBuf>> {
        self.interrupt.check()?;
        build::programs(&build::RECIPES, self.progress)
    }

    /// The test's own Kubernetes.
    ///
    /// # Errors
    /// When this machine cannot run one.
    pub(crate) fn cluster(&mut self) -> Result<&Cluster> {
        if self.cluster.is_none() {
            self.interrupt.check()?;
            host::require_root_on_linux()?;
            self.touched_cluster = true;
            self.cluster = Some(Cluster::up(CLUSTER, Some(NODES), self.progress)?);
        }
        self.cluster.as_ref().context("the cluster was just brought up")
    }

    /// The test's own Kubernetes with our images on its nodes.
    ///
    /// # Errors
    /// When an image does not build or a node refuses it.
    pub(crate) fn cluster_with_images(&mut self) -> Result<(&Cluster, &Images)> {
        if self.images.is_none() {
            let progress = self.progress;
            let images = build::load(self.cluster()?, progress)?;
            self.images = Some(images);
        }
        let cluster = self.cluster.as_ref().context("the cluster was just brought up")?;
        Ok((cluster, self.images.as_ref().context("the images were just built")?))
    }

    /// The command that runs the scenarios of a tier in `e2e/tests/`; what they leave for a reader goes to `logs`.
    ///
    /// # Errors
    /// When none of them has the user's word in its name: a slip of the pen must not look like success.
    pub(crate) fn scenarios(&self, tier: &str, logs: &Path) -> Result<Command> {
        let test = || {
            let mut command = cargo::command();
            command.args(["test", "--locked", "--package", "groupcache-e2e"]);
            command.args(["--features", tier, "--test", tier, "--"]);
            command
        };
        if let Some(word) = &self.only {
            let listed = run::output(test().args(["--list", word]))?;
            if !listed.lines().any(|line| line.ends_with(": test")) {
                bail!(
                    "no scenario of tier {tier} has {word:?} in its name; they are the files of e2e/tests/{tier}"
                );
            }
        }
        let mut command = test();
        // One after the other: a scenario may take the operator away from the others, and each measures.
        command.args(["--nocapture", "--test-threads", "1"]).args(&self.only);
        command.env("GROUPCACHE_E2E_LOGS", logs);
        Ok(command)
    }

    /// A fresh folder for what a tier leaves behind for its reader.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn logs(&self, tier: &str) -> Result<PathBuf> {
        let metadata = MetadataCommand::new().current_dir(host::workspace()).no_deps().exec()?;
        let folder = Path::new(&metadata.target_directory).join("test-logs").join(tier);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        Ok(folder)
    }

    /// Removes what the tiers left running.
    ///
    /// # Errors
    /// When something of the cluster could not be removed.
    pub(crate) fn clean_up(&mut self) -> Result<()> {
        self.cluster = None;
        if std::mem::take(&mut self.touched_cluster) {
            Cluster::down(CLUSTER, true, self.progress)?;
        }
        Ok(())
    }
}
