//! The credentials in use: replaced while connections run, and read again from their files before they run out.
//!
//! Connections that are open go on; new ones use what is new. What cannot be used does not replace what is in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::credentials::{Credentials, Fault};

/// Between two looks at the files. Volumes of Kubernetes change within a minute or two of their Secret.
const LOOK: Duration = Duration::from_secs(5);

/// Less than this left is told, once per look in which nothing newer was found.
const SOON: Duration = Duration::from_secs(3 * 24 * 3600);

/// The credentials in use. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Keeper {
    current: Arc<ArcSwap<Credentials>>,
}

impl Keeper {
    /// Keeps these.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Keeper { current: Arc::new(ArcSwap::from_pointee(credentials)) }
    }

    /// What is in use.
    #[must_use]
    pub fn current(&self) -> Arc<Credentials> {
        self.current.load_full()
    }

    /// From now on new connections use these.
    pub fn replace(&self, credentials: Credentials) {
        self.current.store(Arc::new(credentials));
    }

    /// Reads the folder's files again and again, and uses what is new and sound, for as long as it is polled.
    pub async fn follow(self, folder: PathBuf) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            // Three small files: no thread is worth the while.
            let fault = self.look(&folder).err().map(|fault| fault.to_string()).unwrap_or_default();
            if fault != told && !fault.is_empty() {
                tracing::warn!(%fault, folder = %folder.display(), "the certificates cannot be used; those in use stay");
            }
            told = fault;
        }
    }

    /// Reads the folder's files once.
    ///
    /// # Errors
    /// If they cannot be used; those in use stay.
    pub fn look(&self, folder: &Path) -> Result<(), Fault> {
        let found = Credentials::read(folder)?;
        let current = self.current();
        if (&found.leaf, &found.trust) == (&current.leaf, &current.trust) {
            if current.remaining() < SOON {
                let hours = current.remaining().as_secs() / 3600;
                tracing::warn!(hours, "the certificate runs out soon, and there is no newer one");
            }
            return Ok(());
        }
        tracing::info!(leaf = found.leaf, trust = found.trust, "new certificates are in use");
        self.replace(found);
        Ok(())
    }
}
