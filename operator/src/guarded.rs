//! One reconcile within its bounds: it ends in time, hurts no other cluster, and says why it does not succeed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use groupcache_crds::CacheCluster;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use tokio::time::{Instant, timeout};

use crate::context::{Context, Error};
use crate::metrics::ReconcileResult;
use crate::names::Key;
use crate::reconcile::{reconcile, tell};
use crate::status;

/// How long one may take. An API server that takes a request and never answers would hold a cluster for good otherwise: of one cluster there is
/// one reconcile at a time. Whatever is written is written with a precondition, so one that is cut off leaves nothing half done.
const LIMIT: Duration = Duration::from_secs(60);

/// A CacheCluster, or why it cannot be read.
pub type Guarded = DeserializeGuard<CacheCluster>;

/// Brings one cluster a step nearer to its spec.
///
/// # Errors
/// See [`Error`]; [`pause_after`] says when it is tried again.
pub async fn reconcile_guarded(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let cluster = match &object.0 {
        Ok(cluster) => cluster,
        Err(invalid) => {
            // An object of another version of the definition must not stop the others.
            tracing::error!(cluster = %object.name_any(), error = %invalid.error, "this CacheCluster cannot be read");
            return Ok(Action::await_change());
        }
    };
    let started = Instant::now();
    let done = bounded(Box::pin(reconcile(cluster, &context))).await;
    context.metrics.reconciled(result_of(&done), started.elapsed().as_secs_f64());
    match &done {
        Ok(_) => drop(context.failures.lock().remove(&ObjectRef::from_obj(cluster))),
        Err(error) => tell_failure(cluster, &context, error).await,
    }
    done
}

/// When a reconcile that did not end well is tried again.
#[expect(clippy::needless_pass_by_value, reason = "the controller hands both over")]
pub fn pause_after(object: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
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

async fn bounded(reconcile: impl Future<Output = Result<Action, Error>>) -> Result<Action, Error> {
    // All clusters are reconciled in one task: a panic over one object must not end it. Nothing is shared but tables
    // whose locks are held over single statements.
    match timeout(LIMIT, AssertUnwindSafe(reconcile).catch_unwind()).await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Error::Panicked(text.unwrap_or_else(|| "no message".to_owned())))
        }
        Err(_) => Err(Error::TooLong(LIMIT)),
    }
}

fn result_of(done: &Result<Action, Error>) -> ReconcileResult {
    let Err(error) = done else { return ReconcileResult::Done };
    match error.cause() {
        conflict if conflict.is_conflict() => ReconcileResult::Conflict,
        Error::TooLong(_) => ReconcileResult::TimedOut,
        Error::Api(kube::Error::Api(status)) if status.code != 429 && (400..500).contains(&status.code) => {
            ReconcileResult::Refused
        }
        Error::Api(_) => ReconcileResult::Unanswered,
        _ => ReconcileResult::Failed,
    }
}

/// Puts into the status why nothing goes on, where it can be told there: a user looks at the object, not at this process's log.
async fn tell_failure(cluster: &CacheCluster, context: &Context, error: &Error) {
    let Some(problem) = context.persistent(&ObjectRef::from_obj(cluster), error) else { return };
    let told = status::without_ledger(cluster, &[problem], Timestamp::now());
    if !matches!(timeout(LIMIT, tell(cluster, context, &told)).await, Ok(Ok(()))) {
        tracing::debug!(cluster = %cluster.name_any(), "the failure could not be told in the status either");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> Error {
        let reason = if code == 409 { "Conflict" } else { "" }.to_owned();
        let status = kube::core::Status { code, reason, ..kube::core::Status::default() };
        Error::Api(kube::Error::Api(Box::new(status)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_never_ends_is_cut_off() {
        let never = bounded(std::future::pending()).await;
        assert!(matches!(never, Err(Error::TooLong(LIMIT))), "{never:?}");
        assert_eq!(result_of(&never), ReconcileResult::TimedOut);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_that_cluster_alone() {
        let panicked = bounded(async { panic!("index 3 out of 2") }).await;
        assert!(panicked.as_ref().is_err_and(|error| error.to_string().contains("index 3 out of 2")));
        assert_eq!(result_of(&panicked), ReconcileResult::Failed);
    }

    #[test]
    fn who_refused_and_who_did_not_answer_are_told_apart() {
        assert_eq!(result_of(&Err(api(403))), ReconcileResult::Refused);
        assert_eq!(result_of(&Err(api(409))), ReconcileResult::Conflict);
        for code in [429, 500, 503] {
            assert_eq!(result_of(&Err(api(code))), ReconcileResult::Unanswered);
        }
        assert_eq!(result_of(&Err(Error::Deposed)), ReconcileResult::Failed);
    }
}
