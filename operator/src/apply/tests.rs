//! Children against a small API server that keeps objects by path and can refuse a kind.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::plan;

/// Objects by path; what is applied replaces what was there.
#[derive(Clone, Debug, Default)]
struct Server {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    refuses: &'static str,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        if parts.method == Method::GET {
            return match self.objects.lock().get(&path) {
                Some(object) => answer(StatusCode::OK, object),
                None => failure(StatusCode::NOT_FOUND, "not found"),
            };
        }
        if !self.refuses.is_empty() && path.contains(self.refuses) {
            return failure(StatusCode::UNPROCESSABLE_ENTITY, "requests must not be above limits");
        }
        let object: Value = serde_json::from_slice(&body).expect("an object");
        self.objects.lock().insert(path, object.clone());
        answer(StatusCode::OK, &object)
    }

    fn holds(&self, path: &str, object: Value) {
        self.objects.lock().insert(path.to_owned(), object);
    }
}

fn answer(code: StatusCode, object: &Value) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(object).expect("JSON"));
    Response::builder().status(code).body(body).expect("a response")
}

fn failure(code: StatusCode, message: &str) -> Response<Body> {
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "Invalid" };
    let status = json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "message": message, "reason": reason});
    answer(code, &status)
}

async fn make(server: &Server) -> Made {
    let mut cluster = CacheCluster::new("c", serde_json::from_str("{}").expect("a spec"));
    (cluster.metadata.namespace, cluster.metadata.uid) = (Some("shop".into()), Some("ours".into()));
    let defaults = plan::Defaults { node_image: "i".into(), namespace: "operators".into() };
    let wanted = plan::children(&cluster, &defaults, &plan::mounts::Mounts::default());
    children(&server.client(), &cluster, &wanted).await.expect("an answer")
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_seized_and_the_others_are_made() {
    let server = Server::default();
    let path = "/api/v1/namespaces/shop/services/c-lb";
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c-lb", "uid": "theirs"}, "spec": {"selector": {"app": "shop"}}});
    server.holds(path, theirs.clone());
    let made = make(&server).await;
    assert_eq!(server.objects.lock()[path], theirs);
    assert_eq!((made.marks.len(), made.statefulset.is_some()), (5, true));
    let problems: Vec<_> = made.problems.iter().map(|p| (p.reason, p.text.as_str())).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].0 == NAME_TAKEN && problems[0].1.starts_with("Service c-lb was there"),
        "{problems:?}"
    );
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_and_does_not_keep_the_others_back() {
    let server = Server { refuses: "/statefulsets/", ..Server::default() };
    let made = make(&server).await;
    assert_eq!(made.marks.len(), 5);
    let expected = "StatefulSet c is refused by the API server: requests must not be above limits";
    assert_eq!(made.problems, [Problem { reason: OBJECT_REFUSED, text: expected.into() }]);
}

#[tokio::test]
async fn what_is_there_already_is_applied_to_that_very_object() {
    let server = Server::default();
    make(&server).await;
    let path = "/apis/apps/v1/namespaces/shop/statefulsets/c";
    server.objects.lock().get_mut(path).expect("it")["metadata"]["uid"] = json!("set");
    assert_eq!(make(&server).await.problems, []);
    assert_eq!(server.objects.lock()[path]["metadata"]["uid"], "set");
}
