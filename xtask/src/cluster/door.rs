//! Carries TCP connections from a listener that it inherits to one address: the host's way to the API server.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};

/// Connections at a time; each holds two threads. kubectl, helm and a test run use a few dozen.
const MOST_CONNECTIONS: usize = 512;
/// Copying needs little stack.
const STACK_BYTES: usize = 64 * 1024;

/// Accepts connections on standard input, which is a listening socket, and carries them to `target` until it is killed.
///
/// # Errors
/// When standard input is not a listening socket.
pub(crate) fn serve(target: &str) -> Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener
        .local_addr()
        .context("standard input is not a listening socket; `cluster up` starts this command")?;
    let open = Arc::new(AtomicUsize::new(0));
    for caller in listener.incoming() {
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => {
                // For example out of descriptors: others may end soon.
                eprintln!("could not accept: {error}");
                thread::sleep(std::time::Duration::from_millis(100));
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
            eprintln!("{MOST_CONNECTIONS} connections are open: one more was refused");
            continue;
        }
        let (target, open) = (target.to_owned(), Arc::clone(&open));
        open.fetch_add(1, Ordering::Relaxed);
        let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn({
            let open = Arc::clone(&open);
            move || {
                if let Err(error) = carry(&caller, &target) {
                    eprintln!("{target}: {error}");
                }
                open.fetch_sub(1, Ordering::Relaxed);
            }
        });
        if let Err(error) = worker {
            open.fetch_sub(1, Ordering::Relaxed);
            eprintln!("could not start a thread: {error}");
        }
    }
    Ok(())
}

fn carry(caller: &TcpStream, target: &str) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    for stream in [caller, &server] {
        stream.set_nodelay(true)?;
    }
    thread::scope(|scope| {
        let up =
            thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || pour(caller, &server))?;
        pour(&server, caller);
        up.join().ok();
        Ok(())
    })
}

/// Copies until one side ends, then tells the other. A reset is an end like any other here.
fn pour(mut from: &TcpStream, mut to: &TcpStream) {
    io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Write).ok();
    from.shutdown(Shutdown::Read).ok();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_back_and_ends_pass_through() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = server.local_addr().unwrap().to_string();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut caller = TcpStream::connect(front.local_addr().unwrap()).unwrap();
        let (inner, _) = front.accept().unwrap();
        let carrier = thread::spawn(move || carry(&inner, &target));
        let (mut served, _) = server.accept().unwrap();

        caller.write_all(b"question").unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        let mut question = String::new();
        served.read_to_string(&mut question).unwrap();
        served.write_all(b"answer").unwrap();
        drop(served);
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();

        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        carrier.join().unwrap().unwrap();
    }
}
