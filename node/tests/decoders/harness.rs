//! One function for each decoder: feeds it bytes that anybody may have sent, and says what must hold whatever they are.
//!
//! Each panics when a promise is broken, and answers whether the bytes were taken. The tests beside this file and libFuzzer (`fuzz/`) run the same.

use std::time::Duration;

use bytes::Bytes;
use groupcache_group::value::Key;
use groupcache_group::view::View;
use groupcache_node::access::rules::Ruling;
use groupcache_node::configuration::{
    self, MAX_GROUPS, MAX_KEY_BYTES, MAX_PURGE_TIMEOUT, MAX_TOKENS, MAX_VALUE_BYTES,
};
use groupcache_node::loader::template::UrlTemplate;
use groupcache_node::loader::{grpc, http as http_loader};
use groupcache_node::membership::{Identity, Membership, Outcome, fixed};
use groupcache_node::metrics::SnapshotMetrics;
use groupcache_node::transport::calls::MAX_DEADLINE;
use groupcache_node::transport::http::asked::{TIMEOUT_HEADER, What, parse};
use groupcache_node::transport::wire;
use groupcache_proto::cluster::{self, SignedSnapshot};
use groupcache_proto::{cache, convert, family, loader};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use prost::Message;
use tokio::time::Instant;

/// A decoder under test: true if it took the bytes.
pub(crate) type Decode = fn(&[u8]) -> bool;

/// Every decoder, by the name of its folder of seeds.
pub(crate) const DECODERS: &[(&str, Decode)] = &[
    ("snapshot", snapshot),
    ("frames", frames),
    ("http-path", http_path),
    ("configuration", fixed_configuration),
    ("loader-answer", loader_answer),
    ("template", template),
];

/// Memory for groups at the node that is asked.
const GROUP_BYTES: u64 = 1 << 30;

/// Most faults that are told, and their longest text with the sign that it is cut.
const TOLD_FAULTS: usize = 65;
const TOLD_FAULT_CHARS: usize = 513;

/// A pushed snapshot: adopted whole, or refused with a bounded account, and then nothing is in force.
fn snapshot(bytes: &[u8]) -> bool {
    let Ok(signed) = SignedSnapshot::decode(bytes) else { return false };
    if let Ok(content) = convert::open(&signed) {
        let configuration = content.configuration.clone().unwrap_or_default();
        checks(&configuration);
        if let Ok(membership) = convert::membership(&content) {
            let again = convert::snapshot_to_wire(&membership, configuration);
            assert_eq!(
                convert::membership(&again).as_ref(),
                Ok(&membership),
                "a membership survives the wire"
            );
            let view = View::new("a", std::sync::Arc::new(membership));
            let owners = view.ranked(b"key", 3);
            assert_eq!(view.owner(b"key"), owners.first().copied());
            assert!(view.unsettled().len() <= groupcache_ring::prior::MAX_PRIORS + 1);
        }
    }
    let membership =
        Membership::new(Identity::new("a", ""), GROUP_BYTES, SnapshotMetrics::default(), Box::new(|_, _| ()));
    match membership.offer(signed.clone()) {
        Outcome::Adopted => {
            assert_eq!(membership.offer(signed), Outcome::Unchanged, "the same once more changes nothing");
            true
        }
        Outcome::Refused(faults) => {
            assert!(!faults.is_empty() && faults.len() <= TOLD_FAULTS, "{} faults are told", faults.len());
            assert!(faults.iter().all(|fault| fault.chars().count() <= TOLD_FAULT_CHARS), "{faults:?}");
            assert!(membership.in_force().is_none(), "what is refused is not in force");
            false
        }
        odd => panic!("a first snapshot is neither adopted nor refused: {odd:?}"),
    }
}

/// What a configuration turns into keeps every bound.
fn checks(wire: &cluster::Configuration) -> bool {
    let Ok(checked) = configuration::check(wire, GROUP_BYTES) else { return false };
    assert!(checked.groups.len() <= MAX_GROUPS);
    assert!(checked.groups.iter().map(|(group, _)| group.max_bytes).sum::<u64>() <= GROUP_BYTES);
    for (group, loader) in &checked.groups {
        assert!(configuration::is_group_name(&group.name), "{:?}", group.name);
        assert!((1..=MAX_KEY_BYTES as usize).contains(&group.max_key_bytes));
        assert!((1..=MAX_VALUE_BYTES as usize).contains(&group.max_value_bytes));
        assert!(group.max_bytes > 0 && group.hot_percent <= 50);
        assert!(group.purge_timeout <= MAX_PURGE_TIMEOUT && group.purge_timeout <= checked.staleness_bound);
        assert!(loader.max_in_flight > 0 && !loader.timeout.is_zero());
        assert_eq!(group.load_timeout, loader.timeout + loader.queue_timeout);
    }
    let Ruling::Rules(rules) = &checked.access else { return true };
    assert!(rules.len() <= MAX_TOKENS);
    for rule in rules {
        assert!(!rule.verbs.is_empty() && !rule.name.starts_with('.') && !rule.name.contains('/'));
        let known = |group: &String| checked.groups.iter().any(|(known, _)| *known.name == **group);
        assert!(rule.groups.as_ref().is_none_or(|groups| !groups.is_empty() && groups.iter().all(known)));
    }
    true
}

/// Messages between nodes and from applications: what is decoded is written the same, and times stay within a clock.
fn frames(bytes: &[u8]) -> bool {
    let call = same_again::<cluster::ExchangeRequest>(bytes);
    let stream = same_again::<cache::StreamRequest>(bytes);
    let family = same_again::<family::GetRequest>(bytes);
    let answer = same_again::<cluster::ExchangeResponse>(bytes);
    let mut answers = Vec::from_iter(same_again::<cluster::FetchResponse>(bytes));
    if let Some(cluster::exchange_response::Answer::Fetch(fetch)) =
        answer.as_ref().and_then(|a| a.answer.clone())
    {
        answers.push(fetch);
    }
    let now = Instant::now();
    for fetch in answers.iter().cloned() {
        drop(wire::fetched(fetch));
    }
    for entry in [call.as_ref().and_then(stored), same_again::<cluster::Entry>(bytes)].into_iter().flatten() {
        let told = entry.ttl_remaining_ms;
        let entry = wire::entry_from_wire(entry);
        assert_eq!(told.is_some(), entry.expires.is_some());
        assert!(entry.loaded <= Instant::now(), "it was not loaded in the future");
        let back = wire::entry_to_wire(&entry, now.max(Instant::now()));
        assert!(back.ttl_remaining_ms <= told, "passing it on does not add to its time");
    }
    call.is_some() || stream.is_some() || family.is_some() || answer.is_some() || !answers.is_empty()
}

fn stored(call: &cluster::ExchangeRequest) -> Option<cluster::Entry> {
    match &call.call {
        Some(cluster::exchange_request::Call::Store(store)) => store.value.clone(),
        _ => None,
    }
}

fn same_again<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = message.encode_to_vec();
    assert_eq!(M::decode(again.as_slice()).as_ref(), Ok(&message));
    Some(message)
}

/// A path at the HTTP door, and the same bytes as a key in one: every key can be asked for.
fn http_path(bytes: &[u8]) -> bool {
    let written = percent_encode(bytes, NON_ALPHANUMERIC);
    let asked = path(format!("/v1/groups/g/keys/{written}").as_bytes());
    // A URI is at most 65,534 bytes long; a key at most 8,192, each written with three.
    if bytes.len() <= MAX_KEY_BYTES as usize {
        let (group, key) = asked.expect("a key that is percent-encoded whole is always taken");
        assert!(group == "g" && key.as_deref() == Some(bytes), "{key:?} is not what was asked for");
    }
    let Some((group, key)) = path(bytes) else { return false };
    let group = percent_encode(group.as_bytes(), NON_ALPHANUMERIC);
    let rewritten = match &key {
        Some(key) => format!("/v1/groups/{group}/keys/{}", percent_encode(key, NON_ALPHANUMERIC)),
        None => format!("/v1/groups/{group}/keys"),
    };
    if rewritten.len() < usize::from(u16::MAX) - 1 {
        let (_, again) = path(rewritten.as_bytes()).expect("written otherwise, it is the same path");
        assert_eq!(again, key);
    }
    true
}

/// The group and its key, or none for all of it.
fn path(bytes: &[u8]) -> Option<(String, Option<Bytes>)> {
    let uri = Uri::try_from(bytes).ok()?;
    let timeout = HeaderValue::from_bytes(&bytes[..bytes.len().min(8)]);
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let asked = parse(&request).ok();
    if let Ok(timeout) = timeout {
        request.headers_mut().insert(TIMEOUT_HEADER, timeout);
        if let Ok(in_time) = parse(&request) {
            assert!(in_time.deadline <= Instant::now() + MAX_DEADLINE, "no deadline is beyond ours");
        }
    }
    asked.map(|asked| match asked.what {
        What::Key(key) => (asked.group, Some(key)),
        What::All => (asked.group, None),
    })
}

/// The file of a fixed membership.
fn fixed_configuration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(wire) = fixed::parse(text) else { return false };
    let again = cluster::Configuration::decode(wire.encode_to_vec().as_slice());
    assert_eq!(again.as_ref(), Ok(&wire), "it survives the wire");
    checks(&wire)
}

/// What a loader answers: a message of the gRPC loader, or the `Cache-Control` of an HTTP loader.
fn loader_answer(bytes: &[u8]) -> bool {
    let message = same_again::<loader::LoadResponse>(bytes);
    let loaded = message.map(|answer| {
        let told = answer.ttl_ms.map(Duration::from_millis);
        (told, grpc::loaded("l", answer))
    });
    if let Some((told, Ok(loaded))) = &loaded {
        assert_eq!(loaded.ttl, *told);
    }
    let mut headers = HeaderMap::new();
    // Each line of it is one header.
    for line in bytes.split(|byte| *byte == b'\n') {
        headers.extend(HeaderValue::from_bytes(line).ok().map(|value| (CACHE_CONTROL, value)));
    }
    let ttl = http_loader::ttl(&headers);
    let before = headers.len();
    headers.append(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
    assert!(before == 0 || http_loader::ttl(&headers) <= Some(Duration::from_secs(1)), "the shortest counts");
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert_eq!(http_loader::ttl(&headers), Some(Duration::ZERO), "what is not to be stored is not");
    ttl.is_some() || matches!(loaded, Some((_, Ok(_))))
}

/// The first line is a URL template, the rest a key: no key reaches another host, another path or another parameter.
fn template(bytes: &[u8]) -> bool {
    let (url, key) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b"k"[..]),
    };
    let Ok(template) =
        std::str::from_utf8(url).map_err(drop).and_then(|url| UrlTemplate::parse(url).map_err(drop))
    else {
        return false;
    };
    let key = Key::new(key.to_vec(), MAX_KEY_BYTES as usize);
    let (Ok(key), Ok(plain)) = (key, Key::new("k", 1)) else { return true };
    let plain = template.of("g", &plain).expect("a template that was taken makes a URL of a short key");
    // Many places to fill make a URL too long for one.
    let Ok(filled) = template.of("g", &key) else { return true };
    assert_eq!(filled.scheme(), plain.scheme());
    assert_eq!(filled.authority(), plain.authority(), "{filled}");
    assert_eq!(shape(&filled), shape(&plain), "{filled}");
    let text = std::str::from_utf8(url).unwrap_or_default();
    let text = text.split('?').next().unwrap_or_default();
    for (place, segment) in text.split('/').skip(3).zip(filled.path().split('/').skip(1)) {
        assert!(segment != "." && segment != ".." || !place.contains('{'), "{filled} steps in the path");
        if place == "{key}" {
            let decoded: Vec<u8> = percent_decode_str(segment).collect();
            assert_eq!(decoded, key.as_bytes());
        }
    }
    true
}

/// How many segments and parameters a URL has, and what these are called.
fn shape(url: &Uri) -> (usize, Vec<String>) {
    let pairs = url.query().unwrap_or_default().split('&');
    let names = pairs.map(|pair| pair.split('=').next().unwrap_or_default().to_owned());
    (url.path().split('/').count(), names.collect())
}
