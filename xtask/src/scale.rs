//! `cargo xtask scale`: the operator with hundreds of clusters and with a large one, measured on a real API server.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cluster::Cluster;
use crate::images::build::{self, Recipe};
use crate::install;
use crate::output::Output;
use crate::progress::Progress;
use crate::tools::interrupt::Interrupt;
use crate::tools::{host, run};

/// A cluster of its own, made anew for every round.
const CLUSTER: &str = "groupcache-scale";
/// Where the nodes in the measuring process get their addresses; no local cluster uses it.
const PODS: &str = "10.250.0.0/16";
/// The program that measures.
const SCALE: Recipe =
    Recipe { image: "groupcache-scale", package: "groupcache-scale", program: "groupcache-scale" };

/// Measures the operator at scale and idle.
///
/// Nodes are real ones, all in one process. In rounds of more than 64 nodes a cluster they are light: they adopt and acknowledge as real ones do,
/// keep no values and do not call each other, for every pair of nodes holds a connection, and one process has not so many open files.
#[derive(Args)]
pub(crate) struct ScaleCommand {
    /// Rounds, each as clusters x nodes of each
    #[arg(long, value_delimiter = ',', default_value = "100x3,300x3,1x256")]
    rounds: Vec<Shape>,
    /// For how many seconds the clusters are left alone
    #[arg(long, default_value_t = 300)]
    idle: u64,
    /// Leave the Kubernetes of the last round running
    #[arg(long)]
    keep: bool,
    /// For whom the figures are; one JSON document a line, one a round
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Most nodes of a ring that all fit one process with their connections.
const MOST_REAL: u16 = 64;

/// How much there is in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    clusters: u16,
    members: u16,
}

impl FromStr for Shape {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (clusters, members) = text.split_once('x').context("write it as 300x3")?;
        let shape = Self { clusters: clusters.parse()?, members: members.parse()? };
        // A CacheCluster has no more.
        if shape.clusters == 0 || !(1..=256).contains(&shape.members) {
            bail!("at least one cluster, of 1 to 256 nodes");
        }
        Ok(shape)
    }
}

/// Runs the rounds; each prints its figures.
///
/// # Errors
/// When a round does not end, or broke a promise; its logs stay and are named.
pub(crate) fn run(command: &ScaleCommand, progress: &Progress) -> Result<()> {
    host::require_root_on_linux()?;
    let interrupt = Interrupt::listen()?;
    // With those of the images, though one of them would do: cargo then compiles what they share once for both.
    let programs = build::programs(&[build::RECIPES.as_slice(), &[SCALE]].concat(), progress)?;
    let program = |name: &str| programs.get(name).context("every program was built");
    let (operator, scale) = (program(build::OPERATOR.program)?, program(SCALE.program)?);
    for (at, shape) in command.rounds.iter().enumerate() {
        interrupt.check()?;
        Cluster::down(CLUSTER, false, progress)?;
        let ran = round(command, *shape, (operator, scale), &interrupt, progress);
        let is_last = at + 1 == command.rounds.len();
        if !(command.keep && is_last) {
            let down = Cluster::down(CLUSTER, ran.is_err(), progress);
            ran.and(down)?;
        } else {
            ran?;
        }
    }
    Ok(())
}

fn round(
    command: &ScaleCommand,
    shape: Shape,
    (operator, scale): (&PathBuf, &PathBuf),
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<()> {
    let cluster = Cluster::up(CLUSTER, Some(1), progress)?;
    // In the network namespace of the control plane alone, with which it goes.
    run::output(cluster.inside("ip").args(["route", "add", "local", PODS, "dev", "lo"]))?;
    install::without_operator(cluster.helm(), progress)?;
    let kubeconfig = cluster.inner_kubeconfig();
    let mut measure = cluster.inside(scale);
    measure.env("KUBECONFIG", &kubeconfig);
    for (flag, path) in [
        ("--operator", operator.as_path()),
        ("--kubeconfig", &kubeconfig),
        ("--audit", &cluster.logs()),
        ("--logs", &cluster.logs()),
    ] {
        measure.arg(flag).arg::<&Path>(path);
    }
    for (flag, number) in [
        ("--clusters", u64::from(shape.clusters)),
        ("--members", u64::from(shape.members)),
        ("--idle", command.idle),
    ] {
        measure.arg(flag).arg(number.to_string());
    }
    if shape.members > MOST_REAL {
        measure.arg("--light");
    }
    if command.output == Output::Json {
        measure.args(["--output", "json"]);
    }
    let title = format!("{} clusters of {} nodes", shape.clusters, shape.members);
    progress.step(&title, || interrupt.run(&mut measure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_says_how_many_clusters_of_how_many_nodes() {
        let shape: Shape = "300x3".parse().unwrap();
        assert_eq!(shape, Shape { clusters: 300, members: 3 });
        for text in ["300", "0x3", "3x0", "1x257", "x", "3x3x3", "-1x3"] {
            assert!(text.parse::<Shape>().is_err(), "{text:?} was let pass");
        }
    }
}
