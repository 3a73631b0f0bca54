//! `--check`: looks whether an installed operator works, as `helm test` does.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use groupcache_crds::CacheCluster;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use crate::args::Args;
use crate::definition;
use crate::lease;

/// How long a leader may take to be seen renewing: longer than a Lease binds when the one before has died.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks at the Lease.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks at what an installation needs, one line for each thing that is well.
///
/// # Errors
/// The first thing that is not.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot find the API server")?;
    let version = client.apiserver_version().await.context("the API server does not answer")?;
    say(&format!("the API server answers: {}", version.git_version))?;

    let definition = definition::read(&client).await?;
    if let Some(lacking) = definition::told(&definition::lacking(&definition)) {
        bail!(lacking);
    }
    say("CacheClusters are defined as this release means them")?;

    let (clusters, place): (Api<CacheCluster>, _) = match &args.namespace {
        Some(namespace) => (Api::namespaced(client.clone(), namespace), format!("in {namespace}")),
        None => (Api::all(client.clone()), "in all namespaces".to_owned()),
    };
    let listed = clusters.list_metadata(&ListParams::default().limit(1)).await;
    listed.with_context(|| format!("the operator may not list CacheClusters {place}"))?;
    say(&format!("CacheClusters can be listed {place}"))?;

    let leases = Api::namespaced(client, &args.lease_namespace);
    let leader = leader(&leases, &args.lease_name).await?;
    say(&format!("{leader} leads"))?;
    Ok(())
}

/// Who is seen to renew the Lease. Its times are not read: they are another machine's.
async fn leader(leases: &Api<Lease>, name: &str) -> anyhow::Result<String> {
    let started = Instant::now();
    let mut seen = None;
    loop {
        let found = leases.get_opt(name).await.with_context(|| format!("cannot read the Lease {name}"))?;
        let record = found.as_ref().map(|lease| (lease::holder(lease).to_owned(), lease.resource_version()));
        if let (Some((before, at)), Some((holder, now))) = (&seen, &record)
            && before == holder
            && at != now
            && !holder.is_empty()
        {
            return Ok(holder.clone());
        }
        if started.elapsed() >= PATIENCE {
            match record {
                Some((holder, _)) if !holder.is_empty() => {
                    bail!("{holder} holds the Lease {name} and did not renew it within {PATIENCE:?}")
                }
                _ => bail!("nobody took the Lease {name} within {PATIENCE:?}: is an operator running?"),
            }
        }
        seen = record.or(seen);
        tokio::time::sleep(PAUSE).await;
    }
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
