//! The tokens of a folder, one a file: read as a whole, checked, and kept as digests only.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use groupcache_tls::token::MAX_BYTES;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Most files that are read.
const MAX_FILES: usize = 256;

/// What a volume of Kubernetes' calls the folder that its files are links into: it is swapped at once.
const SWAPPED: &str = "..data";

/// How often a folder is read that is swapped while it is read.
const TRIES: usize = 5;

/// A token as it is kept: what leaks from memory or a log opens nothing, and two of them are compared in the same time whatever they are.
#[derive(Clone, Copy)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &[u8]) -> Self {
        Digest(Sha256::digest(token).into())
    }

    pub(super) fn same(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// The tokens of a folder, by the names of their files.
#[derive(Clone, Default)]
pub struct Tokens {
    digests: BTreeMap<String, Digest>,
    /// Files that hold no token, and why; never what they hold.
    faults: Vec<String>,
}

impl Tokens {
    /// Reads a folder, all of one moment where it is a volume of Kubernetes'.
    ///
    /// # Errors
    /// If the folder cannot be read. A file that cannot is a fault of that token alone.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let real = || fs::canonicalize(folder.join(SWAPPED)).unwrap_or_else(|_| folder.to_owned());
        let mut last = Err(io::ErrorKind::NotFound.into());
        for _ in 0..TRIES {
            let before = real();
            last = Self::read_files(&before);
            // Otherwise some of it may have been taken away meanwhile.
            if before == real() {
                break;
            }
        }
        last
    }

    fn read_files(folder: &Path) -> io::Result<Self> {
        let mut tokens = Tokens::default();
        for entry in fs::read_dir(folder)?.take(MAX_FILES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || !fs::metadata(entry.path()).is_ok_and(|found| found.is_file()) {
                continue;
            }
            match token(entry.path()) {
                Ok(digest) => drop(tokens.digests.insert(name, digest)),
                Err(why) => tokens.faults.push(format!("{name}: {why}")),
            }
        }
        tokens.faults.sort();
        Ok(tokens)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Digest> {
        self.digests.get(name)
    }

    /// What is wrong with files of the folder.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// True if the other has the same tokens and faults.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |(a, b): ((&String, &Digest), (&String, &Digest))| a.0 == b.0 && a.1.same(b.1).into();
        self.faults == other.faults
            && self.digests.len() == other.digests.len()
            && self.digests.iter().zip(&other.digests).all(same)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.digests.keys()).finish()
    }
}

fn token(path: PathBuf) -> Result<Digest, String> {
    let mut text = Vec::new();
    let longest = MAX_BYTES as u64 + 64;
    let read = File::open(path).and_then(|file| file.take(longest).read_to_end(&mut text));
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    groupcache_tls::token::of(&text).map(Digest::of)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_token_is_told_by_its_name_and_never_by_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("good", "0123456789abcdef-._~+/==\n");
        write("short", "tooshort");
        write("empty", "\n");
        write("spaced", "0123456789 0123456789");
        write("long", &"x".repeat(groupcache_tls::token::MAX_BYTES + 1));
        write(".hidden", "0123456789abcdef");
        fs::create_dir(folder.path().join("folder")).unwrap();
        let tokens = Tokens::read(folder.path()).unwrap();
        assert_eq!(format!("{tokens:?}"), r#"{"good"}"#);
        let told: Vec<_> = tokens.faults().iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(told, ["empty", "long", "short", "spaced"]);
        assert!(!tokens.faults().concat().contains("tooshort"));
        assert!(bool::from(tokens.get("good").unwrap().same(&Digest::of(b"0123456789abcdef-._~+/=="))));
        assert!(Tokens::read(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn a_volume_of_kubernetes_is_read_as_it_is_at_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for (moment, token) in [("..1", "first-0123456789ab"), ("..2", "second-0123456789")] {
            fs::create_dir(at(moment)).unwrap();
            fs::write(at(moment).join("app"), token).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/app", at("app")).unwrap();
        let first = Tokens::read(folder.path()).unwrap();
        fs::remove_file(at("..data")).unwrap();
        symlink("..2", at("..data")).unwrap();
        let second = Tokens::read(folder.path()).unwrap();
        assert!(first.is_same(&first) && !first.is_same(&second));
        assert!(bool::from(second.get("app").unwrap().same(&Digest::of(b"second-0123456789"))));
    }
}
