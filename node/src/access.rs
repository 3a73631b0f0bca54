//! Who may call the data port: rules of the configuration, tokens of a folder, and what both say of a call.
//!
//! A node that is given a folder of tokens answers nobody before it knows the rules: every doubt is a refusal. The rules name tokens and never hold
//! them, so that neither the ledger nor a snapshot on disk opens anything.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::{ArcSwap, ArcSwapOption};
use groupcache_tls::token::{MAX_BYTES, is_token};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use thiserror::Error;

use crate::access::rules::{Rule, Ruling, Verb};
use crate::access::tokens::{Digest, Tokens};
use crate::metrics::AccessMetrics;

pub mod rules;
pub mod tokens;

/// Between two looks at the folder. Volumes of Kubernetes change within a minute or two of their Secret.
const LOOK: Duration = Duration::from_secs(5);

/// Longest text of a group's name that is repeated in a message.
const SHOWN_NAME_CHARS: usize = 64;

/// Who may call. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Access {
    /// `None`: nobody is asked for a token.
    asked: Option<Arc<Asked>>,
}

#[derive(Debug)]
struct Asked {
    /// `None`: there is no configuration yet.
    ruling: ArcSwapOption<Ruling>,
    tokens: ArcSwap<Tokens>,
    metrics: AccessMetrics,
}

/// Who calls, as far as the token of the call says. What it may do is looked up anew for everything it asks: a stream outlives a token.
#[derive(Clone, Copy)]
pub struct Caller(Digest);

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the digest: who has a list of tokens could look it up.
        f.write_str("Caller")
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// There is no configuration yet; another node may have one.
    #[error("this node does not know yet who may call it")]
    NotReady,
    /// It shows no token.
    #[error("this port asks for a token: send it as Authorization: Bearer TOKEN")]
    Missing,
    /// What it shows cannot be one.
    #[error("the Authorization header is none of this port's: send one, of the form Bearer TOKEN")]
    Malformed,
    /// Nobody here knows its token.
    #[error("the token is not known here: it is none of spec.access, or has been replaced")]
    Unknown,
    /// Its token is for something else.
    #[error("the token {token:?} does not allow {verb} in the group {group:?}")]
    NotAllowed {
        /// The token's name.
        token: String,
        /// What was asked.
        verb: Verb,
        /// Of which group.
        group: String,
    },
}

impl Denied {
    /// As it is counted.
    const fn reason(&self) -> &'static str {
        match self {
            Denied::NotReady => "not_ready",
            Denied::Missing => "missing",
            Denied::Malformed => "malformed",
            Denied::Unknown => "unknown",
            Denied::NotAllowed { .. } => "not_allowed",
        }
    }
}

impl Access {
    /// Nobody is asked for a token.
    #[must_use]
    pub fn open() -> Self {
        Access { asked: None }
    }

    /// Everybody is asked for a token of that folder; until the rules are known nobody is answered.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn asking(folder: &Path, metrics: AccessMetrics) -> anyhow::Result<Self> {
        let tokens = Tokens::read(folder)
            .with_context(|| format!("the folder of --token-dir {} cannot be read", folder.display()))?;
        let asked = Asked { ruling: ArcSwapOption::empty(), tokens: ArcSwap::from_pointee(tokens), metrics };
        Ok(Access { asked: Some(Arc::new(asked)) })
    }

    /// Puts rules in force.
    pub fn rule(&self, ruling: Ruling) {
        let Some(asked) = &self.asked else { return };
        if asked.ruling.load().as_deref() != Some(&ruling) {
            asked.ruling.store(Some(Arc::new(ruling)));
            asked.tell();
        }
    }

    /// Reads the folder again and again, for as long as it is polled.
    pub async fn follow(self, folder: PathBuf) {
        let Some(asked) = self.asked else { return };
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            // A few small files: no thread is worth the while.
            let fault = match Tokens::read(&folder) {
                Ok(found) if found.is_same(&asked.tokens.load()) => String::new(),
                Ok(found) => {
                    asked.tokens.store(Arc::new(found));
                    tracing::info!(folder = %folder.display(), "tokens have changed and are in use");
                    asked.tell();
                    String::new()
                }
                Err(error) => error.to_string(),
            };
            if fault != told && !fault.is_empty() {
                tracing::warn!(%fault, folder = %folder.display(), "the tokens cannot be read; those in use stay");
            }
            told = fault;
        }
    }

    /// Who sends a request with these headers; `None` where nobody is asked.
    ///
    /// # Errors
    /// If tokens are asked for, and it shows none that a rule names.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Option<Caller>, Denied> {
        let Some(asked) = &self.asked else { return Ok(None) };
        asked.counted(asked.identified(headers))
    }

    /// Whether the caller may do that in a group. `group` is the name it asks for, `own` says how that group calls itself.
    ///
    /// # Errors
    /// If it may not.
    pub fn allow(
        &self,
        caller: Option<&Caller>,
        verb: Verb,
        group: &str,
        own: impl FnOnce() -> Option<Arc<str>>,
    ) -> Result<(), Denied> {
        let Some(asked) = &self.asked else { return Ok(()) };
        asked.counted(asked.allowed(caller, verb, group, own))
    }
}

impl Asked {
    fn identified(&self, headers: &HeaderMap) -> Result<Option<Caller>, Denied> {
        let ruling = self.ruling.load();
        let rules: &[Rule] = match ruling.as_deref() {
            None => return Err(Denied::NotReady),
            Some(Ruling::Open) => return Ok(None),
            Some(Ruling::Unsaid) => &[],
            Some(Ruling::Rules(rules)) => rules,
        };
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let caller = match (shown.next(), shown.next()) {
            (None, _) => return Err(Denied::Missing),
            // Which of them counts would differ from reader to reader.
            (Some(_), Some(_)) => return Err(Denied::Malformed),
            (Some(shown), None) => Caller(Digest::of(bearer(shown.as_bytes()).ok_or(Denied::Malformed)?)),
        };
        let known = self.held(rules, &caller).count() > 0;
        known.then_some(Some(caller)).ok_or(Denied::Unknown)
    }

    fn allowed(
        &self,
        caller: Option<&Caller>,
        verb: Verb,
        group: &str,
        own: impl FnOnce() -> Option<Arc<str>>,
    ) -> Result<(), Denied> {
        let ruling = self.ruling.load();
        let rules = match ruling.as_deref() {
            None => return Err(Denied::NotReady),
            Some(Ruling::Open) => return Ok(()),
            Some(Ruling::Unsaid) => return Err(Denied::Unknown),
            Some(Ruling::Rules(rules)) => rules,
        };
        let caller = caller.ok_or(Denied::Missing)?;
        let own = own();
        // A name that no group has is one that nobody may ask about who may not ask about all.
        let name = own.as_deref().unwrap_or(group);
        let (mut holder, mut allowed) = (None, false);
        for rule in self.held(rules, caller) {
            holder = holder.or(Some(rule));
            allowed |= rule.allows(verb, name);
        }
        match holder {
            Some(_) if allowed => Ok(()),
            Some(rule) => Err(Denied::NotAllowed {
                token: rule.name.clone(),
                verb,
                group: group.chars().take(SHOWN_NAME_CHARS).collect(),
            }),
            None => Err(Denied::Unknown),
        }
    }

    /// The rules of whoever holds this token. Several names may have one token.
    fn held<'a>(&self, rules: &'a [Rule], caller: &Caller) -> impl Iterator<Item = &'a Rule> {
        let tokens = self.tokens.load_full();
        let caller = caller.0;
        rules.iter().filter(move |rule| {
            let same = tokens.get(&rule.name).map(|digest| digest.same(&caller));
            same.is_some_and(bool::from)
        })
    }

    fn counted<T>(&self, result: Result<T, Denied>) -> Result<T, Denied> {
        result.inspect_err(|denied| self.metrics.refused(denied.reason()))
    }

    /// Says which rules admit nobody.
    fn tell(&self) {
        let (ruling, tokens) = (self.ruling.load(), self.tokens.load());
        match ruling.as_deref() {
            None | Some(Ruling::Open) => {}
            Some(Ruling::Unsaid) => {
                tracing::warn!("tokens are asked for and the configuration has no rules: nobody is answered");
            }
            Some(Ruling::Rules(rules)) => {
                let missing: Vec<&str> =
                    rules.iter().map(|rule| &*rule.name).filter(|name| tokens.get(name).is_none()).collect();
                if !missing.is_empty() {
                    let (missing, faults) = (missing.join(", "), tokens.faults().join("; "));
                    tracing::warn!(
                        missing,
                        faults,
                        "these tokens are not there or cannot be used: they admit nobody"
                    );
                }
            }
        }
    }
}

/// The token of an `Authorization` header, whose scheme may be written in any case (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.trim_ascii_start();
    let sound = scheme.eq_ignore_ascii_case(b"bearer")
        && rest.first() == Some(&b' ')
        && token.len() <= MAX_BYTES
        && is_token(token);
    sound.then_some(token)
}

#[cfg(test)]
mod tests;
