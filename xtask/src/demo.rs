//! `cargo xtask demo`: a CacheCluster on a real Kubernetes, from nothing to what was measured.

mod account;
mod load;
mod target;

use anyhow::{Context, Result};
use clap::Args;

use crate::demo::account::Account;
use crate::demo::load::{Load, Loader};
use crate::demo::target::{Choice, Target};
use crate::images::build::Images;
use crate::install;
use crate::output::Output;
use crate::progress::Progress;
use crate::quickstart::CLUSTER_FILE;
use crate::tools::interrupt::Interrupt;

/// A character far beyond the first 10,000: the load on those does not warm it.
const COLD_KEY: &str = "U+1F980";
/// The cluster of the quickstart.
const NAME: &str = "quickstart";
/// Pods start within seconds; a loaded machine takes longer.
const READY: &str = "--timeout=180s";

/// Shows a CacheCluster at work.
#[derive(Args)]
pub(crate) struct DemoCommand {
    /// Use this context of your kubeconfig instead of a local cluster
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// With --context: push the images here, for example registry.example/team; a kind cluster needs none
    #[arg(long, value_name = "REGISTRY", requires = "context")]
    registry: Option<String>,
    /// How many nodes a new local cluster gets
    #[arg(long, default_value_t = crate::cluster::DEFAULT_NODES, conflicts_with = "context")]
    nodes: u8,
    /// Remove every trace of the demo instead
    #[arg(long)]
    down: bool,
    /// For whom the figures are
    #[arg(long, value_enum, default_value_t = Output::Text, conflicts_with = "down")]
    output: Output,
}

/// Runs the demo, or removes it.
///
/// # Errors
/// Says which step failed, why, and where the logs are.
pub(crate) fn run(command: &DemoCommand, progress: &Progress) -> Result<()> {
    let choice = Choice::new(command.context.as_deref(), command.registry.as_deref(), command.nodes);
    if command.down {
        return choice
            .down(progress)
            .context("something of the demo may be left; repeat `cargo xtask demo --down`");
    }
    let interrupt = Interrupt::listen()?;
    let target = choice.up(progress)?;
    interrupt.check()?;
    let images = target.images(progress)?;
    interrupt.check()?;
    install::operator(target.helm(), &images.operator, &images.node, progress)?;
    interrupt.check()?;
    progress.step("applying examples/quickstart", || {
        target.apply("loader.yaml", &images)?;
        target.apply(CLUSTER_FILE, &images)?;
        target.kubectl(&["rollout", "status", "deployment/unicode-loader", READY])?;
        Ok(())
    })?;
    progress.step("waiting for the cluster", || wait_available(&target))?;
    interrupt.check()?;
    let account = measure(&target, &images, progress)?;
    if command.output == Output::Json {
        println!("{:#}", account.json());
        return account.verdict();
    }
    let columns = target.kubectl(&["get", "cc", NAME])?;
    println!("\n{columns}\n{}", account.table());
    account.verdict()?;
    println!("{}", target.next_commands(COLD_KEY, &images));
    Ok(())
}

fn wait_available(target: &Target) -> Result<()> {
    for condition in ["Available", "RingConverged"] {
        let waited =
            target.kubectl(&["wait", &format!("cc/{NAME}"), &format!("--for=condition={condition}"), READY]);
        if let Err(error) = waited {
            let state = target.kubectl(&["get", &format!("cc/{NAME}"), "--output", "jsonpath={.status}"]);
            let pods = target.kubectl(&["get", "pods", "--output", "wide"]);
            let (state, pods) = (state.unwrap_or_default(), pods.unwrap_or_default());
            return Err(error)
                .with_context(|| format!("the CacheCluster says {state}; the pods are\n{pods}"));
        }
    }
    Ok(())
}

fn measure(target: &Target, images: &Images, progress: &Progress) -> Result<Account> {
    let loader = Loader::of(target);
    // The demo may have run before: a key that is removed is cold again.
    target.proxy("delete", &format!("{NAME}-lb:8080"), &format!("/v1/groups/unicode/keys/{COLD_KEY}"))?;
    let (before, cold_before) = (loader.loads()?, loader.loads_of(COLD_KEY)?);
    let herd = progress
        .step("1,000 concurrent Gets of one cold key, through the headless Service", || {
            Load::new(target, "herd").run(images)
        })?;
    let cold_loads = since(cold_before, loader.loads_of(COLD_KEY)?)?;
    let zipf = progress.step("10 s of Gets over 10,000 keys, Zipf, from 32 callers", || {
        Load::new(target, "load").run(images)
    })?;
    Ok(Account { herd, zipf, cold_loads, loads: since(before, loader.loads()?)? })
}

/// How far the loader's counter has come; it begins anew when the loader does.
fn since(before: u64, now: u64) -> Result<u64> {
    now.checked_sub(before).context("the loader was restarted while it was measured: run the demo again")
}
