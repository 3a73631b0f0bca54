//! The little HTTP that a scenario needs: one request on one connection, as curl would send it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// Nothing that a scenario asks for takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines, as they came.
    pub headers: String,
    /// The body; chunks are put together.
    pub body: String,
}

/// Sends a request without a body.
///
/// # Errors
/// When there is no connection or no HTTP answer.
pub fn send(method: &str, address: SocketAddr, target: &str) -> Result<Answer> {
    send_body(method, address, target, "")
}

/// Sends a request.
///
/// # Errors
/// When there is no connection or no HTTP answer.
pub fn send_body(method: &str, address: SocketAddr, target: &str, body: &str) -> Result<Answer> {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let bytes =
        exchange(address, request.as_bytes()).with_context(|| format!("{method} {address}{target}"))?;
    parse(&String::from_utf8_lossy(&bytes)).with_context(|| format!("{method} {address}{target}"))
}

/// Sends a GET that is given up after `limit`.
///
/// # Errors
/// When there is no connection or no whole answer by then.
pub fn get_within(address: SocketAddr, target: &str, limit: Duration) -> Result<Answer> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("GET {address}{target}"))
}

/// Sends bytes, whatever they are, says that no more will come, and returns what comes back.
///
/// # Errors
/// When there is no connection.
pub fn exchange_and_leave(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // Whoever sees garbage early may close before it has come whole.
    stream.write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    Ok(answer)
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    // A reset is an answer too: what came before it counts.
    stream.read_to_end(&mut answer).ok();
    Ok(answer)
}

fn parse(text: &str) -> Result<Answer> {
    let (headers, body) = text.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {text:?}"))?;
    let status = headers.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {headers:?}"))?;
    let chunked = headers.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Ok(Answer { status, headers: headers.to_owned(), body })
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = after.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        body.push_str(chunk);
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_and_in_chunks() {
        let whole = parse("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").unwrap();
        let chunked =
            parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nCR\r\n2\r\nAB\r\n0\r\n\r\n")
                .unwrap();

        assert_eq!((whole.status, whole.body.as_str()), (404, "no"));
        assert_eq!((chunked.status, chunked.body.as_str()), (200, "CRAB"));
    }
}
