//! A source of truth for the checker: an HTTP loader that answers each key's counter as it stood when the load came.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// Serves until the process ends: one thread a connection, and nodes hold few of them.
#[derive(Clone, Debug)]
pub struct CountingSource {
    /// Where nodes ask: `http://<address>/{key}`.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    counters: Mutex<HashMap<String, u64>>,
    loads: AtomicU64,
    /// What a load takes, in milliseconds.
    delay_ms: AtomicU64,
    /// How many digits an answer has at least.
    width: AtomicUsize,
    mood: Mutex<Mood>,
}

/// How the source behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers, after its delay.
    #[default]
    Answers,
    /// It drops every connection without a word.
    Down,
    /// It begins a body that never ends, as fast as anyone reads.
    Endless,
    /// It dies in the middle of an answer: in turn in its head, in a body of known length, and in one of chunks.
    Panicking,
}

impl CountingSource {
    /// Starts it; a load takes `delay`.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(delay: Duration) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), delay)
    }

    /// Starts it at an address of this machine.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start_at(address: IpAddr, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).context("a port for the source")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            counters: Mutex::default(),
            loads: AtomicU64::new(0),
            delay_ms: AtomicU64::new(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            width: AtomicUsize::new(0),
            mood: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Ok(Self { address, shared })
    }

    /// Where a loader of the kind `http` finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{{key}}", self.address)
    }

    /// Changes a key; answers its new counter.
    #[must_use]
    pub fn bump(&self, key: &str) -> u64 {
        let mut counters = self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(key.to_owned()).or_default();
        *counter += 1;
        *counter
    }

    /// Loads that have come so far.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.shared.loads.load(Ordering::Relaxed)
    }

    /// How it behaves from now on.
    pub fn set_mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// How many digits an answer has at least from now on: zeros before the counter.
    pub fn set_width(&self, digits: usize) {
        self.shared.width.store(digits, Ordering::Relaxed);
    }

    /// What a load takes from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut answers = stream.try_clone()?;
        let mut lines = BufReader::new(stream).lines();
        while let Some(request) = lines.next() {
            let request = request?;
            // The head ends with an empty line; a GET has no body.
            for line in lines.by_ref() {
                if line?.is_empty() {
                    break;
                }
            }
            let key = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let load = self.loads.fetch_add(1, Ordering::Relaxed);
            let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
            match mood {
                Mood::Answers => {}
                Mood::Down => return Ok(()),
                Mood::Endless => return endless(&mut answers),
                Mood::Panicking => {
                    let half = HALVES[usize::try_from(load)? % HALVES.len()];
                    return Ok(answers.write_all(half.as_bytes())?);
                }
            }
            let counter = {
                let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
                counters.get(&key).copied().unwrap_or(0)
            };
            // Time itself is what is asked for here: a source is as slow as it is told to be.
            thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed)));
            let body = format!("{counter:0width$}", width = self.width.load(Ordering::Relaxed));
            write!(answers, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        }
        Ok(())
    }
}

/// Where a server that panics may leave off. What it sent would be values of their own if half of one were taken for the whole.
const HALVES: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Le",
    "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n1234",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
];

/// Until the reader has had enough.
fn endless(answers: &mut TcpStream) -> Result<()> {
    answers.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b'x');
    chunk.extend(b"\r\n");
    loop {
        answers.write_all(&chunk)?;
    }
}
