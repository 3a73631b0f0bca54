//! The wiring: waits for the definition, takes the Lease, watches, reconciles, and stops in the reverse order.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{Stream, StreamExt};
use groupcache_crds::CacheCluster;
use groupcache_process::admin::Admin;
use groupcache_process::build_info;
use groupcache_process::process_metrics::ProcessMetrics;
use groupcache_process::readiness::Readiness;
use groupcache_process::shutdown::Shutdown;
use groupcache_process::telemetry::LogFilter;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, controller, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::applied;
use crate::args::Args;
use crate::context::{Context, Error};
use crate::definition;
use crate::lease::{Claim, Elector};
use crate::metrics::{Metrics, ReconcileResult};
use crate::names::{self, Key};
use crate::plan::Defaults;
use crate::push::{MAX_WAKES, Push};
use crate::reconcile::reconcile;

/// Changes within this time are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// How long reconciles under way may take at the end.
const GRACE: Duration = Duration::from_secs(10);

type Guarded = DeserializeGuard<CacheCluster>;

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

    let listener = TcpListener::bind(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {} for the admin port", args.admin_address))?;
    let closing = CancellationToken::new();
    let admin = Admin::new(Arc::new(registry), readiness.clone()).with_log_filter(log);
    let admin = tokio::spawn(admin.serve(listener, closing.clone()));

    let client = Client::try_default().await.context("cannot find the API server")?;
    let led = tokio::select! {
        () = definition::established(&client, &definition) => lead(args, client, &metrics, &shutdown).await,
        () = shutdown.draining() => Ok(()),
    };
    closing.cancel();
    let _ = admin.await;
    led
}

async fn lead(args: Args, client: Client, metrics: &Metrics, shutdown: &Shutdown) -> anyhow::Result<()> {
    let hostname =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let name = args.identity.clone().unwrap_or_else(hostname);
    // Two processes on one host must not take each other for themselves.
    let identity = format!("{name}_{:08x}", rand::random::<u32>());
    let mut elector =
        Elector::new(client.clone(), &args.lease_namespace, args.lease_name.clone(), identity.clone());
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
        deposed.clone(),
        stop.clone(),
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
    deposed: CancellationToken,
    stop: CancellationToken,
) {
    let (wakes_tx, wakes_rx) = mpsc::channel(MAX_WAKES);
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
        push: Push::new(wakes_tx, metrics.clone()),
        recorder: Recorder::new(client.clone(), reporter),
        metrics,
        claim,
        deposed,
        children: applied::Children { services, statefulsets, budgets, policies },
        memory: Mutex::default(),
        failures: Mutex::default(),
    });
    let forgetful = Arc::clone(&context);
    controller(&args, &client, wakes(wakes_rx))
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

fn wakes(mut wakes_rx: mpsc::Receiver<Key>) -> impl Stream<Item = ObjectRef<Guarded>> + Send {
    futures::stream::poll_fn(move |cx| wakes_rx.poll_recv(cx))
        .map(|key: Key| ObjectRef::new(&key.name).within(key.namespace.as_deref().unwrap_or("")))
}

fn controller(
    args: &Args,
    client: &Client,
    wakes: impl Stream<Item = ObjectRef<Guarded>> + Send + 'static,
) -> Controller<Guarded> {
    let ours =
        watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY));
    let config = controller::Config::default().debounce(DEBOUNCE).concurrency(args.concurrency);
    Controller::new(api(args, client), watcher::Config::default())
        .with_config(config)
        .owns(api::<ConfigMap>(args, client), ours.clone())
        .watches(api::<EndpointSlice>(args, client), ours.clone(), |slice| of_label(&slice))
        .watches(api::<Pod>(args, client), ours, |pod| of_label(&pod))
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

async fn reconcile_guarded(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let cluster = match &object.0 {
        Ok(cluster) => cluster,
        Err(invalid) => {
            // An object of another version of the definition must not stop the others.
            tracing::error!(cluster = %object.name_any(), error = %invalid.error, "this CacheCluster cannot be read");
            return Ok(Action::await_change());
        }
    };
    let started = Instant::now();
    let done = reconcile(cluster, &context).await;
    let result = match &done {
        Ok(_) => ReconcileResult::Done,
        Err(error) if error.is_conflict() => ReconcileResult::Conflict,
        Err(_) => ReconcileResult::Failed,
    };
    context.metrics.reconciled(result, started.elapsed().as_secs_f64());
    if done.is_ok() {
        context.failures.lock().remove(&ObjectRef::from_obj(cluster));
    }
    done
}

#[expect(clippy::needless_pass_by_value, reason = "the controller hands both over")]
fn pause_after(object: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let key: Key = ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default());
    let failures = context.failed(key);
    let pause = context.pause_after(error, failures);
    if error.is_conflict() {
        tracing::debug!(cluster = %object.name_any(), %error, "another writer was faster");
    } else {
        tracing::warn!(cluster = %object.name_any(), %error, failures, ?pause, "the reconcile is tried again");
    }
    Action::requeue(pause)
}
