//! Which of our crates may depend on which, and what none of them may reach: the law, and the check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::tidy::fault::Fault;
use crate::tools::cargo;

/// What every crate of ours is called before its folder's name.
const PREFIX: &str = "groupcache-";

/// What one crate may depend on.
struct Law {
    krate: &'static str,
    /// Folders of ours that it may name in its Cargo.toml.
    may: &'static [&'static str],
    /// Crates that it must not reach, directly or through anything.
    never: &'static [&'static str],
    why: &'static str,
}

/// What ARCHITECTURE.md calls "all".
pub(crate) const ALL: &[&str] =
    &["ring", "proto", "group", "process", "tls", "node", "client", "crds", "operator"];

/// The same table as in ARCHITECTURE.md. A new arrow is a change of both, and of deny.toml.
const LAWS: &[Law] = &[
    Law {
        krate: "ring",
        may: &[],
        never: &[
            "tokio",
            "bytes",
            "serde",
            "tonic",
            "prost",
            "kube",
            "k8s-openapi",
            "moka",
            "quick_cache",
            "rand",
        ],
        why: "it gives the same answer everywhere and for ever",
    },
    Law {
        krate: "proto",
        may: &["ring"],
        never: &["kube", "k8s-openapi", "moka", "quick_cache"],
        why: "the wire knows the words, not the engine",
    },
    Law {
        krate: "group",
        may: &["ring"],
        never: &["tonic", "prost", "kube", "k8s-openapi", "hyper", "axum", "clap"],
        why: "the loading process runs in a test without a socket",
    },
    Law {
        krate: "model",
        may: &[],
        never: &["tokio", "tonic", "kube", "k8s-openapi", "moka"],
        why: "it judges the protocol, not the code that implements it",
    },
    Law {
        krate: "sim",
        may: &["group", "ring"],
        never: &["tonic", "hyper", "kube", "k8s-openapi"],
        why: "what it runs has no socket, so that time and chance are its own",
    },
    Law {
        krate: "simnet",
        may: &["group", "node", "proto", "ring", "sim"],
        never: &["kube", "k8s-openapi"],
        why: "it runs nodes, whole, and nothing else of ours",
    },
    Law {
        krate: "process",
        may: &[],
        never: &["kube", "k8s-openapi", "moka", "quick_cache", "tonic"],
        why: "both binaries share it",
    },
    Law {
        krate: "tls",
        may: &[],
        never: &["kube", "k8s-openapi", "moka", "quick_cache", "tonic"],
        why: "who may call is decided by certificates alone",
    },
    Law {
        krate: "node",
        may: &["group", "proto", "ring", "process", "tls"],
        never: &["kube", "kube-client", "kube-core", "k8s-openapi", "groupcache-crds"],
        why: "a node has no Kubernetes credentials and runs anywhere",
    },
    Law {
        krate: "client",
        may: &["proto"],
        never: &["kube", "k8s-openapi", "moka", "quick_cache"],
        why: "an application embeds it",
    },
    Law {
        krate: "crds",
        may: &[],
        never: &["tonic", "moka", "quick_cache"],
        why: "chart tools and tests read its types",
    },
    Law {
        krate: "operator",
        may: &["crds", "proto", "ring", "process", "tls"],
        never: &["moka", "quick_cache", "groupcache-group"],
        why: "it decides who owns and caches nothing",
    },
    Law {
        krate: "examples",
        may: &["proto", "client"],
        never: &["kube", "moka", "quick_cache"],
        why: "a user copies them",
    },
    Law {
        krate: "e2e",
        may: &[],
        never: &["kube-client"],
        why: "it drives what a user drives: kubectl and the binaries",
    },
    Law {
        krate: "scale",
        may: &["crds", "group", "node", "process"],
        never: &["groupcache-operator"],
        why: "the operator it measures is the program, as it is shipped",
    },
    Law { krate: "bench", may: ALL, never: &[], why: "it measures everything" },
    Law {
        krate: "xtask",
        may: &[],
        never: &["kube", "moka", "quick_cache"],
        why: "the commands build before the crates do",
    },
];

/// The folders of ours on which a crate may depend; `None` if no law speaks of it.
pub(crate) fn may(krate: &str) -> Option<&'static [&'static str]> {
    LAWS.iter().find(|law| law.krate == krate).map(|law| law.may)
}

/// Every crate of which a law speaks.
pub(crate) fn spoken_of() -> impl Iterator<Item = &'static str> {
    LAWS.iter().map(|law| law.krate)
}

/// The only crates of others that `ring` names.
const RING_NAMES: &[&str] = &["thiserror"];

/// Faults of the workspace at `root`.
///
/// # Errors
/// When cargo cannot tell the dependencies.
pub(crate) fn check(root: &Path) -> Result<Vec<Fault>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        // Other systems' crates need not be on this machine.
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), cargo::host_target()?])
        .exec()
        .context("asking cargo for the dependencies")?;
    Ok(judge(&Crates::of(&metadata)))
}

/// Who depends on whom, by name; tests' own dependencies apart.
#[derive(Default)]
struct Crates {
    /// Folder of each crate of ours, and what its Cargo.toml names, also for tests.
    ours: BTreeMap<String, BTreeSet<String>>,
    /// What each of ours names outside its tests.
    named: BTreeMap<String, BTreeSet<String>>,
    /// Everything that each crate is built from, one step.
    built_from: BTreeMap<String, BTreeSet<String>>,
}

impl Crates {
    fn of(metadata: &Metadata) -> Self {
        let mut crates = Self::default();
        let names: BTreeMap<&PackageId, String> =
            metadata.packages.iter().map(|package| (&package.id, package.name.to_string())).collect();
        for package in metadata.workspace_packages() {
            let folder = folder(&package.name).to_owned();
            let names = package.dependencies.iter();
            let outside_tests =
                names.clone().filter(|dependency| dependency.kind != DependencyKind::Development);
            crates
                .named
                .insert(folder.clone(), outside_tests.map(|dependency| dependency.name.clone()).collect());
            crates.ours.insert(folder, names.map(|dependency| dependency.name.clone()).collect());
        }
        for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            let built = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            });
            let built = built.filter_map(|dependency| names.get(&dependency.pkg).cloned()).collect();
            crates.built_from.insert(names[&node.id].clone(), built);
        }
        crates
    }

    /// The shortest way from one crate to another, if there is one.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways = vec![vec![from.to_owned()]];
        let mut seen = BTreeSet::from([from.to_owned()]);
        while !ways.is_empty() {
            let mut next = Vec::new();
            for way in ways {
                let last = way.last()?;
                for step in self.built_from.get(last).into_iter().flatten() {
                    let longer = [way.as_slice(), std::slice::from_ref(step)].concat();
                    if step == to {
                        return Some(longer);
                    }
                    if seen.insert(step.clone()) {
                        next.push(longer);
                    }
                }
            }
            ways = next;
        }
        None
    }
}

fn folder(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

fn judge(crates: &Crates) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |krate: &str, what: String, cure: &str| {
        faults.push(Fault::new(&format!("{krate}/Cargo.toml"), 1, what, cure));
    };
    for (krate, names) in &crates.ours {
        let Some(law) = LAWS.iter().find(|law| law.krate == krate) else {
            fault(
                krate,
                format!("no law says what `{krate}` may depend on"),
                "add it to xtask/src/tidy/crates.rs",
            );
            continue;
        };
        for named in names.iter().filter_map(|name| name.strip_prefix(PREFIX)) {
            // A crate may name itself: its tests want its features.
            if named != krate && !law.may.contains(&named) {
                fault(
                    krate,
                    format!("`{krate}` must not depend on `{named}`: {}", law.why),
                    "turn the dependency round",
                );
            }
        }
        for never in law.never {
            if let Some(way) = crates.way(&format!("{PREFIX}{krate}"), never) {
                let what = format!("`{krate}` must not reach `{never}` ({}): {}", way.join(" -> "), law.why);
                fault(krate, what, "cut the way");
            }
        }
    }
    for name in
        crates.named.get("ring").into_iter().flatten().filter(|name| !RING_NAMES.contains(&name.as_str()))
    {
        fault(
            "ring",
            format!("`ring` must not depend on `{name}`: std and thiserror are all"),
            "do without it",
        );
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates(edges: &[(&str, &[&str])]) -> Crates {
        let mut crates = Crates::default();
        for (from, to) in edges {
            let to: BTreeSet<String> = to.iter().map(|name| (*name).to_owned()).collect();
            if let Some(folder) = from.strip_prefix(PREFIX) {
                crates.ours.insert(folder.to_owned(), to.clone());
                crates.named.insert(folder.to_owned(), to.clone());
            }
            crates.built_from.insert((*from).to_owned(), to);
        }
        crates
    }

    fn lines(edges: &[(&str, &[&str])]) -> Vec<String> {
        judge(&crates(edges)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_arrow_against_the_law_is_found() {
        let lines = lines(&[("groupcache-operator", &["groupcache-group"]), ("groupcache-group", &[])]);

        assert!(lines[0].contains("`operator` must not depend on `group`"), "{lines:?}");
    }

    #[test]
    fn a_forbidden_crate_is_found_through_others_and_the_way_is_told() {
        let lines = lines(&[("groupcache-node", &["nice"]), ("nice", &["nicer"]), ("nicer", &["kube"])]);

        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("(groupcache-node -> nice -> nicer -> kube)"), "{lines:?}");
    }

    #[test]
    fn one_of_ours_is_found_behind_another_of_ours() {
        let lines = lines(&[
            ("groupcache-operator", &["groupcache-process"]),
            ("groupcache-process", &["between"]),
            ("between", &["groupcache-group"]),
            ("groupcache-group", &[]),
        ]);

        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("`operator` must not reach `groupcache-group`"), "{lines:?}");
    }

    #[test]
    fn the_ring_names_std_and_thiserror_only() {
        assert_eq!(lines(&[("groupcache-ring", &["thiserror"])]).len(), 0);
        assert_eq!(lines(&[("groupcache-ring", &["fancy-hash"])]).len(), 1);
    }

    #[test]
    fn a_crate_without_a_law_is_found() {
        assert_eq!(lines(&[("groupcache-extras", &[])]).len(), 1);
    }
}
