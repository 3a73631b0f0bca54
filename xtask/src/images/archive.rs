//! Writes a container image as a tar that both containerd and Docker read: same content, same bytes, same name.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Every image's registry part. Nothing is ever pulled from there: images are imported into the nodes.
const REGISTRY: &str = "groupcache.dev";
/// The user that our images run as: nobody's user, and a number, so that Kubernetes can see that it is not root.
pub(crate) const USER: u32 = 65_532;
/// Hex digits of the content's digest in a tag: enough to tell builds apart, short enough to read.
const TAG_DIGITS: usize = 12;

/// What is to go into an image.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) environment: Vec<String>,
    /// By path without the leading slash.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder { mode: u32 },
    File { bytes: Vec<u8>, mode: u32 },
    Link { target: String },
}

/// The full name of an image. The tag is made from the content: a pod that asks for it gets this build or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageRef {
    /// Such as `groupcache.dev/groupcache-node`.
    pub(crate) repository: String,
    pub(crate) tag: String,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// An image as bytes.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) reference: ImageRef,
    /// Of the manifest, with its `sha256:`.
    pub(crate) digest: String,
    /// What its files take, unpacked.
    pub(crate) layer_bytes: usize,
    /// The tar for `ctr images import` or `docker load`.
    pub(crate) bytes: Vec<u8>,
}

impl Content {
    pub(crate) fn new(entrypoint: &[&str]) -> Self {
        Self { entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(), ..Self::default() }
    }

    /// Adds a file of this machine; `path` is its place in the image.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn add_file(&mut self, path: &str, from: &Path, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
        self.add(path, Entry::File { bytes, mode });
        Ok(())
    }

    pub(crate) fn add_link(&mut self, path: &str, target: &str) {
        self.add(path, Entry::Link { target: target.to_owned() });
    }

    pub(crate) fn add_folder(&mut self, path: &str, mode: u32) {
        self.add(path, Entry::Folder { mode });
    }

    fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_start_matches('/');
        for (slash, _) in path.match_indices('/') {
            self.entries.entry(path[..slash].to_owned()).or_insert(Entry::Folder { mode: 0o755 });
        }
        self.entries.insert(path.to_owned(), entry);
    }
}

/// Packs an image of one layer; its tag is made from its content.
///
/// # Errors
/// When an entry does not fit into a tar, for example because its path is too long.
pub(crate) fn pack(name: &str, content: &Content) -> Result<Archive> {
    pack_as(name, None, content)
}

/// Packs an image of one layer under a tag that stays the same, for manifests that people paste.
///
/// # Errors
/// When an entry does not fit into a tar, for example because its path is too long.
pub(crate) fn pack_with_tag(name: &str, tag: &str, content: &Content) -> Result<Archive> {
    pack_as(name, Some(tag), content)
}

fn pack_as(name: &str, tag: Option<&str>, content: &Content) -> Result<Archive> {
    let layer = layer(content)?;
    let layer_digest = sha256(&layer);
    let config = serde_json::to_vec(&config(content, &layer_digest))?;
    let config_digest = sha256(&config);
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let digest = sha256(&manifest);
    let tag = tag.unwrap_or(&digest[..TAG_DIGITS]).to_owned();
    let reference = ImageRef { repository: format!("{REGISTRY}/{name}"), tag };

    let mut descriptor = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    descriptor["annotations"] = json!({
        "io.containerd.image.name": reference.to_string(),
        "org.opencontainers.image.ref.name": reference.tag,
    });
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    // For Docker versions that do not read the index.
    let docker = json!([{
        "Config": blob(&config_digest),
        "RepoTags": [reference.to_string()],
        "Layers": [blob(&layer_digest)],
    }]);
    let mut tar = Builder::new(Vec::with_capacity(layer.len() + 64 * 1024));
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut tar, "index.json", &serde_json::to_vec(&index)?, 0o644)?;
    append(&mut tar, "manifest.json", &serde_json::to_vec(&docker)?, 0o644)?;
    append(&mut tar, &blob(&digest), &manifest, 0o644)?;
    append(&mut tar, &blob(&config_digest), &config, 0o644)?;
    append(&mut tar, &blob(&layer_digest), &layer, 0o644)?;
    let digest = format!("sha256:{digest}");
    Ok(Archive { reference, digest, layer_bytes: layer.len(), bytes: tar.into_inner()? })
}

fn layer(content: &Content) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (path, entry) in &content.entries {
        match entry {
            Entry::File { bytes, mode } => append(&mut tar, path, bytes, *mode)?,
            Entry::Folder { mode } => {
                let mut header = header(EntryType::Directory, 0, *mode);
                tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
            }
            Entry::Link { target } => {
                tar.append_link(&mut header(EntryType::Symlink, 0, 0o777), path, target)?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

fn append(tar: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut header = header(EntryType::Regular, bytes.len() as u64, mode);
    tar.append_data(&mut header, path, bytes).with_context(|| format!("could not pack {path}"))
}

/// No times, no owners: nothing that differs between two builds of the same content.
fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn config(content: &Content, layer_digest: &str) -> Value {
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Entrypoint": content.entrypoint,
            "Env": content.environment,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    })
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()})
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn content(program: &[u8]) -> Content {
        let mut content = Content::new(&["/bin/program"]);
        content.add("/bin/program", Entry::File { bytes: program.to_vec(), mode: 0o755 });
        content.add_link("/lib64", "usr/lib64");
        content.add_folder("/tmp", 0o1777);
        content
    }

    fn read(archive: &[u8]) -> BTreeMap<String, (Vec<u8>, u32, u64)> {
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let path = entry.path().unwrap().display().to_string();
            let (mode, time) = (entry.header().mode().unwrap(), entry.header().mtime().unwrap());
            found.insert(path, (bytes, mode, time));
        }
        found
    }

    #[test]
    fn the_same_content_gives_the_same_bytes_and_the_same_name() {
        let (one, two) = (pack("node", &content(b"same")).unwrap(), pack("node", &content(b"same")).unwrap());

        assert_eq!(one.bytes, two.bytes);
        assert_eq!(one.reference, two.reference);
    }

    #[test]
    fn other_content_gives_another_tag() {
        let (one, two) = (pack("node", &content(b"old")).unwrap(), pack("node", &content(b"new")).unwrap());

        assert_eq!(one.reference.repository, two.reference.repository);
        assert_ne!(one.reference.tag, two.reference.tag);
    }

    #[test]
    fn a_given_tag_is_kept_whatever_the_content() {
        let (one, two) = (content(b"old"), content(b"new"));

        let (one, two) =
            (pack_with_tag("python", "3", &one).unwrap(), pack_with_tag("python", "3", &two).unwrap());

        assert_eq!(one.reference.to_string(), "groupcache.dev/python:3");
        assert_eq!(one.reference, two.reference);
        assert_ne!(one.digest, two.digest);
    }

    #[test]
    fn every_digest_in_the_manifest_is_the_digest_of_its_blob() {
        let archive = pack("node", &content(b"program")).unwrap();

        let files = read(&archive.bytes);

        let index: Value = serde_json::from_slice(&files["index.json"].0).unwrap();
        assert_eq!(
            index["manifests"][0]["annotations"]["io.containerd.image.name"],
            archive.reference.to_string()
        );
        for (path, (bytes, ..)) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(path, &blob(&sha256(bytes)));
        }
        let digest =
            index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let manifest: Value = serde_json::from_slice(&files[&blob(&digest)].0).unwrap();
        let layer =
            manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        assert_eq!(files[&blob(&layer)].0.len(), archive.layer_bytes);
    }

    #[test]
    fn docker_finds_the_same_image_as_containerd() {
        let archive = pack("node", &content(b"program")).unwrap();

        let files = read(&archive.bytes);

        let docker: Value = serde_json::from_slice(&files["manifest.json"].0).unwrap();
        assert_eq!(docker[0]["RepoTags"][0], archive.reference.to_string());
        let config: Value = serde_json::from_slice(&files[docker[0]["Config"].as_str().unwrap()].0).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/bin/program"]));
        assert!(files.contains_key(docker[0]["Layers"][0].as_str().unwrap()));
    }

    #[test]
    fn the_layer_has_parents_before_children_modes_and_no_times() {
        let files = read(&layer(&content(b"program")).unwrap());

        assert_eq!(files["bin/"].1, 0o755);
        assert_eq!(files["bin/program"].0, b"program");
        assert_eq!(files["bin/program"].1, 0o755);
        assert_eq!(files["tmp/"].1, 0o1777);
        assert!(files.values().all(|(_, _, time)| *time == 0));
    }
}
