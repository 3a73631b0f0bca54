//! The wiring: waits for the definition, takes the Lease, watches, reconciles, and stops in the reverse order.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{Stream, StreamExt, TryStreamExt};
use groupcache_process::admin::Admin;
use groupcache_process::build_info;
use groupcache_process::process_metrics::ProcessMetrics;
use groupcache_process::readiness::{Condition, Readiness};
use groupcache_process::shutdown::Shutdown;
use groupcache_process::telemetry::LogFilter;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::controller::Controller;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, controller, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::applied;
use crate::args::Args;
use crate::context::Context;
use crate::definition;
use crate::guarded::{Guarded, pause_after, reconcile_guarded};
use crate::lease::{Claim, Elector};
use crate::metrics::Metrics;
use crate::names;
use crate::plan::Defaults;
use crate::push::Push;
use crate::wakes::Wakes;

/// Changes within this time are looked at together.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// How long a watch of what moves the ring lasts before it is taken up again: a connection that is dead without saying so hides changes no longer.
const WATCH_SECONDS: u32 = 60;
/// How long reconciles under way may take at the end.
const GRACE: Duration = Duration::from_secs(10);

/// Runs until a signal asks it to stop, or it may no longer write.
///
/// # Errors
/// If it cannot start, or has lost the Lease: the process must end then.
pub async fn run(args: Args, log: LogFilter) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen_to_signals().context("cannot listen to signals")?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    build_info::register(&mut registry, "operator", env!("CARGO_PKG_VERSION"));
    registry.register_collector(Box::new(ProcessMetrics));
    let readiness = Readiness::new();
    let definition = readiness.condition("definition", "not looked for yet");
    let lease = readiness.condition("lease", "not read yet");

    let listener = TcpListener::bind(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {} for the admin port", args.admin_address))?;
    let closing = CancellationToken::new();
    let admin = Admin::new(Arc::new(registry), readiness.clone()).with_log_filter(log);
    let admin = tokio::spawn(admin.serve(listener, closing.clone()));

    let client = client().await.context("cannot find the API server")?;
    let led = tokio::select! {
        () = definition::established(&client, &definition) => {
            lead(args, client, &metrics, (&readiness, lease), &shutdown).await
        }
        () = shutdown.draining() => Ok(()),
    };
    closing.cancel();
    let _ = admin.await;
    led
}

/// A client that tells of a refusal at once: an eviction that a budget forbids, too, is answered with 429, and the client's own retries would hold the
/// cluster for minutes. Everything is tried again by the reconcile, with a pause of its own.
async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn lead(
    args: Args,
    client: Client,
    metrics: &Metrics,
    (readiness, lease): (&Readiness, Condition),
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let hostname =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let name = args.identity.clone().unwrap_or_else(hostname);
    // Two processes on one host must not take each other for themselves.
    let identity = format!("{name}_{:08x}", rand::random::<u32>());
    let mut elector =
        Elector::new(client.clone(), &args.lease_namespace, args.lease_name.clone(), identity.clone())
            .tending(lease);
    tokio::select! {
        () = elector.acquire() => {}
        () = shutdown.draining() => return Ok(()),
    }
    tracing::info!(%identity, "leading");
    metrics.leads(true);

    let deposed = CancellationToken::new();
    let stop = CancellationToken::new();
    let mut controller = tokio::spawn(control(
        args,
        client,
        name,
        metrics.clone(),
        elector.claim(),
        (deposed.clone(), stop.clone()),
        readiness.condition("clusters", "this operator leads and has not listed the CacheClusters yet"),
    ));
    let lost = tokio::select! {
        () = elector.hold() => true,
        () = deposed.cancelled() => true,
        () = shutdown.draining() => false,
        ended = &mut controller => {
            metrics.leads(false);
            elector.release().await;
            return ended.context("the controller failed").and_then(|()| anyhow::bail!("the controller ended"));
        }
    };
    metrics.leads(false);
    if lost {
        // First nothing more is written, then the process ends; another may be writing already.
        deposed.cancel();
        controller.abort();
        anyhow::bail!("this operator no longer leads");
    }
    stop.cancel();
    tokio::select! {
        _ = &mut controller => {}
        () = tokio::time::sleep(GRACE) => controller.abort(),
        () = shutdown.aborted() => controller.abort(),
        // The Lease is kept while reconciles end.
        () = elector.hold() => controller.abort(),
    }
    elector.release().await;
    Ok(())
}

async fn control(
    args: Args,
    client: Client,
    name: String,
    metrics: Metrics,
    claim: Claim,
    (deposed, stop): (CancellationToken, CancellationToken),
    listed: Condition,
) {
    let nodes_wake = Wakes::new();
    let (services, services_writer) = reflector::store();
    let (statefulsets, statefulsets_writer) = reflector::store();
    let (budgets, budgets_writer) = reflector::store();
    let (policies, policies_writer) = reflector::store();
    let reporter = Reporter { controller: names::FIELD_MANAGER.to_owned(), instance: Some(name) };
    let context = Arc::new(Context {
        client: client.clone(),
        defaults: Defaults {
            node_image: args.node_image.clone().unwrap_or_default(),
            namespace: args.lease_namespace.clone(),
        },
        push: Push::new(nodes_wake.clone(), metrics.clone()),
        recorder: Recorder::new(client.clone(), reporter),
        metrics,
        claim,
        deposed,
        children: applied::Children { services, statefulsets, budgets, policies },
        memory: Mutex::default(),
        failures: Mutex::default(),
    });
    let forgetful = Arc::clone(&context);
    controller(&args, &client, wakes(nodes_wake), listed)
        .owns_stream(kept(api::<Service>(&args, &client), services_writer))
        .owns_stream(kept(api::<StatefulSet>(&args, &client), statefulsets_writer))
        .owns_stream(kept(api::<PodDisruptionBudget>(&args, &client), budgets_writer))
        .owns_stream(kept(api::<NetworkPolicy>(&args, &client), policies_writer))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile_guarded, pause_after, context)
        .for_each(|done| {
            if let Err(controller::Error::ObjectNotFound(gone)) = &done {
                forgetful.forget(&ObjectRef::new(&gone.name).within(gone.namespace.as_deref().unwrap_or("")));
            } else if let Err(controller::Error::QueueError(error)) = &done {
                tell_watch(error);
            }
            std::future::ready(())
        })
        .await;
}

fn tell_watch(error: &watcher::Error) {
    match error {
        // The API server forgets old changes; the list is read anew.
        watcher::Error::WatchError(status) if status.code == 410 => {
            tracing::debug!(%error, "a watch starts over");
        }
        _ => tracing::warn!(%error, "a watch failed and is taken up again"),
    }
}

fn wakes(wakes: Wakes) -> impl Stream<Item = ObjectRef<Guarded>> + Send {
    futures::stream::unfold(wakes, |wakes| async {
        let key = wakes.next().await;
        Some((ObjectRef::new(&key.name).within(key.namespace.as_deref().unwrap_or("")), wakes))
    })
}

fn controller(
    args: &Args,
    client: &Client,
    wakes: impl Stream<Item = ObjectRef<Guarded>> + Send + 'static,
    listed: Condition,
) -> Controller<Guarded> {
    let of_ring = ours().timeout(WATCH_SECONDS);
    let config = controller::Config::default().debounce(DEBOUNCE).concurrency(args.concurrency);
    let (store, writer) = reflector::store();
    // Not by waiting for the store: of several who do, one is woken, and the controller is one of them.
    let clusters = reflector(writer, watcher(api(args, client), watcher::Config::default()))
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone) {
                listed.met();
            }
        })
        .applied_objects();
    Controller::for_stream(clusters, store)
        .with_config(config)
        .owns(api::<ConfigMap>(args, client), ours())
        .watches(api::<EndpointSlice>(args, client), of_ring.clone(), |slice| of_label(&slice))
        .watches(api::<Pod>(args, client), of_ring, |pod| of_label(&pod))
        .reconcile_on(wakes)
}

fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY))
}

/// Watches children of one kind and keeps them, so that a look at them costs no request.
fn kept<K>(api: Api<K>, writer: reflector::store::Writer<K>) -> impl Stream<Item = watcher::Result<K>> + Send
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    reflector(writer, watcher(api, ours())).default_backoff().touched_objects()
}

fn api<K>(args: &Args, client: &Client) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    match &args.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn of_label<K: kube::Resource>(object: &K) -> Option<ObjectRef<Guarded>> {
    let name = object.labels().get(names::CLUSTER_LABEL)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}
