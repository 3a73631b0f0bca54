//! `cargo xtask images`: the command line of the images.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::cluster::{Cluster, DEFAULT_NAME};
use crate::images::{build, python};
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
    /// Only the image that runs loaders written in Python
    #[arg(long)]
    python: bool,
}

/// Does what the command line says; prints one line per image: its name and size.
///
/// # Errors
/// When it cannot be done.
pub(crate) fn run(command: &ImagesCommand, progress: &Progress) -> Result<()> {
    // Says at once that there is no cluster, not after minutes of building.
    let cluster = match &command.save {
        None => Some(Cluster::find(&command.cluster, progress)?),
        Some(_) => None,
    };
    let archives = if command.python {
        vec![python::archive(progress)?]
    } else {
        build::archives(&build::RECIPES, progress)?.into_values().collect()
    };
    for archive in &archives {
        if let Some(folder) = &command.save {
            let name = archive.reference.repository.rsplit('/').next().unwrap_or("image");
            let file = folder.join(format!("{name}.tar"));
            fs::create_dir_all(folder)?;
            fs::write(&file, &archive.bytes)
                .with_context(|| format!("could not write {}", file.display()))?;
        }
        if let Some(cluster) = &cluster {
            cluster.import(archive)?;
        }
        println!("{}  {:.1} MB", archive.reference, archive.layer_bytes as f64 / 1e6);
    }
    Ok(())
}
