//! What every door does with a call: finds the group, checks the key, asks the group, and answers by the deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groupcache_group::group::{Answer, GetError, Group, NodeFailure, Origin, RemoveError, SetError};
use groupcache_group::groups::Groups;
use groupcache_group::value::{Key, KeyError};
use thiserror::Error;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::access::rules::Verb;
use crate::access::{Access, Caller, Denied};
use crate::transport::incoming::{Incoming, NoRoom};

/// How long a call may take whose caller sets no deadline, or a later one.
pub const MAX_DEADLINE: Duration = Duration::from_secs(30);

/// Most keys of one GetMany or RemoveMany.
pub const MAX_KEYS: usize = 1024;

/// Most bytes of values in one GetMany: gRPC clients refuse messages over 4 MiB unless told.
const MAX_MANY_BYTES: usize = (4 << 20) - (256 << 10);

/// Longest text of a name that is repeated in a message.
const SHOWN_NAME_CHARS: usize = 64;

/// Why a call failed: one variant for each thing a caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// The key cannot be one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another part of the request cannot be right.
    #[error("{0}")]
    Invalid(String),
    /// Its caller shows no token that is known here, or one for something else.
    #[error(transparent)]
    Denied(Denied),
    /// The configuration has no such group.
    #[error("there is no group {0:?} in this cluster; groups are named in its CacheCluster")]
    UnknownGroup(String),
    /// This release does not serve the call.
    #[error("{0} is not served by this release")]
    NotServed(&'static str),
    /// The Get failed.
    #[error(transparent)]
    Get(#[from] GetError),
    /// A Remove, Set or Flush that some nodes may not have seen.
    #[error("{}", partial(.0))]
    Partial(Vec<NodeFailure>),
    /// The value of a Set is over the group's limit.
    #[error("{}", too_large(*.bytes, *.limit))]
    ValueTooLarge {
        /// Its length; `None`: it was not read.
        bytes: Option<u64>,
        /// The group's limit.
        limit: usize,
    },
    /// The request is larger than what is free now.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The value of a Set came encoded.
    #[error("a value is stored as it is sent: send it without the Content-Encoding {0:?}")]
    Encoded(String),
    /// The answer would be too large.
    #[error(
        "the values of this GetMany are more than {MAX_MANY_BYTES} bytes together; ask for fewer keys at a time"
    )]
    TooLarge,
}

fn partial(failures: &[NodeFailure]) -> String {
    let said: Vec<_> = failures.iter().map(|f| format!("{}: {}", f.node, f.reason)).collect();
    format!("not every node acknowledged; call again until it succeeds. {}", said.join("; "))
}

fn too_large(bytes: Option<u64>, limit: usize) -> String {
    let bytes = bytes.map_or("longer".to_owned(), |bytes| format!("{bytes} bytes long"));
    format!(
        "the value is {bytes}; a value is at most {limit} bytes here: its group's maxValueBytes says how many"
    )
}

/// Answers calls from the groups. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    groups: Arc<Groups>,
    incoming: Incoming,
    access: Access,
}

/// The calls of one caller: none is answered that it may not make.
#[derive(Clone, Copy, Debug)]
pub struct CallsOf<'a> {
    calls: &'a Calls,
    caller: Option<Caller>,
}

impl Calls {
    /// Answers from these groups whom `access` allows it; `incoming` is where large requests find room.
    #[must_use]
    pub fn new(groups: Arc<Groups>, incoming: Incoming, access: Access) -> Self {
        Calls { groups, incoming, access }
    }

    /// Where large requests find room.
    pub(crate) fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    /// The calls of this caller. `None`: it shows no token.
    #[must_use]
    pub fn of(&self, caller: Option<Caller>) -> CallsOf<'_> {
        CallsOf { calls: self, caller }
    }
}

impl CallsOf<'_> {
    /// Answers one key of an application's.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get(&self, group: &str, key: Bytes, deadline: Instant) -> Result<Answer, CallError> {
        self.allow(Verb::Get, group)?;
        // Most Gets end here: no task, no timer, no copy.
        if let Some(answer) = self.calls.groups.cached(group, &key, Origin::Client) {
            return Ok(answer);
        }
        let group = self.group(group)?;
        let key = Key::new(key, group.settings().max_key_bytes)?;
        get(&group, key, Origin::Client, deadline).await
    }

    /// Answers several keys, in the order asked, each with its own result.
    ///
    /// # Errors
    /// If the request as a whole is wrong.
    pub async fn get_many(
        &self,
        group: &str,
        keys: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<Vec<Result<Answer, CallError>>, CallError> {
        self.allow(Verb::Get, group)?;
        check_count(keys.len())?;
        let group = self.group(group)?;
        let limit = group.settings().max_key_bytes;
        let checked: Vec<_> = keys.into_iter().map(|key| Key::new(key, limit)).collect();
        let asked = checked.iter().flatten().cloned().collect();
        let answers = group.get_many(asked, Origin::Client, deadline, MAX_MANY_BYTES).await;
        let mut answers = answers.into_iter();
        // The answers stop where the values would be too many bytes.
        let mut next = || answers.next().map_or(Err(CallError::TooLarge), |answer| Ok(answer?));
        Ok(checked.into_iter().map(|key| key.map_err(CallError::from).and_then(|_| next())).collect())
    }

    /// Purges keys from every node. What is loaded with a lower version of the source than `source_version` is not kept.
    ///
    /// # Errors
    /// [`CallError::Partial`] names every node that did not acknowledge.
    pub async fn remove(
        &self,
        group: &str,
        keys: Vec<Bytes>,
        source_version: Option<u64>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        self.allow(Verb::Remove, group)?;
        check_count(keys.len())?;
        let group = self.group(group)?;
        let limit = group.settings().max_key_bytes;
        let keys = keys.into_iter().map(|key| Key::new(key, limit)).collect::<Result<Vec<_>, _>>()?;
        // The Remove itself runs on if this wait is given up.
        ended(timeout_at(named_by(deadline), group.remove(keys, source_version, deadline)).await)
    }

    /// Purges every key of a group from every node.
    ///
    /// # Errors
    /// As [`CallsOf::remove`].
    pub async fn flush(&self, group: &str, deadline: Instant) -> Result<(), CallError> {
        self.allow(Verb::Remove, group)?;
        let group = self.group(group)?;
        ended(timeout_at(named_by(deadline), group.flush(deadline)).await)
    }

    /// Stores a value at the key's owner, in place of what any node holds. `ttl`: the group's, if that is shorter.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn set(
        &self,
        group: &str,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        source_version: Option<u64>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        self.allow(Verb::Set, group)?;
        let group = self.group(group)?;
        let key = Key::new(key, group.settings().max_key_bytes)?;
        let set = group.set(key, value, ttl, source_version, deadline);
        ended(timeout_at(named_by(deadline), set).await)
    }

    /// The longest value that a Set of this key may bring.
    ///
    /// # Errors
    /// If there is no such group, the key cannot be one, or the caller may not Set it.
    pub(crate) fn longest_value(&self, group: &str, key: &Bytes) -> Result<usize, CallError> {
        self.allow(Verb::Set, group)?;
        let settings = self.group(group)?.settings();
        Key::new(key.clone(), settings.max_key_bytes)?;
        Ok(settings.max_value_bytes)
    }

    /// Before anything else: who may not ask is not told what there is.
    fn allow(&self, verb: Verb, group: &str) -> Result<(), CallError> {
        let own = || self.calls.groups.get(group).map(|group| Arc::clone(&group.settings().name));
        Ok(self.calls.access.allow(self.caller.as_ref(), verb, group, own)?)
    }

    fn group(&self, name: &str) -> Result<Arc<Group>, CallError> {
        if let Some(group) = self.calls.groups.get(name) {
            return Ok(group);
        }
        if self.calls.groups.view().is_none() {
            // It cannot be known yet whether there is such a group.
            return Err(GetError::NotReady.into());
        }
        if crate::configuration::is_group_name(name) {
            return Err(CallError::UnknownGroup(name.to_owned()));
        }
        let shown: String = name.chars().take(SHOWN_NAME_CHARS).collect();
        Err(CallError::Invalid(format!("{shown:?} is no group's name: that is 1 to 63 of [A-Za-z0-9._-]")))
    }
}

/// A Get that ends by its deadline, whatever happens below.
///
/// # Errors
/// See [`GetError`].
pub async fn get(
    group: &Arc<Group>,
    key: Key,
    origin: Origin,
    deadline: Instant,
) -> Result<Answer, CallError> {
    match timeout_at(deadline, group.get(key, origin, deadline)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(GetError::DeadlineExceeded.into()),
    }
}

/// The moment a call must be answered by: the caller's wish, but never later than the maximum.
#[must_use]
pub fn deadline(wish: Option<Duration>) -> Instant {
    Instant::now() + wish.unwrap_or(MAX_DEADLINE).min(MAX_DEADLINE)
}

fn check_count(keys: usize) -> Result<(), CallError> {
    if keys <= MAX_KEYS {
        return Ok(());
    }
    Err(CallError::Invalid(format!("{keys} keys; at most {MAX_KEYS} may be asked for at a time")))
}

/// A Remove that ends at its deadline names the nodes that it still waits for: it is given this much longer to say so.
const NAMING: Duration = Duration::from_millis(10);

fn named_by(deadline: Instant) -> Instant {
    deadline + NAMING
}

/// The answer of a Remove, Flush or Set.
fn ended<E: Into<CallError>>(result: Result<Result<(), E>, Elapsed>) -> Result<(), CallError> {
    result.map_or(Err(GetError::DeadlineExceeded.into()), |result| result.map_err(Into::into))
}

impl From<Denied> for CallError {
    fn from(denied: Denied) -> Self {
        match denied {
            // As of a Get: another node may know more.
            Denied::NotReady => GetError::NotReady.into(),
            denied => CallError::Denied(denied),
        }
    }
}

impl From<RemoveError> for CallError {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Partial(failures) => CallError::Partial(failures),
            RemoveError::NotReady => GetError::NotReady.into(),
        }
    }
}

impl From<SetError> for CallError {
    fn from(error: SetError) -> Self {
        match error {
            SetError::TooLarge { bytes, limit } => {
                CallError::ValueTooLarge { bytes: Some(bytes as u64), limit }
            }
            SetError::Remove(error) => error.into(),
        }
    }
}
