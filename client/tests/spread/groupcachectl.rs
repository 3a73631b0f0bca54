//! The command as it is typed: exit codes, and output that a machine can read.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tonic::Code;

use crate::stub::{Says, Stub};

fn groupcachectl(stub: &Stub) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groupcachectl"));
    command
        .env("GROUPCACHE_ADDRESS", stub.address().to_string())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

fn run(stub: &Stub, args: &[&str]) -> Output {
    groupcachectl(stub).args(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn exit_codes_tell_values_from_failures_and_from_no_such_key() {
    let stub = Stub::start(Says::Value);
    let found = run(&stub, &["get", "unicode", "U+1F980"]);
    assert_eq!((found.status.code(), found.stdout), (Some(0), stub.address().to_string().into_bytes()));
    stub.say(Says::NotFound);
    assert_eq!(run(&stub, &["get", "unicode", "U+0378"]).status.code(), Some(3));
    stub.say(Says::Error(Code::FailedPrecondition));
    assert_eq!(run(&stub, &["get", "nowhere", "U+0378"]).status.code(), Some(1));
    assert_eq!(run(&stub, &["remove", "nowhere", "U+0378"]).status.code(), Some(1));
    assert_eq!(run(&stub, &["got"]).status.code(), Some(2));
    assert_eq!(run(&stub, &["--help"]).status.code(), Some(0));
}

#[test]
fn get_answers_json_that_says_where_the_value_was_found() {
    let stub = Stub::start(Says::Value);
    let got = json(&run(&stub, &["get", "unicode", "U+1F980", "--output", "json"]));
    assert_eq!((&got["found"], &got["source"]), (&Value::from(true), &Value::from("main")));
    assert_eq!(got["value"], stub.address().to_string());
    let removed = json(&run(&stub, &["remove", "unicode", "a", "b", "--output", "json"]));
    assert_eq!(removed["removed"], true);
}

#[test]
fn set_takes_its_value_from_the_command_line_or_from_standard_input() {
    let stub = Stub::start(Says::Value);
    let set = json(&run(
        &stub,
        &["set", "pages", "/", "text", "--ttl", "90s", "--source-version", "7", "--output", "json"],
    ));
    assert_eq!((&set["set"], &set["bytes"]), (&Value::from(true), &Value::from(4)));
    let stored = stub.stored();
    assert_eq!((&stored.group[..], &stored.key[..], &stored.value[..]), ("pages", &b"/"[..], &b"text"[..]));
    assert_eq!((stored.ttl_ms, stored.source_version), (Some(90_000), Some(7)));

    for args in [&["set", "pages", "/", "-"][..], &["set", "pages", "/"]] {
        let mut child = groupcachectl(&stub).args(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"\xff piped").unwrap();
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
        assert_eq!((&stub.stored().value[..], stub.stored().ttl_ms), (&b"\xff piped"[..], None));
    }
    let mut child = groupcachectl(&stub).args(["set", "pages", "/"]).stdin(Stdio::piped()).spawn().unwrap();
    // It stops reading when it has seen enough.
    child.stdin.take().unwrap().write_all(&vec![b'x'; 9 << 20]).ok();
    let refused = child.wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("longer than 8388608 bytes"), "{refused:?}");
}

#[test]
fn flush_and_remove_say_what_they_did() {
    let stub = Stub::start(Says::Value);
    // Nobody sits at a terminal here, so nobody is asked.
    let flushed = groupcachectl(&stub).args(["flush", "pages"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(flushed.stdout, b"flushed at every node: group pages\n");
    assert_eq!(json(&run(&stub, &["flush", "pages", "--yes", "--output", "json"]))["flushed"], true);
    assert_eq!(run(&stub, &["remove", "pages", "/", "--source-version", "9"]).status.code(), Some(0));
    assert_eq!(stub.removed().source_version, Some(9));
    let both = run(&stub, &["remove", "pages", "/", "/x", "--source-version", "9"]);
    assert_eq!(both.status.code(), Some(1));
    stub.say(Says::Error(Code::ResourceExhausted));
    assert_eq!(run(&stub, &["flush", "pages", "--yes"]).status.code(), Some(1));
    assert_eq!(run(&stub, &["set", "pages", "/", "x"]).status.code(), Some(1));
}

#[test]
fn a_thousand_gets_of_a_cold_key_are_all_sent_and_all_counted() {
    let stub = Stub::start(Says::Value);
    let load =
        ["load", "--group", "unicode", "--cold-key", "U+1F980", "--concurrent", "1000", "--output", "json"];
    let output = run(&stub, &load);
    let summary = json(&output);
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!(
        (summary["gets"].as_u64(), summary["errors"].as_u64(), stub.calls()),
        (Some(1_000), Some(0), 1_000)
    );
    assert_eq!(summary["sources"]["main"], 1_000);
}

#[test]
fn a_load_counts_failed_gets_and_the_attempts_behind_them() {
    let stub = Stub::start(Says::Error(Code::Unavailable));
    let load =
        ["load", "--group", "unicode", "--gets", "10", "--callers", "2", "--output", "json", "--timeline"];
    let output = run(&stub, &load);
    let summary = json(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        (summary["errors"].as_u64(), summary["errors_by_kind"]["unavailable"].as_u64()),
        (Some(10), Some(10))
    );
    assert_eq!((summary["raw_failed"].as_u64(), summary["retries"].as_u64()), (Some(20), Some(10)));
}

#[test]
fn a_load_in_batches_counts_every_key_as_a_get() {
    let stub = Stub::start(Says::Value);
    let load = ["load", "--group", "unicode", "--gets", "100", "--callers", "3", "--keys", "50", "--in-turn"];
    let batches = ["--batch", "8", "--rate", "1000000", "--output", "json"];
    let summary = json(&run(&stub, &[&load[..], &batches].concat()));
    assert_eq!(
        (summary["gets"].as_u64(), summary["found"].as_u64(), stub.calls()),
        (Some(100), Some(100), 100)
    );
    // Twelve of eight and one of four.
    assert_eq!(
        (summary["raw_attempts"].as_u64(), &summary["sources"]["main"]),
        (Some(13), &Value::from(100))
    );

    stub.say(Says::Error(Code::FailedPrecondition));
    let failed = json(&run(&stub, &[&load[..], &batches].concat()));
    assert_eq!((failed["errors"].as_u64(), failed["raw_failed"].as_u64()), (Some(100), Some(13)));
}

#[test]
fn a_load_until_a_signal_ends_with_its_summary() {
    let stub = Stub::start(Says::Value);
    let load = ["load", "--group", "unicode", "--keys-from", "unicode", "--until-signal", "--output", "json"];
    let child = groupcachectl(&stub).args(load).spawn().unwrap();
    while stub.calls() < 100 {
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let summary = json(&output);
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!(summary["gets"].as_u64(), Some(stub.calls()));
}
