//! describe: asks every node who it is, one by one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use groupcache_client::config::Builder;
use groupcache_client::dial::dial;
use groupcache_client::resolve::{Dns, Resolve};
use groupcache_client::target::Target;
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{DescribeRequest, DescribeResponse, MemberState};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::args::Shared;
use crate::output::{Outcome, Output};

/// How long a node is waited for, unless told.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn describe(shared: &Shared) -> anyhow::Result<Outcome> {
    let addresses = &shared.address;
    let targets = addresses.split(',').map(|address| address.trim().parse());
    let targets: Vec<Target> = targets.collect::<Result<_, _>>().context("--address")?;
    let builder = shared.builder()?.for_targets(&targets).context("--address")?;
    let mut nodes = Dns::new(targets).resolve().await?;
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.is_empty() {
        bail!("{addresses} has no address");
    }
    let patience = shared.deadline.unwrap_or(PATIENCE);
    let mut failed = false;
    let mut reports = Vec::new();
    for node in nodes {
        let answer = match timeout(patience, ask(&builder, node)).await {
            Ok(answer) => answer,
            Err(_) => Err(anyhow::anyhow!("no answer within {patience:?}")),
        };
        failed |= answer.is_err();
        match (shared.output, answer) {
            (Output::Text, Ok(answer)) => print_text(node, &answer),
            (Output::Text, Err(error)) => println!("{node}\tfailed: {error:#}"),
            (Output::Json, Ok(answer)) => reports.push(as_json(node, &answer)),
            (Output::Json, Err(error)) => {
                reports.push(json!({ "address": node, "error": format!("{error:#}") }));
            }
        }
    }
    if shared.output == Output::Json {
        println!("{}", json!({ "nodes": reports }));
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

async fn ask(builder: &Builder, node: SocketAddr) -> anyhow::Result<DescribeResponse> {
    let channel = dial(builder, node).await?;
    let answer = ClusterServiceClient::new(channel).describe(builder.authorized(DescribeRequest {})).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| anyhow::anyhow!("{}: {}", status.code(), status.message()))
}

fn state(answer: &DescribeResponse) -> &'static str {
    let state = MemberState::try_from(answer.state).unwrap_or(MemberState::Unspecified);
    match (state, answer.draining) {
        (_, true) => "Draining",
        (MemberState::Unspecified, _) => "not a member",
        (MemberState::Joining, _) => "Joining",
        (MemberState::Active, _) => "Active",
        (MemberState::Draining, _) => "Draining",
    }
}

fn print_text(address: SocketAddr, answer: &DescribeResponse) {
    let version = answer.version.unwrap_or_default();
    println!(
        "{}\t{address}\t{}, {}\tversion {}.{}\tring {:016x}\tboot {:016x}\trelease {}",
        answer.node,
        state(answer),
        if answer.serves_copies { "serves copies" } else { "has no grants: loads whatever it is asked" },
        version.epoch,
        version.sequence,
        answer.ring_hash,
        answer.boot,
        answer.build_version
    );
    for group in &answer.groups {
        println!(
            "  {}\tmain {} entries, {} bytes\thot {} entries, {} bytes",
            group.name, group.main_entries, group.main_bytes, group.hot_entries, group.hot_bytes
        );
    }
}

/// Hashes and boot ids are text: JSON numbers lose their last bits in many languages.
fn as_json(address: SocketAddr, answer: &DescribeResponse) -> Value {
    let version = answer.version.unwrap_or_default();
    let groups = answer.groups.iter().map(|group| {
        json!({
            "name": group.name,
            "main_entries": group.main_entries, "main_bytes": group.main_bytes,
            "hot_entries": group.hot_entries, "hot_bytes": group.hot_bytes,
        })
    });
    json!({
        "node": answer.node,
        "address": address,
        "pod_uid": answer.pod_uid,
        "state": state(answer),
        "serves_copies": answer.serves_copies,
        "epoch": version.epoch,
        "sequence": version.sequence,
        "ring_hash": format!("{:016x}", answer.ring_hash),
        "boot": format!("{:016x}", answer.boot),
        "build_version": answer.build_version,
        "groups": groups.collect::<Vec<_>>(),
    })
}
