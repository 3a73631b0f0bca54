//! An image with this machine's own Python and its standard library, for small loaders kept in a ConfigMap.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::images::archive::{self, Archive, Content, ImageRef};
use crate::images::build;
use crate::progress::Progress;
use crate::tools::apt::{self, Package};
use crate::tools::run;

/// The interpreter, its standard library and the shared libraries of both take about 45 MB.
const LARGEST_BYTES: usize = 80_000_000;
const PYTHON: &str = "/usr/bin/python3";
const PACKAGE: Package =
    Package { name: "python3", probe: PYTHON, why: "becomes the image that runs loaders written in Python" };

/// Packs the image and puts it on every node of a cluster, always under the same name: `groupcache.dev/python:3`.
///
/// # Errors
/// When it cannot be packed or a node refuses it.
pub(crate) fn load(cluster: &Cluster, progress: &Progress) -> Result<ImageRef> {
    let archive = archive(progress)?;
    progress.step("putting the Python image on every node", || cluster.import(&archive))?;
    Ok(archive.reference)
}

/// Packs the image: `python3` is its entrypoint, there is no pip and no shell.
///
/// # Errors
/// When Debian's Python is not here and cannot be installed, or a file cannot be read.
pub(crate) fn archive(progress: &Progress) -> Result<Archive> {
    apt::ensure(&[PACKAGE], progress)?;
    progress.step("packing the Python image", || {
        let interpreter = fs::canonicalize(PYTHON).context("could not resolve the interpreter")?;
        let mut content = Content::new(&[PYTHON]);
        content.environment = vec![
            "PATH=/usr/bin".to_owned(),
            // The root is read-only, and logs should appear when they are written.
            "PYTHONDONTWRITEBYTECODE=1".to_owned(),
            "PYTHONUNBUFFERED=1".to_owned(),
        ];
        let files = files(&interpreter)?;
        for library in shared_libraries(&files)? {
            content.add_file(path(&library)?, &library, 0o755)?;
        }
        for file in &files {
            content.add_file(path(file)?, file, if *file == interpreter { 0o755 } else { 0o644 })?;
        }
        content.add_link(PYTHON, path(&interpreter)?);
        content.add_folder("/tmp", 0o1777);
        let archive = archive::pack_with_tag("python", "3", &content)?;
        build::check_size(&archive, LARGEST_BYTES)?;
        Ok(archive)
    })
}

/// The interpreter and the modules of its standard library, as Debian's package lists name them.
fn files(interpreter: &Path) -> Result<Vec<PathBuf>> {
    let name = interpreter.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.starts_with("python3.") {
        bail!("{PYTHON} leads to {}, which is not Debian's", interpreter.display());
    }
    let packages = [format!("{name}-minimal"), format!("lib{name}-minimal"), format!("lib{name}-stdlib")];
    let list = run::output(Command::new("dpkg").arg("--listfiles").args(&packages))?;
    let files: BTreeSet<PathBuf> = list
        .lines()
        .map(PathBuf::from)
        .filter(|file| *file == interpreter || is_module(file))
        // Links among the modules are few and lead to files of the list.
        .filter(|file| file.is_file())
        .collect();
    Ok(files.into_iter().collect())
}

fn is_module(file: &Path) -> bool {
    file.starts_with("/usr/lib") && !file.components().any(|part| part.as_os_str() == "__pycache__")
}

/// What the dynamic linker loads for some programs and modules, the linker itself included.
fn shared_libraries(files: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let binaries = files.iter().filter(|file| {
        file.extension().is_none_or(|extension| extension == "so") || !file.starts_with("/usr/lib")
    });
    let mut found = BTreeSet::new();
    for binary in binaries.filter(|file| is_elf(file)) {
        found.extend(parse_ldd(&run::output(Command::new("ldd").arg(binary))?));
    }
    Ok(found)
}

fn is_elf(file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"))
}

/// Reads `libz.so.1 => /lib/libz.so.1 (0x0)` and `/lib64/ld-linux.so.2 (0x0)`; what has no file has no slash.
fn parse_ldd(text: &str) -> Vec<PathBuf> {
    let words = text.lines().map(|line| line.split_once("=>").map_or(line, |(_, after)| after));
    words
        .filter_map(|words| words.split_whitespace().next())
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().with_context(|| format!("{} is no text", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_linker_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x00)\n\tlibz.so.1 => /lib/x/libz.so.1 (0x00)\n\t/lib64/ld-linux.so.2 (0x00)\n";

        assert_eq!(
            parse_ldd(text),
            [PathBuf::from("/lib/x/libz.so.1"), PathBuf::from("/lib64/ld-linux.so.2")]
        );
        assert!(parse_ldd("\tstatically linked\n").is_empty());
    }
}
