//! Writes the definition's YAML: to standard output, into the repository, or not at all if it is only to be checked.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use groupcache_crds::manifest;

const USAGE: &str = "usage: crdgen [--write | --check]
  without a flag   prints the plain YAML
  --write          writes both files of the repository, from its root
  --check          fails if one of them differs from what would be written";

fn main() -> ExitCode {
    let argument = env::args().nth(1);
    let done = match argument.as_deref() {
        None => manifest::plain().map(|yaml| print!("{yaml}")),
        Some("--write") => write(),
        Some("--check") => check(),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(format!("{other} is no flag of crdgen\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn files() -> Result<[(&'static str, String); 2], Box<dyn std::error::Error>> {
    Ok([(manifest::PLAIN_PATH, manifest::plain()?), (manifest::CHART_PATH, manifest::chart()?)])
}

fn write() -> Result<(), Box<dyn std::error::Error>> {
    for (path, yaml) in files()? {
        if let Some(folder) = Path::new(path).parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, yaml)
            .map_err(|e| format!("cannot write {path}: {e}; run from the repository's root"))?;
        println!("wrote {path}");
    }
    Ok(())
}

fn check() -> Result<(), Box<dyn std::error::Error>> {
    let mut stale = Vec::new();
    for (path, yaml) in files()? {
        let held = fs::read_to_string(path)
            .map_err(|e| format!("cannot read {path}: {e}; run from the repository's root"))?;
        if held != yaml {
            stale.push(path);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("stale: {}; run `cargo xtask crds`", stale.join(", ")).into())
}
