//! The HTTP door: the same rows in HTTP's words, and keys that are awkward in a path.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Cluster, Source, http, put, users, value};

#[tokio::test]
async fn each_bad_input_gets_its_problem() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let address = cluster.nodes[0].data;
    let long = format!("/v1/groups/users/keys/{}", "x".repeat(2048));
    for (method, path, status, kind) in [
        ("GET", "/v1/groups/users/keys/", 400, "bad-key"),
        ("GET", long.as_str(), 400, "bad-key"),
        ("GET", "/v1/groups/nope/keys/k", 400, "unknown-group"),
        ("GET", "/v1/groups/a%20b/keys/k", 400, "bad-request"),
        ("GET", "/v1/groups/users", 400, "bad-request"),
        ("GET", "/v1/groups/users/keys/k?x=1", 400, "bad-request"),
        ("GET", "/v1/groups/users/keys/100%", 400, "bad-request"),
        ("GET", "/v1/groups/users/keys/none", 404, "no-such-key"),
        ("GET", "/v1/groups/users/keys/fail", 502, "loader-failed"),
        ("DELETE", "/v1/groups/nope/keys/k", 400, "unknown-group"),
        ("DELETE", "/v1/groups/nope/keys", 400, "unknown-group"),
        ("PUT", "/v1/groups/nope/keys/k", 400, "unknown-group"),
        ("PUT", "/v1/groups/users/keys/", 400, "bad-key"),
        ("GET", "/v1/groups/users/keys", 405, "method"),
        ("PUT", "/v1/groups/users/keys", 405, "method"),
        ("POST", "/v1/groups/users/keys/k", 405, "method"),
        ("GET", "/elsewhere", 404, "path"),
    ] {
        let answer = http(address, method, path, "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{method} {path}: {answer}");
        assert!(
            answer.contains(&format!("\"https://groupcache.dev/problems/{kind}\"")),
            "{method} {path}: {answer}"
        );
    }
    let answer = http(address, "POST", "/v1/groups/users/keys/k", "content-length: 0\r\n").await;
    assert!(answer.contains("allow: GET, HEAD, PUT, DELETE\r\n"), "{answer}");
    let answer = http(address, "HEAD", "/v1/groups/users/keys", "").await;
    assert!(answer.contains("allow: DELETE\r\n"), "{answer}");
    for nonsense in ["soon", "-1", "+5", "1.5", "", "99999999999999999999999"] {
        let header = format!("groupcache-timeout-ms: {nonsense}\r\n");
        let answer = http(address, "GET", "/v1/groups/users/keys/k", &header).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("/bad-request"), "{answer}");
        assert!(answer.contains("whole milliseconds"), "{answer}");
        for header in ["groupcache-ttl-ms", "groupcache-source-version"] {
            let answer =
                put(address, "/v1/groups/users/keys/k", &format!("{header}: {nonsense}\r\n"), b"v").await;
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(header), "{answer}");
        }
    }
    for (header, status) in [
        ("content-encoding: gzip", 415),
        ("content-encoding: identity", 204),
        ("content-range: bytes 0-0/2", 400),
        ("if-match: *", 400),
        ("if-none-match: *", 400),
    ] {
        let answer = put(address, "/v1/groups/users/keys/other", &format!("{header}\r\n"), b"v").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{header}: {answer}");
    }
    let answer = http(address, "GET", "/v1/groups/users/keys/slow", "groupcache-timeout-ms: 100\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

#[tokio::test]
async fn too_many_loads_are_told_when_to_come_back() {
    let source = Source::start().await;
    let mut configuration = users(source.address);
    configuration.loaders[0].max_in_flight = 1;
    configuration.loaders[0].queue_timeout_ms = 20;
    let cluster = Cluster::start(1, configuration).await;
    let address = cluster.nodes[0].data;
    let held = tokio::spawn(async move { http(address, "GET", "/v1/groups/users/keys/slow-1", "").await });
    source.begun.acquire().await.unwrap().forget();
    let answer = http(address, "GET", "/v1/groups/users/keys/slow-2", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    source.go.add_permits(1);
    assert!(held.await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn awkward_keys_are_keys_like_others() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let address = cluster.nodes[0].data;
    for (path, key) in [
        (".", "."),
        ("..", ".."),
        ("../../x", "../../x"),
        ("%2F", "/"),
        ("//a//", "//a//"),
        ("a+b", "a+b"),
        ("a%2Bb%20c", "a+b c"),
        ("%2e%2E", ".."),
        ("%C3%BC", "ü"),
        ("keys/keys/", "keys/keys/"),
    ] {
        let answer = http(address, "GET", &format!("/v1/groups/users/keys/{path}"), "").await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(body, key, "{path}: {answer}");
    }
}

#[tokio::test]
async fn answers_carry_what_a_client_needs_to_ask_again() {
    let source = Source::start().await;
    let cluster = Cluster::start(2, users(source.address)).await;
    let (a, b) = (cluster.nodes[0].data, cluster.nodes[1].data);
    let path = "/v1/groups/users/keys/page";
    source.put("page", "one");
    let answer = http(a, "GET", path, "").await;
    for header in
        ["age: 0", "cache-control: no-cache", "content-type: application/octet-stream", "content-length: 3"]
    {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    let tag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let again = http(b, "GET", path, &format!("if-none-match: {tag}\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 304 "), "{again}");
    let head = http(a, "HEAD", path, "").await;
    assert!(head.contains("content-length: 3") && head.ends_with("\r\n\r\n"), "{head}");

    source.put("page", "two");
    assert!(http(b, "DELETE", path, "").await.starts_with("HTTP/1.1 204 "));
    for node in [a, b] {
        let answer = http(node, "GET", path, &format!("if-none-match: {tag}\r\n")).await;
        assert!(answer.ends_with("two"), "{answer}");
    }
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_however_its_length_is_told() {
    let source = Source::start().await;
    let mut configuration = users(source.address);
    configuration.groups[0].max_value_bytes = 1000;
    let cluster = Cluster::start(1, configuration).await;
    let (address, path) = (cluster.nodes[0].data, "/v1/groups/users/keys/k");
    assert!(put(address, path, "", &[b'x'; 1000]).await.starts_with("HTTP/1.1 204 "));
    // Much larger than what a socket holds: a client that is not read on would see its connection break.
    for value in [vec![b'x'; 1001], vec![b'x'; 6 << 20]] {
        let answer = put(address, path, "", &value).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("/value-too-large") && answer.contains("1000 bytes"), "{answer}");
    }
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let chunked = "transfer-encoding: chunked\r\nconnection: close\r\nhost: x\r\n\r\n";
    for (chunks, status) in [(2, 204), (3, 413), (4000, 413)] {
        let request = format!("PUT {path} HTTP/1.1\r\n{chunked}{}0\r\n\r\n", chunk.repeat(chunks));
        let answer = crate::support::raw(address, request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{chunks}: {answer}");
    }
    assert_eq!(value(&cluster.nodes[0], "k").await.len(), 1000);
}

/// Turned red by: a body that is read before it is known whether it is wanted.
#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_yes_or_no() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let ask = async |group: &str, length: usize| {
        let mut stream = TcpStream::connect(cluster.nodes[0].data).await.unwrap();
        let head = format!(
            "PUT /v1/groups/{group}/keys/k HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut said = [0; 12];
        stream.read_exact(&mut said).await.unwrap();
        (String::from_utf8_lossy(&said).into_owned(), stream)
    };
    assert_eq!(ask("users", 2 << 20).await.0, "HTTP/1.1 413");
    assert_eq!(ask("nope", 5).await.0, "HTTP/1.1 400");
    let (said, mut stream) = ask("users", 5).await;
    assert_eq!(said, "HTTP/1.1 100");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = vec![0; 64];
    let mut read = stream.read(&mut answer).await.unwrap();
    while !String::from_utf8_lossy(&answer[..read]).contains("HTTP/1.1 204") {
        read += stream.read(&mut answer[read..]).await.unwrap();
    }
    assert_eq!(value(&cluster.nodes[0], "k").await, "hello");
}
