//! Statuses turned into reactions.

use super::*;

#[test]
fn a_partial_remove_names_the_nodes() {
    let detail = PartialDetail {
        failures: vec![groupcache_proto::cache::NodeFailure {
            node: "quickstart-1".into(),
            reason: "timed out".into(),
        }],
    };
    let status = tonic_types::pb::Status {
        code: Code::Unavailable as i32,
        message: "partial".into(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/groupcache.v1.PartialDetail".into(),
            value: detail.encode_to_vec(),
        }],
    };
    let status = Status::with_details(Code::Unavailable, "partial", status.encode_to_vec().into());
    let error = RemoveError::from(Failure::Status(status));
    let node = NodeFailure { node: "quickstart-1".into(), reason: "timed out".into() };
    assert_eq!(error, RemoveError::Partial(vec![node]));
    assert_eq!(error.to_string(), "not every node has removed the old value: quickstart-1: timed out");
}

#[test]
fn a_status_without_details_is_what_its_code_says() {
    for (code, kind) in [
        (Code::Unavailable, "unavailable"),
        (Code::DeadlineExceeded, "deadline_exceeded"),
        (Code::ResourceExhausted, "overloaded"),
        (Code::FailedPrecondition, "unknown_group"),
        (Code::InvalidArgument, "invalid_argument"),
        (Code::Internal, "failed"),
    ] {
        match RemoveError::from(Failure::Status(Status::new(code, "why"))) {
            RemoveError::Call(error) => assert_eq!(error.kind(), kind),
            RemoveError::Partial(_) => panic!("{code:?} names no node"),
        }
    }
}
