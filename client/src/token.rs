//! The token that is sent with each call, of a text or of a file that is read again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

/// Between two looks at the file: a token that is replaced is used as soon as a node may take it.
const LOOK: Duration = Duration::from_secs(5);

/// A bearer token. Cheap to clone.
#[derive(Clone)]
pub struct Token {
    file: Option<PathBuf>,
    last: Arc<Mutex<(Instant, MetadataValue<Ascii>)>>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token's file {file} cannot be read: {why}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The text can be no token; it is not repeated.
    #[error("this is no token: it is empty, or has spaces or characters that a header cannot carry")]
    Malformed,
}

impl Token {
    /// This one.
    ///
    /// # Errors
    /// If it can be none.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        Ok(Token { file: None, last: Arc::new(Mutex::new((Instant::now(), header(text)?))) })
    }

    /// The one in this file, now and whenever it changes.
    ///
    /// # Errors
    /// If it cannot be read now, or holds none. Later the one before stays in use.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, TokenError> {
        let path = path.into();
        let first = (Instant::now(), read(&path)?);
        Ok(Token { file: Some(path), last: Arc::new(Mutex::new(first)) })
    }

    /// Puts it on a request.
    pub fn put_on<T>(&self, request: &mut Request<T>) {
        request.metadata_mut().insert("authorization", self.header());
    }

    fn header(&self) -> MetadataValue<Ascii> {
        let mut last = self.last.lock();
        if let Some(path) = &self.file
            && last.0.elapsed() >= LOOK
        {
            last.0 = Instant::now();
            match read(path) {
                Ok(read) => last.1 = read,
                Err(error) => tracing::warn!(%error, "the token in use stays"),
            }
        }
        last.1.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the token.
        f.debug_struct("Token").field("file", &self.file).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<MetadataValue<Ascii>, TokenError> {
    let failed = |error: std::io::Error| TokenError::File { file: path.to_owned(), why: error.to_string() };
    header(&std::fs::read_to_string(path).map_err(failed)?)
}

fn header(text: &str) -> Result<MetadataValue<Ascii>, TokenError> {
    let text = text.trim_end();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Malformed);
    }
    let mut header: MetadataValue<Ascii> =
        format!("Bearer {text}").parse().map_err(|_| TokenError::Malformed)?;
    // Whoever logs headers leaves it out.
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_and_one_that_breaks_changes_nothing() {
        let path = std::env::temp_dir().join(format!("groupcache-token-{}", std::process::id()));
        std::fs::write(&path, "first\n").unwrap();
        let token = Token::file(&path).unwrap();
        assert_eq!(token.header(), "Bearer first");
        std::fs::write(&path, "second").unwrap();
        assert_eq!(token.header(), "Bearer first");
        tokio::time::advance(LOOK).await;
        assert_eq!(token.header(), "Bearer second");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK).await;
        assert_eq!(token.header(), "Bearer second");
        assert!(!format!("{token:?}").contains("second"));
        assert!(matches!(Token::file(&path), Err(TokenError::File { .. })));
    }

    #[test]
    fn what_can_be_no_token_is_refused_and_not_repeated() {
        for text in ["", " \n", "two words", "line\nbreak", "\u{0}", "\u{1F980}"] {
            assert_eq!(Token::new(text).unwrap_err(), TokenError::Malformed);
        }
    }
}
