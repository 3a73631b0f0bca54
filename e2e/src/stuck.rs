//! A write to the API server that hangs on its way: sent by a pod, lost by its machine until it is let go.
//!
//! Kernels tell a pod's requests apart by nothing but their size: they are encrypted. So from the first large one on a connection, everything that carries
//! anything is lost there, and the pod's kernel sends it again and again. What is small, and what comes the other way, arrives: Leases, reads, events of watches.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::lan;
use crate::machines::Machines;
use crate::program;
use crate::stopped;
use crate::wait::{self, Seen};

/// Bytes from which on a packet is a large request: a renewed Lease has 1,995, and two full segments that the pod's kernel hands on as one have 2,948.
const LARGE: u64 = 2600;
/// Bytes up to which a packet carries nothing: its headers alone, all options included.
const EMPTY: u64 = 80;
/// Our bit of a connection's mark.
const MARK: &str = "0x20000000/0x20000000";
/// Where pods find the API server.
const PORT: &str = "443";
const LIMIT: Duration = Duration::from_secs(30);

/// Large requests of one pod that are lost. They arrive when this is dropped, as soon as its kernel sends them again.
#[derive(Debug)]
pub struct Stuck {
    /// The network of the pod's machine.
    namespace: String,
    pod: IpAddr,
}

impl Stuck {
    /// Loses what a pod on this machine sends to the API server from its next large request on.
    ///
    /// # Errors
    /// When the packet filter refuses.
    pub fn large_requests(machines: &Machines, machine: &str, pod: IpAddr) -> Result<Self> {
        // From here on they are let go whatever fails.
        let stuck = Self { namespace: machines.network_of(machine), pod };
        // The last one that is inserted is the first one that is asked.
        stuck.filter("--insert", &stuck.loses())?;
        stuck.filter("--insert", &stuck.marks())?;
        Ok(stuck)
    }

    /// Waits until the process that was told this variable has sent such a request and its kernel sends it again; answers how many bytes wait.
    ///
    /// # Errors
    /// When it sends none.
    pub fn wait(&self, variable: &str) -> Result<u64> {
        let pid = stopped::pid_in_container(variable)?;
        wait::until(&format!("a large request of {} that hangs", self.pod), LIMIT, || {
            let mut look = Command::new(lan::found("nsenter"));
            look.arg(format!("--net=/proc/{pid}/ns/net")).args(["--", "ss", "-Hnto", "state", "established"]);
            let said = program::output(&mut look, None)?;
            Ok(said.lines().find_map(hanging).map_or_else(|| Seen::NotYet(said.clone()), Seen::Reached))
        })
    }

    fn marks(&self) -> Vec<String> {
        let is_large = format!("--match length --length {LARGE}: --jump CONNMARK --set-xmark {MARK}");
        self.rule(&format!("--match conntrack --ctorigdstport {PORT} {is_large}"))
    }

    fn loses(&self) -> Vec<String> {
        self.rule(&format!(
            "--match connmark --mark {MARK} --match length --length {}: --jump DROP",
            EMPTY + 1
        ))
    }

    fn rule(&self, rest: &str) -> Vec<String> {
        let rule = format!("FORWARD --source {} --protocol tcp {rest}", self.pod);
        rule.split(' ').map(str::to_owned).collect()
    }

    fn filter(&self, how: &str, rule: &[String]) -> Result<()> {
        let mut command = lan::inside(&self.namespace, "iptables");
        program::output(command.args(["--wait", how]).args(rule), None).map(drop)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        for rule in [self.marks(), self.loses()] {
            if let Err(error) = self.filter("--delete", &rule) {
                eprintln!("warning: requests of {} are still lost ({error:#})", self.pod);
            }
        }
    }
}

/// The bytes that wait at a connection, if it is a large request that was sent more than once: one line of `ss`.
fn hanging(line: &str) -> Option<u64> {
    let (connection, timer) = line.split_once("timer:(on,")?;
    let sent_again = timer.split_once(')')?.0.rsplit(',').next()?.parse::<u64>().ok()?;
    let mut words = connection.split_whitespace();
    let waits = words.nth(1)?.parse().ok()?;
    let peer = words.nth(1)?;
    (sent_again > 0 && waits >= LARGE && peer.ends_with(&format!(":{PORT}"))).then_some(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_hangs_when_its_bytes_wait_and_were_sent_again() {
        let line = |waits: u64, timer: &str| format!("0 {waits} 10.112.1.9:41724 10.144.0.1:443 {timer}");

        assert_eq!(hanging(&line(6400, "timer:(on,1.2sec,3)")), Some(6400));
        assert_eq!(hanging(&line(6400, "timer:(on,200ms,0)")), None, "it was sent once");
        assert_eq!(hanging(&line(900, "timer:(on,1.2sec,3)")), None, "a small one");
        assert_eq!(hanging(&line(0, "timer:(keepalive,10sec,0)")), None, "nothing waits");
        assert_eq!(hanging(&line(6400, "timer:(on,1.2sec,3)").replace(":443 ", ":8081 ")), None, "to a node");
    }
}
