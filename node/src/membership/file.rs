//! A snapshot on disk, this node's own or the ledger in its pod: checked when read, written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use groupcache_proto::cluster::SignedSnapshot;
use groupcache_proto::convert;
use prost::Message;
use tokio::sync::watch;

use crate::membership::{InForce, Membership};

/// The file's name in its folder.
const FILE: &str = "snapshot.pb";

/// Largest file that is read: 1024 members and 64 groups are far smaller.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// How often a mounted ledger is looked at while nothing is in force. The kubelet brings a new one within about a minute.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A snapshot on disk.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
}

impl SnapshotFile {
    /// The snapshot that this node keeps in that folder, which is made when it is missing.
    #[must_use]
    pub fn kept_in(folder: &Path) -> Self {
        SnapshotFile { path: folder.join(FILE) }
    }

    /// A snapshot that somebody else puts there.
    #[must_use]
    pub fn mounted_at(path: impl Into<PathBuf>) -> Self {
        SnapshotFile { path: path.into() }
    }

    /// Offers what is there to `membership`, and says so.
    pub fn offer_to(&self, membership: &Membership) {
        let file = self.path.display();
        match self.read() {
            Ok(Some(signed)) => {
                let outcome = membership.offer(signed);
                tracing::info!(%file, outcome = outcome.as_str(), "found a snapshot to start with");
            }
            Ok(None) => tracing::debug!(%file, "no snapshot here to start with"),
            Err(error) => tracing::warn!(%file, %error, "the snapshot here is of no use"),
        }
    }

    /// Offers what is there again and again, until something is in force, from here or from a push.
    pub async fn offer_until_in_force(self, membership: Arc<Membership>) {
        while membership.in_force().is_none() {
            tokio::time::sleep(LOOK_AGAIN).await;
            let (file, membership) = (self.clone(), Arc::clone(&membership));
            // Only a runtime that is going down does not run it.
            let _ = tokio::task::spawn_blocking(move || file.offer_to(&membership)).await;
        }
    }

    /// The snapshot kept; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub fn read(&self) -> io::Result<Option<SignedSnapshot>> {
        let bytes = match fs::metadata(&self.path) {
            Ok(found) if found.len() > MAX_FILE_BYTES => {
                return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
            }
            Ok(_) => fs::read(&self.path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let signed = SignedSnapshot::decode(bytes.as_slice()).map_err(io::Error::other)?;
        convert::open(&signed).map_err(io::Error::other)?;
        Ok(Some(signed))
    }

    /// Keeps a snapshot instead of the one before.
    ///
    /// # Errors
    /// If it cannot be written; the one before is still there.
    pub fn write(&self, signed: &SignedSnapshot) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = self.path.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&signed.encode_to_vec())?;
        // Without this a crash of the machine may leave the new name on an empty file.
        file.sync_all()?;
        fs::rename(&beside, &self.path)
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
            tracing::warn!(file = %self.path.display(), error, "the snapshot could not be kept: after a restart this node waits for a push");
        }
    }
}

#[cfg(test)]
mod tests {
    use groupcache_proto::cluster::Configuration;
    use groupcache_ring::{Member, Snapshot, Version};

    use super::*;
    use crate::membership::Identity;
    use crate::metrics::SnapshotMetrics;

    #[test]
    fn what_is_written_is_read_back_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = SnapshotFile::kept_in(&folder.path().join("made-when-missing"));
        assert_eq!(file.read().unwrap(), None);
        let signed = SignedSnapshot { key_id: "k".into(), ..Default::default() };
        file.write(&signed).unwrap();
        assert_eq!(file.read().unwrap(), Some(signed));
        fs::write(&file.path, [0xFF; 64]).unwrap();
        assert!(file.read().is_err());
    }
    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_is_mounted_late_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        let me = Identity::new("a", "");
        let membership =
            Arc::new(Membership::new(me, 1 << 20, SnapshotMetrics::default(), Box::new(|_, _| ())));
        let ledger = SnapshotFile::mounted_at(&path);
        ledger.offer_to(&membership);
        assert!(membership.in_force().is_none());

        let looking = tokio::spawn(ledger.offer_until_in_force(Arc::clone(&membership)));
        let members = vec![Member::active("a", "a:8081")];
        let snapshot =
            Snapshot::new("uid", Version::new(1, 1), Version::PROVISIONAL, vec![], members).unwrap();
        let wire = convert::snapshot_to_wire(&snapshot, Configuration::default());
        fs::write(&path, convert::unsigned(&wire).encode_to_vec()).unwrap();
        looking.await.unwrap();
        assert_eq!(membership.version(), Version::new(1, 1));
    }
}
