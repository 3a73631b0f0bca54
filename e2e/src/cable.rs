//! A cable to a port that can be cut: while it is, what is sent through it goes nowhere and nobody is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// How soon a cut, or its end, is noticed on a quiet connection.
const GLANCE: Duration = Duration::from_millis(20);
/// A port on this machine is reached at once, or not at all.
const CONNECT: Duration = Duration::from_secs(1);

/// Forwards connections to a port, as long as it is whole.
#[derive(Clone, Debug)]
pub struct Cable {
    /// Where to connect instead of the port itself.
    pub address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Cable {
    /// A cable to `port`; it lies there until the process ends.
    ///
    /// # Errors
    /// When there is no free port for its near end.
    pub fn to(port: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for a cable")?;
        let cable = Self { address: listener.local_addr()?, cut: Arc::default() };
        let cut = Arc::clone(&cable.cut);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let cut = Arc::clone(&cut);
                thread::spawn(move || join(&near, port, &cut).ok());
            }
        });
        Ok(cable)
    }

    /// Cuts it: nothing that is sent arrives any more, in neither direction, and no connection ends.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Mends it. Connections that were cut end; new ones go through.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn join(near: &TcpStream, port: SocketAddr, cut: &Arc<AtomicBool>) -> Result<()> {
    // Whoever connects while it is cut waits until it is mended, and is then cut off.
    if cut.load(Ordering::SeqCst) {
        while cut.load(Ordering::SeqCst) {
            thread::sleep(GLANCE);
        }
        return Ok(());
    }
    // A node that is not there refuses; so does the cable.
    let far = TcpStream::connect_timeout(&port, CONNECT)?;
    let back = (far.try_clone()?, near.try_clone()?);
    let cut_back = Arc::clone(cut);
    thread::spawn(move || forward(&back.0, &back.1, &cut_back).ok());
    forward(near, &far, cut)
}

/// Forwards one direction until it ends, or until a cut is over.
fn forward(mut from: &TcpStream, mut to: &TcpStream, cut: &AtomicBool) -> Result<()> {
    from.set_read_timeout(Some(GLANCE))?;
    to.set_nodelay(true)?;
    let mut bytes = vec![0; 64 * 1024];
    let mut was_cut = false;
    let end = loop {
        let read = from.read(&mut bytes);
        let is_cut = cut.load(Ordering::SeqCst);
        was_cut |= is_cut;
        if was_cut && !is_cut {
            break Ok(());
        }
        match read {
            Ok(0) if !was_cut => break Ok(()),
            Ok(read) if !was_cut => {
                if let Err(error) = to.write_all(&bytes[..read]) {
                    break Err(error);
                }
            }
            // Lost, like everything while it is cut.
            Ok(_) => thread::sleep(GLANCE),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) if was_cut => thread::sleep(GLANCE),
            Err(error) => break Err(error),
        }
    };
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
    Ok(end?)
}
