//! Installs Debian packages that are missing, without letting them start their services.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::tools::host;
use crate::tools::run;

/// Debian asks this file whether an installed package may start its service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Ours says never. The second line tells it from others', should an interrupted install have left it behind.
const NEVER: &str = "#!/bin/sh\n# Written by `cargo xtask` while it installs packages.\nexit 101\n";

/// A Debian package, how to see that it is not needed, and what for.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// A program's name, or an absolute path, that is there once the package is.
    pub(crate) probe: &'static str,
    pub(crate) why: &'static str,
}

/// Installs those packages whose probe is missing; says which and why, and returns their names.
///
/// # Errors
/// When something is missing and this is not root, not a system with apt, or apt fails.
pub(crate) fn ensure(packages: &[Package], progress: &Progress) -> Result<Vec<&'static str>> {
    let missing: Vec<&Package> =
        packages.iter().filter(|package| host::find_program(package.probe).is_none()).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&'static str> = missing.iter().map(|package| package.name).collect();
    if host::find_program("apt-get").is_none() {
        let wanted: Vec<String> =
            missing.iter().map(|package| format!("{} ({})", package.probe, package.why)).collect();
        bail!(
            "missing here, and there is no apt-get to install it: {}. Install it as this system does",
            wanted.join(", ")
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "missing here: {0}. Install with `sudo apt-get install {1}`",
            names.join(", "),
            names.join(" ")
        );
    }
    progress.step(&format!("installing {} Debian packages", missing.len()), || {
        for package in &missing {
            progress.say(&format!("{}: {}", package.name, package.why));
        }
        let _no_services = ServicesStayStopped::new()?;
        run::output(apt_get().arg("update"))?;
        run::output(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&names))?;
        match missing.iter().find(|package| host::find_program(package.probe).is_none()) {
            None => Ok(names),
            Some(package) => {
                bail!("package {} is installed but {} is still not there", package.name, package.probe)
            }
        }
    })
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // For needrestart, which would otherwise ask or restart services by itself.
        .env("NEEDRESTART_MODE", "l")
        // Another install may be running: wait for it instead of failing.
        .args(["-qq", "-o", "DPkg::Lock::Timeout=300"]);
    command
}

/// While it lives, installing a package starts no service (etcd and containerd would). A policy that was there stays.
struct ServicesStayStopped {
    ours: bool,
}

impl ServicesStayStopped {
    fn new() -> Result<Self> {
        let created = fs::File::options().write(true).create_new(true).open(POLICY);
        match created {
            Ok(mut file) => {
                let guard = Self { ours: true };
                std::io::Write::write_all(&mut file, NEVER.as_bytes())
                    .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
                    .with_context(|| format!("could not write {POLICY}"))?;
                Ok(guard)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok(Self { ours: fs::read_to_string(POLICY).is_ok_and(|text| text == NEVER) })
            }
            Err(error) => Err(error).with_context(|| format!("could not create {POLICY}")),
        }
    }
}

impl Drop for ServicesStayStopped {
    fn drop(&mut self) {
        if self.ours && Path::new(POLICY).exists() {
            // Nothing to do about a failure here but to say so: the install itself is over.
            if let Err(error) = fs::remove_file(POLICY) {
                eprintln!("warning: could not remove {POLICY} ({error}); remove it by hand");
            }
        }
    }
}

/// Keeps services of packages that were just installed from starting with the machine.
///
/// # Errors
/// When systemd runs here and refuses.
pub(crate) fn disable_services(names: &[&str]) -> Result<()> {
    if names.is_empty() || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    run::output(Command::new("systemctl").args(["disable", "--quiet"]).args(names)).map(|_| ())
}
