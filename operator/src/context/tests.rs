//! What must not be left of a cluster that is gone.

use groupcache_crds::CacheCluster;
use groupcache_proto::cluster::SignedSnapshot;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector;
use prometheus_client::registry::Registry;

use super::*;
use crate::lease::Elector;
use crate::push::{Published, Target};
use crate::wakes::Wakes;

fn context() -> Context {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::empty()))
    });
    let client = Client::new(service, "default");
    let metrics = Metrics::new(&mut Registry::default());
    Context {
        client: client.clone(),
        defaults: Defaults { node_image: "i".into(), namespace: "operators".into() },
        push: Push::new(Wakes::new(), metrics.clone()),
        recorder: Recorder::new(client.clone(), Reporter { controller: "test".into(), instance: None }),
        metrics,
        claim: Elector::new(client, "default", "l".into(), "me".into()).claim(),
        deposed: CancellationToken::new(),
        children: Children {
            services: reflector::store().0,
            statefulsets: reflector::store().0,
            budgets: reflector::store().0,
            policies: reflector::store().0,
        },
        memory: Mutex::default(),
        failures: Mutex::default(),
    }
}

fn cluster(uid: &str) -> CacheCluster {
    let mut cluster = CacheCluster::new("c", serde_json::from_str("{}").expect("a spec"));
    cluster.metadata.uid = Some(uid.into());
    cluster
}

#[tokio::test]
async fn a_cluster_made_anew_under_an_old_name_has_no_past() {
    let (context, key) = (context(), Key::new("c"));
    let memory = Memory { written: Some(Version::new(1, 1)), ..context.recall(&key, &cluster("old")) };
    context.remember(&key, memory);
    let target =
        Target { name: "c-0".into(), pod_uid: "p".into(), address: "127.0.0.1:1".into(), keeper: None };
    let published = Published { version: Version::new(1, 1), snapshot: SignedSnapshot::default() };
    context.push.publish(&key, published, vec![target]);
    assert!(context.push.reports(&key).note("p", |report| report.unreachable = Some("gone".into())));

    assert_eq!(context.recall(&key, &cluster("old")).written, Some(Version::new(1, 1)));
    assert_eq!(context.recall(&key, &cluster("new")).written, None);
    assert!(context.push.reports(&key).all().is_empty(), "what the namesake's nodes said");
}

#[tokio::test]
async fn nothing_is_kept_of_a_cluster_that_is_gone() {
    let (context, key) = (context(), Key::new("c"));
    context.remember(&key, context.recall(&key, &cluster("u")));
    assert_eq!((context.failed(key.clone()), context.failed(key.clone())), (1, 2));
    context.forget(&key);
    assert!(context.memory.lock().is_empty() && context.failures.lock().is_empty());
}

#[tokio::test]
async fn only_what_lasts_is_told_in_the_status_and_only_once() {
    let (context, key) = (context(), Key::new("c"));
    let late = Error::TooLong(Duration::from_secs(60));
    for _ in 1..TOLD_AFTER {
        assert_eq!(context.persistent(&key, &late), None);
        context.failed(key.clone());
    }
    let problem = context.persistent(&key, &late).expect("it has lasted");
    assert!(problem.text.contains("did not end within 60 s"), "{problem:?}");
    for passing in [Error::Deposed, Error::Overwritten, Error::Told(Box::new(late))] {
        assert_eq!(context.persistent(&key, &passing), None, "{passing}");
    }
}
