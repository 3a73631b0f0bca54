//! The snapshot on disk: written whole or not at all, checked when read.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use groupcache_proto::cluster::SignedSnapshot;
use groupcache_proto::convert;
use prost::Message;
use tokio::sync::watch;

use crate::membership::InForce;

/// The file's name in its folder.
const FILE: &str = "snapshot.pb";

/// Largest file that is read: 1024 members and 64 groups are far smaller.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Where the newest snapshot is kept.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    folder: PathBuf,
}

impl SnapshotFile {
    /// The snapshot in that folder, which is made when it is missing.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        SnapshotFile { folder: folder.into() }
    }

    /// The snapshot kept; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub fn read(&self) -> io::Result<Option<SignedSnapshot>> {
        read(&self.path())
    }

    /// Keeps a snapshot instead of the one before.
    ///
    /// # Errors
    /// If it cannot be written; the one before is still there.
    pub fn write(&self, signed: &SignedSnapshot) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path();
        let beside = path.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&signed.encode_to_vec())?;
        // Without this a crash of the machine may leave the new name on an empty file.
        file.sync_all()?;
        fs::rename(&beside, &path)
    }

    /// Keeps whatever is in force, for as long as it is polled. A slow disk skips to the newest.
    pub async fn follow(self, mut in_force: watch::Receiver<Option<Arc<InForce>>>) {
        while in_force.changed().await.is_ok() {
            let Some(now) = in_force.borrow_and_update().clone() else { continue };
            let file = self.clone();
            let written = tokio::task::spawn_blocking(move || file.write(&now.signed)).await;
            let error = match written {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(folder = %self.folder.display(), error, "the snapshot could not be kept: after a restart this node waits for a push");
        }
    }

    /// The file itself.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(&self.folder).join(FILE)
    }
}

/// The snapshot in a file, whoever wrote it; `None` if there is no such file.
///
/// # Errors
/// If it cannot be read, or is damaged.
pub fn read(path: &Path) -> io::Result<Option<SignedSnapshot>> {
    let bytes = match fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE_BYTES => {
            return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
        }
        Ok(_) => fs::read(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let signed = SignedSnapshot::decode(bytes.as_slice()).map_err(io::Error::other)?;
    convert::open(&signed).map_err(io::Error::other)?;
    Ok(Some(signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = SnapshotFile::new(folder.path().join("made-when-missing"));
        assert_eq!(file.read().unwrap(), None);
        let signed = SignedSnapshot { key_id: "k".into(), ..Default::default() };
        file.write(&signed).unwrap();
        assert_eq!(file.read().unwrap(), Some(signed));
        fs::write(file.path(), [0xFF; 64]).unwrap();
        assert!(file.read().is_err());
    }
}
