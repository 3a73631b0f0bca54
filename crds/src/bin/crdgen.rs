//! Writes what is made from the types: to standard output, into the repository, or nowhere if it is only checked.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use groupcache_crds::{generated, manifest};

const USAGE: &str = "usage: crdgen [--write | --check]
  without a flag   prints the plain YAML
  --write          writes the files of the repository, from its root
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

fn write() -> Result<(), Box<dyn std::error::Error>> {
    for (path, text) in generated::files()? {
        if let Some(folder) = Path::new(path).parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
            .map_err(|e| format!("cannot write {path}: {e}; run from the repository's root"))?;
        println!("wrote {path}");
    }
    Ok(())
}

fn check() -> Result<(), Box<dyn std::error::Error>> {
    let mut stale = Vec::new();
    for (path, text) in generated::files()? {
        let held = fs::read_to_string(path)
            .map_err(|e| format!("cannot read {path}: {e}; run from the repository's root"))?;
        if held != text {
            stale.push(path);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("stale: {}; run `cargo xtask crds`", stale.join(", ")).into())
}
