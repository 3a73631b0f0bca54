//! `cargo xtask cluster`: the command line of local clusters.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::cluster::{Cluster, DEFAULT_NAME, door, registry, status};
use crate::output::Output;
use crate::progress::Progress;
use crate::tools::run;

/// What to do with a local cluster.
#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start a cluster, or find it started; installs what is missing
    Up {
        #[command(flatten)]
        which: Which,
        /// How many nodes a new cluster gets [default: 2]
        #[arg(long)]
        nodes: Option<u8>,
    },
    /// Stop a cluster and remove every trace of it, also after a crash
    Down {
        #[command(flatten)]
        which: Which,
        /// Leave its logs where they are
        #[arg(long)]
        keep_logs: bool,
    },
    /// Start again those programs of a cluster that have ended, say a kubelet; pods run on
    Mend {
        #[command(flatten)]
        which: Which,
    },
    /// Tell how a cluster is; fails unless it is ready
    Status {
        #[command(flatten)]
        which: Which,
        /// For people or for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Cut a node off the network
    CutOff {
        #[command(flatten)]
        which: Which,
        /// For example node-2
        node: String,
    },
    /// Put a node back on the network
    Reconnect {
        #[command(flatten)]
        which: Which,
        /// For example node-2
        node: String,
    },
    /// Run kubectl on the cluster
    Kubectl {
        #[command(flatten)]
        which: Which,
        /// Its arguments, after `--`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Run Helm on the cluster
    Helm {
        #[command(flatten)]
        which: Which,
        /// Its arguments, after `--`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Run a program where addresses of pods and Services can be reached
    Run {
        #[command(flatten)]
        which: Which,
        /// The program and its arguments, after `--`
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Carry connections from the host to the API server; started by `up`
    #[command(hide = true)]
    HostDoor {
        /// Address and port of the API server
        target: String,
    },
}

/// Which cluster is meant.
#[derive(Args)]
pub(crate) struct Which {
    /// The cluster's name
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
}

/// Does what the command line says.
///
/// # Errors
/// When it cannot be done.
pub(crate) fn run(command: ClusterCommand, progress: &Progress) -> Result<()> {
    match command {
        ClusterCommand::Up { which, nodes } => {
            let cluster = Cluster::up(&which.name, nodes, progress)?;
            print!("{}", status::look(&which.name, progress)?.text()?);
            println!("  to use it:  {}", cluster.shell_setup());
            Ok(())
        }
        ClusterCommand::Down { which, keep_logs } => Cluster::down(&which.name, keep_logs, progress),
        ClusterCommand::Mend { which } => {
            match Cluster::mend(&which.name, progress)?.as_slice() {
                [] => progress.say("nothing had ended"),
                started => progress.say(&format!("started again: {}", started.join(", "))),
            }
            Ok(())
        }
        ClusterCommand::Status { which, output } => {
            let status = status::look(&which.name, progress)?;
            print!("{}", if output == Output::Json { status.json()? + "\n" } else { status.text()? });
            if status.is_ready() {
                return Ok(());
            }
            match registry::names().as_slice() {
                [] => bail!("cluster {} is not ready", which.name),
                names => bail!("cluster {} is not ready; on this machine: {}", which.name, names.join(", ")),
            }
        }
        ClusterCommand::CutOff { which, node } => Cluster::find(&which.name, progress)?.cut_off(&node),
        ClusterCommand::Reconnect { which, node } => Cluster::find(&which.name, progress)?.reconnect(&node),
        ClusterCommand::Run { which, command } => {
            let cluster = Cluster::find(&which.name, progress)?;
            let Some((program, arguments)) = command.split_first() else { bail!("no program given") };
            run::with_users_terminal(cluster.inside(program).args(arguments))
        }
        ClusterCommand::Kubectl { which, arguments } => {
            run::with_users_terminal(Cluster::find(&which.name, progress)?.kubectl().args(arguments))
        }
        ClusterCommand::Helm { which, arguments } => {
            run::with_users_terminal(Cluster::find(&which.name, progress)?.helm().args(arguments))
        }
        ClusterCommand::HostDoor { target } => door::serve(&target),
    }
}
