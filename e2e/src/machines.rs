//! The local cluster from within: the network that its machines hang on.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::lan;
use crate::program;
use crate::settings;

/// The bridge in the control plane's network; each machine's link is a port of it, with the machine's name.
const BRIDGE: &str = "nodes";
/// The end of the name of that network; a machine's ends with the machine's name instead.
const CENTER: &str = "control-plane";

/// The network in the middle of the cluster: pods, Services and machines can be reached from there, and it hangs on no machine.
#[derive(Clone, Debug)]
pub struct Machines {
    namespace: String,
}

impl Machines {
    /// Those of the cluster that the scenarios run on.
    ///
    /// # Errors
    /// When the scenarios were not started by `cargo xtask test`.
    pub fn of_the_cluster() -> Result<Self> {
        Ok(Self { namespace: settings::text("NETWORK")? })
    }

    /// Where pods reach what listens in this network.
    ///
    /// # Errors
    /// When `ip` does not tell.
    pub fn address(&self) -> Result<IpAddr> {
        let said = lan::ip(["-n", &self.namespace, "-4", "-o", "address", "show", "dev", BRIDGE])?;
        let address = said.split("inet ").nth(1).and_then(|rest| rest.split('/').next());
        address.with_context(|| format!("no address in {said:?}"))?.parse().context("`ip` names an address")
    }

    /// Does something inside the network; threads that it starts stay there.
    ///
    /// # Errors
    /// When the network cannot be entered, or what is done fails.
    pub fn visit<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        // A thread of its own: there is no way back, and kubectl needs the host's network.
        thread::scope(|scope| {
            let visitor = scope.spawn(|| lan::enter(&self.namespace).and_then(|()| act()));
            visitor.join().map_err(|_| anyhow!("whoever visited the cluster's network panicked"))?
        })
    }

    /// A command that runs a program inside the network.
    #[must_use]
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        lan::inside(&self.namespace, program)
    }

    /// Cuts a machine off the network until what comes back is dropped: it and its pods run on, nobody reaches them.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn cut_off(&self, machine: &str) -> Result<CutOff> {
        self.set_link(machine, "down")?;
        Ok(CutOff { machines: self.clone(), machine: machine.to_owned() })
    }

    /// Loses every readiness probe of these pods on its way until what comes back is dropped; everything else reaches them.
    ///
    /// # Errors
    /// When the packet filter refuses.
    pub fn without_readiness_probes(&self, pods: &[IpAddr]) -> Result<ProbesLost> {
        let machines = settings::text("MACHINES")?;
        let namespaces: Vec<String> = machines.split(' ').map(|machine| self.network_of(machine)).collect();
        // From here on they are removed whatever fails.
        let mut lost = ProbesLost { rules: Vec::new() };
        for namespace in &namespaces {
            for pod in pods {
                let rule = (namespace.clone(), *pod);
                filter("--insert", &rule)?;
                lost.rules.push(rule);
            }
        }
        Ok(lost)
    }

    /// The network namespace of a machine, through which its pods reach everything else.
    #[must_use]
    pub fn network_of(&self, machine: &str) -> String {
        format!("{}{machine}", self.namespace.trim_end_matches(CENTER))
    }

    fn set_link(&self, machine: &str, to: &str) -> Result<()> {
        lan::ip(["-n", &self.namespace, "link", "set", machine, to]).map(drop)
    }
}

/// A machine that is cut off. It is back when this is dropped, also when the scenario fails: others need it.
#[derive(Debug)]
pub struct CutOff {
    machines: Machines,
    machine: String,
}

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Err(error) = self.machines.set_link(&self.machine, "up") {
            eprintln!("warning: {} is still cut off ({error:#}); other scenarios will miss it", self.machine);
        }
    }
}

/// Probes that are lost. They arrive again when this is dropped, also when the scenario fails: others need them.
#[derive(Debug)]
pub struct ProbesLost {
    /// Network namespace and pod.
    rules: Vec<(String, IpAddr)>,
}

impl Drop for ProbesLost {
    fn drop(&mut self) {
        for rule in &self.rules {
            if let Err(error) = filter("--delete", rule) {
                eprintln!("warning: probes of {} are still lost ({error:#})", rule.1);
            }
        }
    }
}

/// Inserts or deletes the rule that loses what a machine's own processes, such as its kubelet, ask for at this path.
fn filter(how: &str, (namespace, pod): &(String, IpAddr)) -> Result<()> {
    let mut command = lan::inside(namespace, "iptables");
    command.args(["--wait", how, "OUTPUT", "--protocol", "tcp", "--destination", &pod.to_string()]);
    command.args(["--match", "string", "--algo", "bm", "--string", "GET /readyz", "--jump", "DROP"]);
    program::output(&mut command, None).map(drop)
}
