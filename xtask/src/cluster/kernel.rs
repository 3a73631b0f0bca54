//! Kernel settings that kubelet changes for the whole machine: noted before a cluster starts, put back after the last.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::plan::Paths;
use crate::cluster::registry;

/// What kubelet sets at its start, below /proc/sys.
const SETTINGS: [&str; 6] = [
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

type Values = BTreeMap<String, String>;

/// Notes the settings as they are. While another cluster runs, they are as kubelet made them: then its note is copied.
///
/// # Errors
/// When the note cannot be written.
pub(crate) fn note(name: &str) -> Result<()> {
    let others = registry::names().into_iter().filter(|other| other != name);
    let values = others.filter_map(|other| read(&other)).next().unwrap_or_else(current);
    fs::write(file(name), serde_json::to_vec_pretty(&values)?).context("could not note the kernel's settings")
}

/// Puts the settings back, unless another cluster runs.
///
/// # Errors
/// When a setting that changed cannot be written.
pub(crate) fn restore(name: &str) -> Result<()> {
    let others = registry::names().into_iter().any(|other| other != name);
    let (Some(values), false) = (read(name), others) else { return Ok(()) };
    for (setting, before) in changed(&values, &current()) {
        let path = Path::new("/proc/sys").join(&setting);
        fs::write(&path, &before)
            .with_context(|| format!("could not put {} back to {before}", path.display()))?;
    }
    Ok(())
}

/// Those settings that are not as they were, with their values then.
fn changed(before: &Values, now: &Values) -> Values {
    let differs = |(setting, value): &(&String, &String)| now.get(*setting) != Some(*value);
    before.iter().filter(differs).map(|(setting, value)| (setting.clone(), value.clone())).collect()
}

fn current() -> Values {
    let read = |setting: &str| fs::read_to_string(Path::new("/proc/sys").join(setting)).ok();
    let known = SETTINGS.iter().filter_map(|setting| Some(((*setting).to_owned(), read(setting)?)));
    known.map(|(setting, value)| (setting, value.trim().to_owned())).collect()
}

fn read(name: &str) -> Option<Values> {
    serde_json::from_slice(&fs::read(file(name)).ok()?).ok()
}

fn file(name: &str) -> PathBuf {
    Paths::new(name).state.join("kernel-settings.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_changed_are_put_back() {
        let values =
            |panic: &str| Values::from([("kernel/panic".into(), panic.into()), ("vm/x".into(), "1".into())]);

        assert_eq!(changed(&values("0"), &values("10")), Values::from([("kernel/panic".into(), "0".into())]));
        assert!(changed(&values("0"), &values("0")).is_empty());
    }
}
