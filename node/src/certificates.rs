//! The certificates of the cluster port, as the node is told where they are.

use anyhow::Context;
use groupcache_tls::credentials::Credentials;
use groupcache_tls::identity::Role;
use groupcache_tls::keeper::Keeper;

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
