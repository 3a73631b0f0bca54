//! The files of the repository that are made from the types, and what each of them should hold.

use crate::{manifest, reference};

/// Paths from the repository's root, each with its whole text.
///
/// # Errors
/// If the definition does not serialize, which no definition does.
pub fn files() -> Result<[(&'static str, String); 3], Box<dyn std::error::Error>> {
    Ok([
        (manifest::PLAIN_PATH, manifest::plain()?),
        (manifest::CHART_PATH, manifest::chart()?),
        (reference::PATH, reference::page(&manifest::definition()?)),
    ])
}
