//! What is shown on a port, in use: replaced while connections run, and read again from its files before it runs out.
//!
//! Connections that are open go on; new ones use what is new. What cannot be used does not replace what is in use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::credentials::{Credentials, Fault};

/// Between two looks at the files. Volumes of Kubernetes change within a minute or two of their Secret.
const LOOK: Duration = Duration::from_secs(5);

/// Less than this left is told, once per look in which nothing newer was found.
const SOON: Duration = Duration::from_secs(3 * 24 * 3600);

/// What can be kept: it comes from a folder, and runs out.
pub trait Kept: Sized + Send + Sync + 'static {
    /// Reads it.
    ///
    /// # Errors
    /// If the files cannot be used.
    fn read(folder: &Path) -> Result<Self, Fault>;

    /// Which it is: another fingerprint is something new.
    fn fingerprint(&self) -> String;

    /// How long it is still valid; zero once it has run out.
    fn remaining(&self) -> Duration;
}

/// What is in use. Cheap to clone; clones share it.
pub struct Keeper<T = Credentials> {
    current: Arc<ArcSwap<T>>,
}

impl<T> Clone for Keeper<T> {
    fn clone(&self) -> Self {
        Keeper { current: Arc::clone(&self.current) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Keeper<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("current", &*self.current.load()).finish()
    }
}

impl<T: Kept> Keeper<T> {
    /// Keeps this.
    #[must_use]
    pub fn new(kept: T) -> Self {
        Keeper { current: Arc::new(ArcSwap::from_pointee(kept)) }
    }

    /// What is in use.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// From now on new connections use this.
    pub fn replace(&self, kept: T) {
        self.current.store(Arc::new(kept));
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
        let found = T::read(folder)?;
        let current = self.current();
        let fingerprint = found.fingerprint();
        if fingerprint == current.fingerprint() {
            if current.remaining() < SOON {
                let (hours, folder) = (current.remaining().as_secs() / 3600, folder.display());
                tracing::warn!(hours, %folder, "the certificate runs out soon, and there is no newer one");
            }
            return Ok(());
        }
        tracing::info!(fingerprint, folder = %folder.display(), "new certificates are in use");
        self.replace(found);
        Ok(())
    }
}

impl Kept for Credentials {
    fn read(folder: &Path) -> Result<Self, Fault> {
        Credentials::read(folder)
    }

    fn fingerprint(&self) -> String {
        format!("{}/{}", self.leaf, self.trust)
    }

    fn remaining(&self) -> Duration {
        Credentials::remaining(self)
    }
}
