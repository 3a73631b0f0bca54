//! Writes the Rust of the .proto files, or says that what is committed is stale; needs no protoc.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use protox::prost::Message;

use crate::tools::host;

/// The contracts, relative to `proto/proto`.
const FILES: &[&str] = &[
    "groupcache/v1/cache.proto",
    "groupcache/cluster/v1/membership.proto",
    "groupcache/cluster/v1/cluster.proto",
    "groupcache/loader/v1/loader.proto",
    "groupcachepb/groupcache.proto",
];

/// Generates, or with `check` compares. Errors if the protos do not parse, or if `check` finds a difference.
pub(crate) fn run(check: bool) -> Result<()> {
    let proto = host::workspace().join("proto");
    let fresh = tempfile::tempdir().context("making a scratch folder")?;
    generate(&proto.join("proto"), fresh.path())?;
    let committed = proto.join("src/generated");
    if check {
        return compare(&read(fresh.path())?, &read(&committed)?);
    }
    if committed.exists() {
        fs::remove_dir_all(&committed)?;
    }
    fs::create_dir_all(&committed)?;
    for (name, bytes) in read(fresh.path())? {
        fs::write(committed.join(name), bytes)?;
    }
    Ok(())
}

fn generate(protos: &Path, out: &Path) -> Result<()> {
    let mut compiler = protox::Compiler::new([protos])?;
    compiler
        .include_imports(true)
        // The comments become the documentation of the generated types.
        .include_source_info(true)
        .open_files(FILES)
        .context("parsing the .proto files")?;
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .out_dir(out)
        // Values and keys go from socket to cache to socket without a copy.
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors.clone())
        .context("generating Rust")?;
    // Reflection serves the descriptors, comments left out.
    let mut bare = descriptors;
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), bare.encode_to_vec())?;
    Ok(())
}

fn read(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
        })
        .collect()
}

fn compare(fresh: &BTreeMap<String, Vec<u8>>, committed: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    if fresh == committed {
        return Ok(());
    }
    let stale: Vec<_> = fresh
        .keys()
        .chain(committed.keys())
        .filter(|name| fresh.get(*name) != committed.get(*name))
        .map(String::as_str)
        .collect();
    bail!(
        "stale in proto/src/generated: {}; run `cargo xtask codegen` and commit the result",
        stale.join(", ")
    )
}
