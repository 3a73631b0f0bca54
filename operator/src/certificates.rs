//! The certificates of a cluster's cluster port: read, moved one step on, written, and used by this process itself.
//!
//! An authority issues them, and two Secrets hold them: `<name>-peer-ca` the authority, which only the operator reads, `<name>-peer-tls` what every node shows and
//! trusts. [`rotation`] decides, [`secrets`] are the two Secrets as the API server has them.

pub mod rotation;
pub mod secrets;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use groupcache_crds::CacheCluster;
use groupcache_crds::tls::PeerTlsMode;
use groupcache_tls::authority::{self, Authority};
use groupcache_tls::credentials::{self, Credentials};
use groupcache_tls::identity::{Identity, Role};
use groupcache_tls::keeper::Keeper;
use kube::{Client, ResourceExt};
use thiserror::Error;

use crate::certificates::rotation::{Node, Phase, Rotation, Wish};
use crate::certificates::secrets::Page;
use crate::endpoints::Endpoint;
use crate::names;
use crate::report::Report;

/// How long the certificate is valid that this process shows; it makes a new one at half of it.
const SHOWN_VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// A certificate that ends this near to its authority's end cannot be had longer.
const MARGIN: Duration = Duration::from_secs(24 * 3600);

/// What is said of a cluster's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The port is open.
    Disabled,
    /// They are in use.
    Ready {
        /// What is on its way.
        phase: Phase,
        /// When the nodes' certificate runs out.
        leaf_until: SystemTime,
        /// When the authority does.
        authority_until: SystemTime,
        /// Why the user's authority is not the one in use.
        fault: Option<Fault>,
    },
    /// There are none.
    Missing(Fault),
}

/// Why there are no certificates, or not those that are asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// The user's Secret is not there.
    #[error("the Secret {0} that spec.tls.peer.secretName names is not there")]
    SecretMissing(String),
    /// It holds no authority.
    #[error("the Secret {name} holds no authority: {why}")]
    NotAnAuthority {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
    /// A Secret of that name is somebody else's.
    #[error("Secret {0}")]
    NameTaken(String),
    /// The Secrets could not be read or written.
    #[error("the Secrets with the certificates could not be read or written")]
    Unread,
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Unmade(String),
}

impl State {
    /// True if nothing is to be done.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        matches!(self, State::Disabled | State::Ready { phase: Phase::Steady, fault: None, .. })
    }
}

impl From<authority::Fault> for Fault {
    fn from(fault: authority::Fault) -> Self {
        Fault::Unmade(fault.to_string())
    }
}

impl From<credentials::Fault> for Fault {
    fn from(fault: credentials::Fault) -> Self {
        Fault::Unmade(fault.to_string())
    }
}

/// What this process shows the nodes of a cluster, kept between two looks.
#[derive(Clone, Debug)]
pub struct Shown {
    keeper: Keeper,
    issuer: String,
    signer: Authority,
}

/// Reads the Secrets, moves them one step on, and writes what has changed. `nodes` is `None` before the nodes have been looked for: then only what is
/// missing is made.
///
/// # Errors
/// If the API server does not answer, or another writer was faster.
pub async fn tend(
    client: &Client,
    cluster: &CacheCluster,
    nodes: Option<&[Node]>,
    shown: &mut Option<Shown>,
) -> kube::Result<State> {
    let peer = &cluster.spec.tls.peer;
    if peer.mode == PeerTlsMode::Disabled {
        *shown = None;
        return Ok(State::Disabled);
    }
    let given = match &peer.secret_name {
        Some(name) if peer.mode == PeerTlsMode::CaSecret => {
            secrets::given(client, cluster, name).await?.map(Some)
        }
        _ => Ok(None),
    };
    let page = secrets::read(client, cluster).await?;
    if let Some(why) = &page.stranger {
        return Ok(State::Missing(Fault::NameTaken(why.clone())));
    }
    match next(cluster, &page, given, nodes) {
        Err(fault) => Ok(State::Missing(fault)),
        Ok((rotation, state)) => {
            secrets::write(client, cluster, &page, &rotation).await?;
            match show(cluster, &rotation, shown.as_ref()) {
                Ok(new) => {
                    *shown = Some(new);
                    Ok(state)
                }
                Err(fault) => Ok(State::Missing(fault)),
            }
        }
    }
}

fn next(
    cluster: &CacheCluster,
    page: &Page,
    given: Result<Option<Authority>, Fault>,
    nodes: Option<&[Node]>,
) -> Result<(Rotation, State), Fault> {
    let now = SystemTime::now();
    let (given, fault) = match given {
        Ok(given) => (given, None),
        // The authority in use stays; without one there is nothing to go on with.
        Err(fault) if page.rotation.is_none() => return Err(fault),
        Err(fault) => (None, Some(fault)),
    };
    let wish = Wish {
        cluster_uid: &cluster.uid().unwrap_or_default(),
        // A fault in the user's Secret is no reason to make one of our own.
        keep: fault.is_some(),
        given,
        rotate: cluster.annotations().get(names::ROTATE_CA).map(String::as_str).unwrap_or_default(),
        now,
    };
    let (rotation, phase) = rotation::next(page.rotation.clone(), page.orphan.as_deref(), &wish, nodes)?;
    let state = State::Ready {
        phase,
        leaf_until: rotation.leaf_until()?,
        authority_until: rotation.signer.not_after(),
        fault,
    };
    Ok((rotation, state))
}

/// What this process shows from now on: what it showed until now, unless that has aged or the authorities have changed.
fn show(cluster: &CacheCluster, rotation: &Rotation, shown: Option<&Shown>) -> Result<Shown, Fault> {
    let issuer = rotation.signer.fingerprint();
    let trust = rotation.trust()?;
    if let Some(shown) = shown {
        let current = shown.keeper.current();
        // One of an authority that ends soon is as short as that: not made anew at every look.
        let left = rotation.signer.not_after().duration_since(SystemTime::now()).unwrap_or_default();
        let aged = current.remaining() <= (SHOWN_VALID / 2).min(left.saturating_sub(MARGIN));
        if shown.issuer == issuer && current.trust == trust && !aged {
            return Ok(shown.clone());
        }
    }
    let identity = Identity::new(&cluster.uid().unwrap_or_default(), Role::Operator);
    let issued = rotation.signer.issue(&identity, SystemTime::now(), SHOWN_VALID)?;
    let credentials = Credentials::from_pem(
        issued.chain_pem.as_bytes(),
        issued.key_pem.as_bytes(),
        rotation.bundle().as_bytes(),
    )?;
    let signer = rotation.signer.clone();
    Ok(match shown {
        // Tasks that push hold this keeper: they use what is new with their next connection.
        Some(shown) => {
            shown.keeper.replace(credentials);
            Shown { keeper: shown.keeper.clone(), issuer, signer }
        }
        None => Shown { keeper: Keeper::new(credentials), issuer, signer },
    })
}

impl Shown {
    /// Who signs what the nodes are told.
    #[must_use]
    pub fn signer(&self) -> &Authority {
        &self.signer
    }

    /// What pushes use.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

/// The nodes that there are, and what each said it shows and trusts.
#[must_use]
pub fn nodes(endpoints: &[Endpoint], reports: &HashMap<String, Report>) -> Vec<Node> {
    let node = |endpoint: &Endpoint| Node {
        name: endpoint.name.clone(),
        shown: reports.get(&endpoint.pod_uid).and_then(|report| report.shown.clone()),
    };
    endpoints.iter().filter(|endpoint| !endpoint.terminating).map(node).collect()
}
