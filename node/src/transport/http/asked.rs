//! What a request asks: group and key from the raw path, times and versions from the headers.
//!
//! The key is read as it was sent: `.`, `..`, `%2F` and `+` are keys like others, and everything after `/keys/` is the key.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Request};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use crate::transport::calls::{self, CallError};

/// How long the caller waits, in milliseconds; without it the server's maximum.
pub const TIMEOUT_HEADER: &str = "groupcache-timeout-ms";

/// For how long a value that is stored may be used, in milliseconds; without it the group's ttl.
pub const TTL_HEADER: &str = "groupcache-ttl-ms";

/// The source's own version of what is stored or removed.
pub const SOURCE_VERSION_HEADER: &str = "groupcache-source-version";

/// What a request asks.
#[derive(Debug)]
pub struct Asked {
    /// The group's name, which may be that of none.
    pub group: String,
    /// Of what in it.
    pub what: What,
    /// By when the caller wants its answer.
    pub deadline: Instant,
}

/// Of what it asks.
#[derive(Debug)]
pub enum What {
    /// A key, which may be one that the group does not allow.
    Key(Bytes),
    /// The whole group.
    All,
}

/// How a value is to be stored.
pub(super) struct Storing {
    pub(super) ttl: Option<Duration>,
    pub(super) source_version: Option<u64>,
}

/// Group and key from the raw path, and the time from the headers.
///
/// # Errors
/// Says what is wrong with the path or the time, and how to write it.
pub fn parse<B>(request: &Request<B>) -> Result<Asked, CallError> {
    let rest = request.uri().path().strip_prefix("/v1/groups/").unwrap_or_default();
    let (group, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let key = match rest.strip_prefix("keys/") {
        Some(key) => Some(key),
        None if rest == "keys" => None,
        None => {
            return Err(invalid(
                "a path is /v1/groups/{group}/keys/{key}, or /v1/groups/{group}/keys for all",
            ));
        }
    };
    if request.uri().query().is_some() {
        return Err(invalid("a ? in a key is written %3F"));
    }
    for part in [group, key.unwrap_or_default()] {
        let escapes = part.split('%').skip(1);
        if !escapes.clone().all(|e| e.len() >= 2 && e.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit)) {
            return Err(invalid("a % in a key is written %25"));
        }
    }
    let group =
        percent_decode_str(group).decode_utf8().map_err(|_| invalid("the group's name is no text"))?;
    let wish = number(request.headers(), TIMEOUT_HEADER, "whole milliseconds, such as 250")?;
    Ok(Asked {
        group: group.into_owned(),
        what: key.map_or(What::All, |key| What::Key(percent_decode_str(key).collect())),
        deadline: calls::deadline(wish.map(Duration::from_millis)),
    })
}

/// The source's version, if the caller states one.
pub(super) fn source_version(headers: &HeaderMap) -> Result<Option<u64>, CallError> {
    number(headers, SOURCE_VERSION_HEADER, "a whole number of at most 64 bits")
}

/// What the headers of a PUT say; what they ask for and do not get is refused, not passed over.
pub(super) fn storing(headers: &HeaderMap) -> Result<Storing, CallError> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(CallError::Encoded(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    for unmet in [CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH] {
        if headers.contains_key(&unmet) {
            return Err(CallError::Invalid(format!(
                "a value is stored whole and without conditions: send it without {unmet}"
            )));
        }
    }
    let ttl = number(headers, TTL_HEADER, "whole milliseconds, such as 60000")?;
    Ok(Storing { ttl: ttl.map(Duration::from_millis), source_version: source_version(headers)? })
}

fn number(headers: &HeaderMap, name: &str, form: &str) -> Result<Option<u64>, CallError> {
    let Some(said) = headers.get(name) else { return Ok(None) };
    let digits = said.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(CallError::Invalid(format!("the {name} {said:?} is none; write {form}"))),
    }
}

fn invalid(what: &str) -> CallError {
    CallError::Invalid(what.to_owned())
}
