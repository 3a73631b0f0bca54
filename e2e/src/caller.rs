//! A caller that keeps its connection: small HTTP requests one after the other, as an application sends them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longer than any deadline that a caller gives.
const LIMIT: Duration = Duration::from_secs(35);
/// A node on this machine is reached at once or not at all; where its queue of new connections is full, the system tries again after one second and after three.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a node is. A node that is replaced has another address: whoever holds a copy of this learns of it.
#[derive(Clone, Debug)]
pub struct Address(Arc<Mutex<SocketAddr>>);

impl Address {
    /// Where it is now.
    #[must_use]
    pub fn now(&self) -> SocketAddr {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is somewhere else from now on; connections that are open stay.
    pub fn moves_to(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(address)))
    }
}

/// One connection to one node, made anew after it broke.
#[derive(Debug)]
pub struct Caller {
    address: Address,
    stream: Option<BufReader<TcpStream>>,
}

impl Caller {
    /// Calls this node.
    #[must_use]
    pub fn of(address: impl Into<Address>) -> Self {
        Self { address: address.into(), stream: None }
    }

    /// Sends a request without a body, with time for the answer; answers status and body.
    ///
    /// # Errors
    /// When the node cannot be reached or breaks off.
    pub fn call(&mut self, method: &str, target: &str, time: Duration) -> Result<(u16, String)> {
        let answer = self.exchange(method, target, time);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn exchange(&mut self, method: &str, target: &str, time: Duration) -> Result<(u16, String)> {
        let address = self.address.now();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect_timeout(&address, CONNECT)
                    .with_context(|| format!("connecting to {address}"))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(LIMIT))?;
                none.insert(BufReader::new(stream))
            }
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\ngroupcache-timeout-ms: {}\r\n\r\n",
            time.as_millis()
        );
        stream.get_mut().write_all(head.as_bytes())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.with_context(|| format!("no status in {line:?}"))?;
        let (mut length, mut closes) = (0, false);
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                bail!("the connection ended in the head of an answer");
            }
            let text = line.trim().to_ascii_lowercase();
            if text.is_empty() {
                break;
            }
            if let Some(said) = text.strip_prefix("content-length:") {
                length = said.trim().parse()?;
            }
            closes |= text == "connection: close";
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if closes {
            self.stream = None;
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
