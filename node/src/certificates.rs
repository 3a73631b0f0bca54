//! The certificates of the node's ports, as the node is told where they are.

use anyhow::Context;
use groupcache_tls::credentials::Credentials;
use groupcache_tls::identity::Role;
use groupcache_tls::keeper::{Keeper, Kept};
use groupcache_tls::shown::Shown;

use crate::config::Config;

/// What the cluster port shows and whom it lets in; `None`: it is open to everybody, which is told.
///
/// # Errors
/// If there is a folder, and what is in it cannot be used by a node.
pub fn certificates(config: &Config) -> anyhow::Result<Option<Keeper>> {
    let Some(folder) = &config.tls_dir else {
        tracing::warn!(
            "the cluster port is open: whoever reaches it may replace what is cached; --tls-dir closes it"
        );
        return Ok(None);
    };
    let credentials = Credentials::read(folder)
        .with_context(|| format!("the certificates in --tls-dir {} cannot be used", folder.display()))?;
    anyhow::ensure!(
        credentials.identity.role == Role::Node,
        "the certificate in --tls-dir {} is for the {}, not for a node",
        folder.display(),
        credentials.identity.role
    );
    Ok(Some(Keeper::new(credentials)))
}

/// What the data port shows; `None`: it speaks no TLS.
///
/// # Errors
/// If there is a folder, and what is in it cannot be used.
pub fn shown(config: &Config) -> anyhow::Result<Option<Keeper<Shown>>> {
    let Some(folder) = &config.data_tls_dir else {
        if config.token_dir.is_some() {
            tracing::warn!(
                "tokens travel in the clear: whoever can listen has them; --data-tls-dir makes the data port speak TLS"
            );
        }
        return Ok(None);
    };
    let shown = Shown::read(folder)
        .with_context(|| format!("the certificate in --data-tls-dir {} cannot be used", folder.display()))?;
    Ok(Some(Keeper::new(shown)))
}
