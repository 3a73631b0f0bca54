//! Images are pushed to a real registry, and what comes back from there is what was built.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::images::{build, push};
use crate::progress::Progress;
use crate::tools::{self, run};

/// How long the registry may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// A registry on this machine, ended and forgotten with this.
struct Registry {
    child: Child,
    address: SocketAddr,
}

impl Registry {
    fn start(folder: &Path) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let configuration = folder.join("registry.yml");
        let storage = folder.join("storage");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            storage.display()
        );
        fs::write(&configuration, text)?;
        let log = fs::File::create(folder.join("registry.log"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting docker-registry")?;
        let mut registry = Registry { child, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = registry.child.try_wait()? {
                bail!("it ended: {status}; {}", run::last_lines(&folder.join("registry.log"), 5));
            }
            if started.elapsed() > PATIENCE {
                bail!("it does not listen; {}", run::last_lines(&folder.join("registry.log"), 5));
            }
            thread::sleep(PAUSE);
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Pushes every image under a tag, and looks at what the registry has.
///
/// # Errors
/// When one is not there, or is another.
pub(crate) fn run(progress: &Progress) -> Result<()> {
    tools::ensure_registry(progress)?;
    tools::ensure_skopeo(progress)?;
    let folder = tempfile::tempdir()?;
    let registry = progress.step("starting a registry", || Registry::start(folder.path()))?;
    let archives = build::archives(&build::RECIPES, progress)?;
    let images =
        push::to_registry(&archives, &format!("{}/team", registry.address), Some("0.1.0"), progress)?;
    progress.step("what the registry has is what was built", || {
        for image in [images.node, images.operator, images.unicode_loader, images.ctl] {
            let name = image.repository.rsplit('/').next().unwrap_or_default();
            let built = archives.get(name).with_context(|| format!("{name} was built"))?;
            let from = format!("docker://{image}");
            let format = ["--format", "{{.Digest}}", "--tls-verify=false"];
            let digest = run::output(push::skopeo("inspect", &format).arg(&from))?;
            if digest.trim() != built.digest {
                bail!("{image} has the digest {}, not {}", digest.trim(), built.digest);
            }
            // All of it can be read back.
            let to = format!("oci-archive:{}", folder.path().join(format!("{name}.tar")).display());
            run::output(push::skopeo("copy", &["--quiet", "--src-tls-verify=false"]).args([from, to]))?;
        }
        Ok(())
    })
}
