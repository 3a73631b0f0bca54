//! The files of the repository that are made from the types, and what each of them should hold.

use crate::{fields, manifest, reference};

/// Paths from the repository's root, each with its whole text.
///
/// # Errors
/// If the definition does not serialize, which no definition does.
pub fn files() -> Result<[(&'static str, String); 4], Box<dyn std::error::Error>> {
    Ok([
        (manifest::PLAIN_PATH, manifest::plain()?),
        (manifest::CHART_PATH, manifest::chart()?),
        (reference::PATH, reference::page(&manifest::definition()?)),
        (fields::PATH, fields::list(&manifest::definition()?)),
    ])
}
