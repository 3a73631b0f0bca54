//! `cargo xtask images`: the command line of the images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::cluster::{Cluster, DEFAULT_NAME};
use crate::images::archive::Archive;
use crate::images::build::{self, Images};
use crate::images::{push, python};
use crate::progress::Progress;

/// Builds the images and puts them on every node.
#[derive(Args)]
pub(crate) struct ImagesCommand {
    /// The local cluster whose nodes get the images
    #[arg(long, default_value = DEFAULT_NAME)]
    cluster: String,
    /// Write the images into this folder instead, for `docker load` or `ctr images import` elsewhere
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Push the images to this registry instead, for example registry.example/team; needs skopeo, which is installed, or docker
    #[arg(long, value_name = "REGISTRY", conflicts_with_all = ["save", "cluster"])]
    registry: Option<String>,
    /// With --registry: under this tag, for example the chart's appVersion, instead of one made from the content
    #[arg(long, value_name = "TAG", requires = "registry")]
    tag: Option<String>,
    /// Only the image that runs loaders written in Python
    #[arg(long, conflicts_with = "registry")]
    python: bool,
}

/// Does what the command line says; prints one line per image, its name first.
///
/// # Errors
/// When it cannot be done.
pub(crate) fn run(command: &ImagesCommand, progress: &Progress) -> Result<()> {
    if let Some(folder) = &command.save {
        return save(folder, &archives(command.python, progress)?);
    }
    if let Some(registry) = &command.registry {
        let archives = build::archives(&build::RECIPES, progress)?;
        show(push::to_registry(&archives, registry, command.tag.as_deref(), progress)?);
        return Ok(());
    }
    // Says at once that there is no cluster, not after minutes of building.
    let cluster = Cluster::find(&command.cluster, progress)?;
    if command.python {
        println!("{}", python::load(&cluster, progress)?);
        return Ok(());
    }
    show(build::load(&cluster, progress)?);
    Ok(())
}

fn show(images: Images) {
    let Images { node, operator, unicode_loader, ctl } = images;
    for image in [node, operator, unicode_loader, ctl] {
        println!("{image}");
    }
}

fn archives(python: bool, progress: &Progress) -> Result<Vec<Archive>> {
    if python {
        return Ok(vec![python::archive(progress)?]);
    }
    Ok(build::archives(&build::RECIPES, progress)?.into_values().collect())
}

fn save(folder: &Path, archives: &[Archive]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    for archive in archives {
        let name = archive.reference.repository.rsplit('/').next().unwrap_or("image");
        let file = folder.join(format!("{name}.tar"));
        fs::write(&file, &archive.bytes).with_context(|| format!("could not write {}", file.display()))?;
        println!("{}  {:.1} MB  {}", archive.reference, archive.layer_bytes as f64 / 1e6, file.display());
    }
    Ok(())
}
