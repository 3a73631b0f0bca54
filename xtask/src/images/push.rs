//! Brings images to where another Kubernetes finds them: into a kind cluster, or to a registry.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::images::archive::{Archive, ImageRef};
use crate::images::build::{self, Images};
use crate::progress::Progress;
use crate::tools::{self, host, run};

/// Images by name.
type Archives = BTreeMap<&'static str, Archive>;

/// Loads the images into every node of a kind cluster.
///
/// # Errors
/// When `kind` is not here or fails.
pub(crate) fn into_kind(archives: &Archives, cluster: &str, progress: &Progress) -> Result<Images> {
    if host::find_program("kind").is_none() {
        bail!(
            "context kind-{cluster} needs the program `kind` on the PATH, to bring the images into its nodes"
        );
    }
    for archive in archives.values() {
        progress.step(&format!("loading {} into kind", archive.reference), || {
            let file = written(archive)?;
            run::output(
                Command::new("kind").args(["load", "image-archive", "--name", cluster]).arg(file.path()),
            )
            .map(drop)
        })?;
    }
    build::images(archives)
}

/// Pushes the images to a registry, such as `registry.example/team`, and names what is there now. Without a tag each keeps that of its content.
///
/// A registry on this machine may speak plain HTTP, as Docker has it; any other must speak HTTPS. Who may push is said by `skopeo login` or `docker login`.
///
/// # Errors
/// When neither skopeo nor docker is here and skopeo cannot be installed, or the registry refuses.
pub(crate) fn to_registry(
    archives: &Archives,
    registry: &str,
    tag: Option<&str>,
    progress: &Progress,
) -> Result<Images> {
    let registry = registry.trim_end_matches('/');
    let pusher = Pusher::find(progress)?;
    let mut images = build::images(archives)?;
    for image in [&mut images.node, &mut images.operator, &mut images.unicode_loader, &mut images.ctl] {
        let name = image.repository.rsplit('/').next().unwrap_or_default();
        let Some(archive) = archives.values().find(|archive| archive.reference == *image) else { continue };
        let pushed =
            ImageRef { repository: format!("{registry}/{name}"), tag: tag.unwrap_or(&image.tag).to_owned() };
        progress.step(&format!("pushing {pushed}"), || pusher.push(archive, &pushed.to_string()))?;
        *image = pushed;
    }
    Ok(images)
}

/// The program that speaks to registries.
#[derive(Clone, Copy)]
enum Pusher {
    Skopeo,
    Docker,
}

impl Pusher {
    fn find(progress: &Progress) -> Result<Self> {
        if host::find_program("skopeo").is_none() && host::find_program("docker").is_some() {
            return Ok(Self::Docker);
        }
        tools::ensure_skopeo(progress).context(
            "images are pushed with skopeo or docker; or write them with `cargo xtask images --save FOLDER` and push them yourself",
        )?;
        Ok(Self::Skopeo)
    }

    fn push(self, archive: &Archive, to: &str) -> Result<()> {
        let file = written(archive)?;
        let path = file.path().display().to_string();
        match self {
            Self::Skopeo => {
                // The digest stays, so that what was built can be told from what is there.
                let (from, target) = (format!("oci-archive:{path}"), format!("docker://{to}"));
                let mut skopeo = skopeo("copy", &["--preserve-digests"]);
                if is_local(to) {
                    skopeo.arg("--dest-tls-verify=false");
                }
                run::output(skopeo.args([from, target])).map(drop)
            }
            Self::Docker => {
                let docker =
                    |arguments: &[&str]| run::output(Command::new("docker").args(arguments)).map(drop);
                docker(&["load", "--input", &path])?;
                docker(&["tag", &archive.reference.to_string(), to])?;
                docker(&["push", to])
            }
        }
    }
}

/// Skopeo with its sub-command. Whose signatures images need is a question to those that are pulled; these are ours.
pub(crate) fn skopeo(command: &str, arguments: &[&str]) -> Command {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", command]).args(arguments);
    skopeo
}

/// True if the image's registry is on this machine.
fn is_local(image: &str) -> bool {
    let authority = image.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn written(archive: &Archive) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &archive.bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registry_of_this_machine_may_speak_plain_http() {
        for local in ["localhost:5000/a:1", "127.0.0.1:5000/team/a:1", "127.9.9.9/a", "[::1]:5000/a:1"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["registry.example/a:1", "10.0.0.1:5000/a:1", "localhost.example:5000/a", "a"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
