//! Builds Kubernetes' programs from pinned Go modules, once per version, into the user's cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::progress::Progress;
use crate::tools::host;
use crate::tools::run;

/// The oldest Go that the pinned modules accept: (major, minor).
const OLDEST_GO: (u32, u32) = (1, 26);

/// One pinned Go module of `xtask/kubernetes/` and the programs that come from it.
pub(crate) struct GoTools {
    /// Folder below `xtask/kubernetes/`, also the name in the cache.
    name: &'static str,
    version: &'static str,
    /// What must be there after a build.
    programs: &'static [&'static str],
    /// Packages of our own beside the module's tools.
    packages: &'static [&'static str],
    /// Linker flags that stamp the version into the programs.
    stamps: &'static [&'static str],
    about: &'static str,
}

/// The version of Kubernetes that local clusters run.
pub(crate) const KUBERNETES_VERSION: &str = "v1.35.4";

pub(crate) const KUBERNETES: GoTools = GoTools {
    name: "kubernetes",
    version: KUBERNETES_VERSION,
    programs: &[
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
        "pause",
    ],
    packages: &["./pause"],
    stamps: &[
        "-X k8s.io/component-base/version.gitVersion=v1.35.4",
        "-X k8s.io/component-base/version.gitMajor=1",
        "-X k8s.io/component-base/version.gitMinor=35",
        "-X k8s.io/client-go/pkg/version.gitVersion=v1.35.4",
    ],
    about: "the control plane, kubelet and kubectl",
};

pub(crate) const COREDNS: GoTools = GoTools {
    name: "coredns",
    version: "v1.14.7",
    programs: &["coredns"],
    packages: &[],
    stamps: &[],
    about: "the cluster's DNS",
};

pub(crate) const HELM: GoTools = GoTools {
    name: "helm",
    version: "v4.2.4",
    programs: &["helm"],
    packages: &[],
    stamps: &["-X helm.sh/helm/v4/internal/version.version=v4.2.4"],
    about: "installs the chart",
};

/// Returns the folder of the built programs, after building them if they are not in the cache.
///
/// # Errors
/// When Go is missing or too old, or the build fails.
pub(crate) fn ensure_built(tools: &GoTools, progress: &Progress) -> Result<PathBuf> {
    let source = host::workspace().join("xtask/kubernetes").join(tools.name);
    let cache = host::cache_folder()?.join("tools");
    let target = cache.join(format!("{}-{}-{}", tools.name, tools.version, fingerprint(tools, &source)?));
    if is_complete(tools, &target) {
        return Ok(target);
    }
    fs::create_dir_all(&cache).with_context(|| format!("could not create {}", cache.display()))?;
    let title = format!("building {} {} ({}), once per version", tools.name, tools.version, tools.about);
    progress.step(&title, || {
        let lock = File::create(cache.join(format!("{}.lock", tools.name)))?;
        lock.lock().context("could not lock the cache folder")?;
        // Another command may have built it while this one waited for the lock.
        if is_complete(tools, &target) {
            return Ok(());
        }
        progress.say(&format!("minutes when the Go cache is cold; kept in {}", target.display()));
        let fresh = tempfile::Builder::new().prefix("building-").tempdir_in(&cache)?;
        build(tools, &source, fresh.path())?;
        publish(tools, &fresh.keep(), &target)
    })?;
    Ok(target)
}

/// Changes with everything that decides what a build produces.
fn fingerprint(tools: &GoTools, source: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(std::env::consts::ARCH);
    let mut files = vec![source.join("go.mod"), source.join("go.sum")];
    files.extend(tools.packages.iter().map(|package| source.join(package).join("main.go")));
    for file in files {
        hash.update(fs::read(&file).with_context(|| format!("could not read {}", file.display()))?);
    }
    for stamp in tools.stamps {
        hash.update(stamp.as_bytes());
    }
    Ok(hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect())
}

fn is_complete(tools: &GoTools, folder: &Path) -> bool {
    tools.programs.iter().all(|program| folder.join(program).is_file())
}

fn build(tools: &GoTools, source: &Path, into: &Path) -> Result<()> {
    require_go()?;
    // Stripped: the programs are a third smaller, and nobody debugs Kubernetes from here.
    let flags = format!("-s -w {}", tools.stamps.join(" "));
    let mut command = Command::new("go");
    command
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        // Never fetch another toolchain behind the user's back; flags of the user's other projects do not apply.
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o"])
        .arg(format!("{}/", into.display()))
        .arg("tool")
        .args(tools.packages);
    run::output(&mut command).map(|_| ())
}

/// The rename is the publication: whoever sees the folder sees all of it.
fn publish(tools: &GoTools, fresh: &Path, target: &Path) -> Result<()> {
    if !is_complete(tools, fresh) {
        bail!("the build of {} left out one of {:?}", tools.name, tools.programs);
    }
    // The temporary folder was private to its maker; the programs are for everybody who can read the cache.
    fs::set_permissions(fresh, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    fs::rename(fresh, target).with_context(|| format!("could not move the build to {}", target.display()))
}

fn require_go() -> Result<()> {
    let needed = format!("Go {}.{} or newer builds Kubernetes here", OLDEST_GO.0, OLDEST_GO.1);
    let advice = "install it (https://go.dev/dl) and put it on PATH";
    let text = run::output(Command::new("go").env("GOTOOLCHAIN", "local").args(["env", "GOVERSION"]))
        .with_context(|| format!("{needed}: {advice}"))?;
    match parse_go_version(text.trim()) {
        Some(version) if version >= OLDEST_GO => Ok(()),
        _ => bail!("{needed}, and this is {}: {advice}", text.trim()),
    }
}

/// Reads `go1.26.8` as (1, 26).
fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_compare_by_number() {
        assert_eq!(parse_go_version("go1.26.8"), Some((1, 26)));
        assert_eq!(parse_go_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(parse_go_version("go1.9"), Some((1, 9)));
        assert_eq!(parse_go_version("devel +abc"), None);
        assert!((1, 9) < OLDEST_GO);
    }

    #[test]
    fn every_pinned_version_is_the_one_in_its_go_mod() {
        for (tools, module) in [
            (&KUBERNETES, "k8s.io/kubernetes"),
            (&COREDNS, "github.com/coredns/coredns"),
            (&HELM, "helm.sh/helm/v4"),
        ] {
            let path = host::workspace().join("xtask/kubernetes").join(tools.name).join("go.mod");
            let text = fs::read_to_string(path).unwrap();
            let wanted = format!("{module} {}", tools.version);
            assert!(text.contains(&wanted), "{} pins another version than {wanted}", tools.name);
        }
    }

    #[test]
    fn the_fingerprint_changes_with_the_stamps() {
        let source = host::workspace().join("xtask/kubernetes/helm");
        let other = GoTools { stamps: &["-X other=1"], ..HELM };

        assert_ne!(fingerprint(&HELM, &source).unwrap(), fingerprint(&other, &source).unwrap());
        assert_eq!(fingerprint(&HELM, &source).unwrap(), fingerprint(&HELM, &source).unwrap());
    }
}
