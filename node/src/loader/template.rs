//! The URL of an HTTP loader: a template whose key can only ever fill a path segment or a query value.
//!
//! What a key may say is percent-encoded whole, so that no key reaches another host, another path or another parameter.

use groupcache_group::value::Key;
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use thiserror::Error;

use crate::loader::reach::is_forbidden;

/// Everything but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const KEY: &str = "{key}";
const GROUP: &str = "{group}";

/// A checked URL template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    /// `http://host:port`.
    origin: String,
    /// Path and query, with the places to fill.
    target: String,
}

/// Why a URL is no template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the URL {url:?} {why}; write it like http://users/users/{{key}} or http://users/user?id={{key}}")]
pub struct BadUrl {
    url: String,
    why: &'static str,
}

impl UrlTemplate {
    /// Checks a template.
    ///
    /// # Errors
    /// If it is not http or https, has no host, or has `{key}` anywhere but in the path or in a query value.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let bad = |why| BadUrl { url: url.to_owned(), why };
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"))
            .ok_or(bad("is neither http nor https"))?;
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("has a space or a byte that is no visible ASCII"));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || authority.contains(['{', '}', '@']) {
            return Err(bad("has no plain host; a host has no {key} and no user name"));
        }
        // A name is checked when it is resolved; an address in the URL is not resolved.
        let host = authority.parse::<http::uri::Authority>().ok();
        let host = host.as_ref().map(|authority| authority.host().trim_matches(['[', ']']));
        if host.and_then(|host| host.parse().ok()).is_some_and(is_forbidden) {
            return Err(bad("is at a link-local address, where no loader may be"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if target.contains('#') || !target.starts_with('/') {
            return Err(bad("has no path, or a fragment"));
        }
        let names_filled =
            query.split('&').any(|pair| pair.split('=').next().is_some_and(|n| n.contains('{')));
        if names_filled {
            return Err(bad("has a place to fill in the name of a query parameter"));
        }
        if !path.contains(KEY) && !query.contains(KEY) {
            return Err(bad("has no {key}"));
        }
        if target.replace(KEY, "").replace(GROUP, "").contains(['{', '}']) {
            return Err(bad("has braces other than {key} and {group}"));
        }
        let template =
            UrlTemplate { origin: url[..url.len() - target.len()].to_owned(), target: target.to_owned() };
        template.fill("g", b"k").map_err(|_| bad("is no URL"))?;
        Ok(template)
    }

    /// The URL of one key.
    ///
    /// # Errors
    /// If it is too long for a URL.
    pub fn of(&self, group: &str, key: &Key) -> Result<Uri, http::uri::InvalidUri> {
        self.fill(group, key.as_bytes())
    }

    fn fill(&self, group: &str, key: &[u8]) -> Result<Uri, http::uri::InvalidUri> {
        // One pass over the template: what is filled in is never looked at again.
        let mut url = self.origin.clone();
        let mut rest = self.target.as_str();
        while let Some(at) = rest.find('{') {
            url.push_str(&rest[..at]);
            if let Some(after) = rest[at..].strip_prefix(KEY) {
                url.push_str(&encoded(key));
                rest = after;
            } else {
                url.push_str(&encoded(group.as_bytes()));
                rest = rest[at..].strip_prefix(GROUP).unwrap_or_default();
            }
        }
        url.push_str(rest);
        url.parse()
    }
}

/// Percent-encoded. A segment of dots alone would be a step in the path: its dots are encoded too.
fn encoded(bytes: &[u8]) -> String {
    if bytes.iter().all(|b| *b == b'.') {
        return "%2E".repeat(bytes.len());
    }
    percent_encode(bytes, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_http_with_the_key_in_path_or_query_value() {
        for good in [
            "http://users/users/{key}",
            "https://users:8443/v2/{group}/{key}.json",
            "http://u/x?id={key}&g={group}",
            "http://[::1]:80/{key}",
        ] {
            assert!(UrlTemplate::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "ftp://users/{key}",
            "users/{key}",
            "http:///{key}",
            "http://{key}/x",
            "http://users:{key}/x",
            "http://me@users/{key}",
            "http://users/all",
            "http://169.254.169.254/latest/{key}",
            "http://[fe80::1]:80/{key}",
            "http://[::ffff:169.254.169.254]/{key}",
            "http://users?{key}=1",
            "http://users/x?{key}=1",
            "http://users/x?{key}",
            "http://users/{key}#top",
            "http://users/{key}/{name}",
            "http://users/{key",
            "http://users/a b/{key}",
            "",
        ] {
            assert!(UrlTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dots_and_slashes_are_keys_like_others() {
        let template = UrlTemplate::parse("http://users/users/{key}").unwrap();
        for (key, expected) in [
            (&b"a b"[..], "/users/a%20b"),
            (b".", "/users/%2E"),
            (b"..", "/users/%2E%2E"),
            (b"../../admin", "/users/..%2F..%2Fadmin"),
            (b"a/b?c#d", "/users/a%2Fb%3Fc%23d"),
            (b"+", "/users/%2B"),
            (b"{group}", "/users/%7Bgroup%7D"),
            (b"\xFF\x00\r\n", "/users/%FF%00%0D%0A"),
        ] {
            let key = Key::new(key.to_vec(), 100).unwrap();
            assert_eq!(template.of("g", &key).unwrap().path(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_key_leaves_its_segment(key in proptest::collection::vec(any::<u8>(), 1..200)) {
            let template = UrlTemplate::parse("http://users:81/a/{key}/b?x={key}").unwrap();
            let url = template.of("g", &Key::new(key.clone(), 1024).unwrap()).unwrap();
            prop_assert_eq!(url.authority().unwrap().as_str(), "users:81");
            let segments: Vec<_> = url.path().split('/').collect();
            prop_assert_eq!(segments.len(), 4);
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(segments[2]).collect();
            prop_assert_eq!(&decoded, &key);
            let value: Vec<u8> = percent_encoding::percent_decode_str(&url.query().unwrap()[2..]).collect();
            prop_assert_eq!(&value, &key);
        }
    }
}
