//! Brings images to a Kubernetes that is not ours: into a kind cluster, or to a registry that its nodes pull from.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use crate::images::archive::Archive;
use crate::images::build::{self, Images};
use crate::progress::Progress;
use crate::tools::host;
use crate::tools::run;

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

/// Pushes the images to a registry, with skopeo or docker, whichever is here.
///
/// # Errors
/// When neither is here, or the registry refuses.
pub(crate) fn to_registry(archives: &Archives, registry: &str, progress: &Progress) -> Result<Images> {
    let mut images = build::images(archives)?;
    for archive in archives.values() {
        let name = archive.reference.repository.rsplit('/').next().unwrap_or_default();
        let pushed = format!("{registry}/{name}:{}", archive.reference.tag);
        progress.step(&format!("pushing {pushed}"), || push(archive, &pushed))?;
    }
    for image in [&mut images.node, &mut images.operator, &mut images.unicode_loader, &mut images.ctl] {
        let name = image.repository.rsplit('/').next().unwrap_or_default();
        image.repository = format!("{registry}/{name}");
    }
    Ok(images)
}

fn push(archive: &Archive, to: &str) -> Result<()> {
    let file = written(archive)?;
    let path = file.path().display();
    if host::find_program("skopeo").is_some() {
        let (from, to) = (format!("docker-archive:{path}"), format!("docker://{to}"));
        return run::output(Command::new("skopeo").args(["copy", &from, &to])).map(drop);
    }
    if host::find_program("docker").is_some() {
        let docker = |arguments: &[&str]| run::output(Command::new("docker").args(arguments)).map(drop);
        docker(&["load", "--input", &path.to_string()])?;
        docker(&["tag", &archive.reference.to_string(), to])?;
        return docker(&["push", to]);
    }
    bail!(
        "pushing images needs `skopeo` or `docker`; or write them with `cargo xtask images --save FOLDER` and push them yourself"
    )
}

fn written(archive: &Archive) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &archive.bytes)?;
    Ok(file)
}
