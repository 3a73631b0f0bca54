//! Who may call what on the cluster port: the operator pushes memberships, nodes do everything else.

use axum::body::Body;
use axum::middleware::Next;
use groupcache_tls::identity::Role;
use http::{Request, Response};
use tonic::Status;

use crate::transport::connection::Connection;

/// Answers a call, unless its caller's certificate is for another role. Where callers show no certificate, everybody may call everything.
pub(crate) async fn checked(request: Request<Body>, next: Next) -> Response<Body> {
    let caller = request.extensions().get().and_then(|connection: &Connection| connection.caller.as_ref());
    match caller {
        Some(caller) if !may(caller.role, request.uri().path()) => {
            let call = request.uri().path();
            let role = caller.role;
            Status::permission_denied(format!("{call} is not for callers whose certificate says {role}"))
                .into_http()
        }
        _ => next.run(request).await,
    }
}

fn may(role: Role, path: &str) -> bool {
    match path.rsplit('/').next() {
        Some("Apply") => role == Role::Operator,
        // Whoever belongs to the cluster may look.
        Some("Describe" | "FetchSnapshot") => true,
        _ => role == Role::Node,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_port_is_for_one_role_or_only_looks() {
        let descriptors: prost_types::FileDescriptorSet =
            prost::Message::decode(groupcache_proto::DESCRIPTORS).unwrap();
        let services = descriptors.file.iter().flat_map(|file| &file.service);
        let cluster = services.into_iter().find(|service| service.name() == "ClusterService").unwrap();
        let of_both = |name: &str| may(Role::Node, name) && may(Role::Operator, name);
        let both: Vec<&str> = cluster
            .method
            .iter()
            .map(prost_types::MethodDescriptorProto::name)
            .filter(|name| of_both(name))
            .collect();
        let of = |role| cluster.method.iter().filter(|method| may(role, method.name())).count();
        assert_eq!(both, ["FetchSnapshot", "Describe"]);
        assert_eq!((of(Role::Operator), of(Role::Node)), (3, cluster.method.len() - 1));
    }
}
