//! Builds our programs as static binaries, once for images, demo and end-to-end tests, and packs each into an image.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::cluster::Cluster;
use crate::images::archive::{self, Archive, Content, ImageRef};
use crate::progress::Progress;
use crate::tools::cargo;
use crate::tools::host;
use crate::tools::run;

/// What an image of ours may take on a node: it is one static program, and pods should start at once.
const LARGEST_BYTES: usize = 28_000_000;

/// An image and where its program comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// The last part of the image's name.
    pub(crate) image: &'static str,
    /// The crate that has the program.
    pub(crate) package: &'static str,
    pub(crate) program: &'static str,
}

const NODE: Recipe =
    Recipe { image: "groupcache-node", package: "groupcache-node", program: "groupcache-node" };
/// The operator, which is also run outside of its image.
pub(crate) const OPERATOR: Recipe =
    Recipe { image: "groupcache-operator", package: "groupcache-operator", program: "groupcache-operator" };
const UNICODE_LOADER: Recipe =
    Recipe { image: "groupcache-unicode-loader", package: "groupcache-examples", program: "unicode-loader" };
const CTL: Recipe = Recipe { image: "groupcachectl", package: "groupcache-client", program: "groupcachectl" };

/// Every image that we make of our own programs.
pub(crate) const RECIPES: [Recipe; 4] = [NODE, OPERATOR, UNICODE_LOADER, CTL];

/// The names of our images, for the chart's values and for manifests.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    pub(crate) node: ImageRef,
    pub(crate) operator: ImageRef,
    pub(crate) unicode_loader: ImageRef,
    pub(crate) ctl: ImageRef,
}

/// Builds all our images and puts them on every node of a cluster.
///
/// # Errors
/// When a build fails, an image is too large, or a node refuses one.
pub(crate) fn load(cluster: &Cluster, progress: &Progress) -> Result<Images> {
    let archives = archives(&RECIPES, progress)?;
    progress.step("putting the images on every node", || {
        archives.values().try_for_each(|one| cluster.import(one))
    })?;
    images(&archives)
}

/// Names the images of a build.
///
/// # Errors
/// When one of ours is not among them.
pub(crate) fn images(archives: &BTreeMap<&'static str, Archive>) -> Result<Images> {
    let of = |recipe: Recipe| {
        let found =
            archives.get(recipe.image).with_context(|| format!("image {} was not built", recipe.image))?;
        Ok::<_, anyhow::Error>(found.reference.clone())
    };
    Ok(Images {
        node: of(NODE)?,
        operator: of(OPERATOR)?,
        unicode_loader: of(UNICODE_LOADER)?,
        ctl: of(CTL)?,
    })
}

/// Builds the programs of some recipes and packs each into an image; by the image's name.
///
/// # Errors
/// When a build fails or an image is too large.
pub(crate) fn archives(recipes: &[Recipe], progress: &Progress) -> Result<BTreeMap<&'static str, Archive>> {
    let programs = programs(recipes, progress)?;
    progress.step(&format!("packing {} images", recipes.len()), || {
        let mut packed = BTreeMap::new();
        for recipe in recipes {
            let program = programs.get(recipe.program).context("every recipe's program was built")?;
            let inner = format!("/{}", recipe.program);
            let mut content = Content::new(&[&inner]);
            content.add_file(&inner, program, 0o755)?;
            let archive = archive::pack(recipe.image, &content)?;
            check_size(&archive, LARGEST_BYTES)?;
            packed.insert(recipe.image, archive);
        }
        Ok(packed)
    })
}

/// Refuses an image that has grown out of its limit.
///
/// # Errors
/// Says the size, the limit and what to look at.
pub(crate) fn check_size(archive: &Archive, limit: usize) -> Result<()> {
    if archive.layer_bytes > limit {
        bail!(
            "image {} has {:.1} MB, more than its limit of {:.0} MB: look for a new large dependency \
             (`cargo tree`), or for debug information that is no longer stripped",
            archive.reference.repository,
            archive.layer_bytes as f64 / 1e6,
            limit as f64 / 1e6
        );
    }
    Ok(())
}

/// Builds the programs of some recipes, static and optimised; where each is, by its name.
///
/// # Errors
/// When this is not Linux or cargo fails.
pub(crate) fn programs(recipes: &[Recipe], progress: &Progress) -> Result<BTreeMap<&'static str, PathBuf>> {
    let target = linux_target()?;
    let mut command = cargo::command();
    command
        .args(["build", "--release", "--locked", "--target", &target])
        .env("RUSTFLAGS", static_flags(&env::var("RUSTFLAGS").unwrap_or_default()))
        // It would win over RUSTFLAGS.
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    for recipe in recipes {
        command.args(["--package", recipe.package, "--bin", recipe.program]);
    }
    let names: Vec<&str> = recipes.iter().map(|recipe| recipe.program).collect();
    progress.step(&format!("building {}", names.join(", ")), || run::shown_to_user(&mut command))?;
    let metadata = MetadataCommand::new().current_dir(host::workspace()).no_deps().exec()?;
    let folder = metadata.target_directory.into_std_path_buf().join(target).join("release");
    Ok(names.into_iter().map(|name| (name, folder.join(name))).collect())
}

/// The image has no C library: programs must bring it along. With `--target` the flag spares the build's own macros.
fn static_flags(users: &str) -> String {
    format!("{users} -C target-feature=+crt-static").trim().to_owned()
}

/// This machine's own target, named explicitly so that flags for it do not reach build scripts and macros.
fn linux_target() -> Result<String> {
    let host = cargo::host_target()?;
    if !host.contains("linux") {
        bail!("images are built on Linux, and this is {host}; with Docker, use the Dockerfile at the root");
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_over_its_limit_is_refused_with_its_size_and_the_limit() {
        let archive = archive::pack("fat", &Content::new(&["/fat"])).unwrap();
        let fat = Archive { layer_bytes: 30_100_000, ..archive };

        let text = check_size(&fat, LARGEST_BYTES).unwrap_err().to_string();

        assert!(
            text.contains("groupcache.dev/fat") && text.contains("30.1 MB") && text.contains("28 MB"),
            "{text}"
        );
        check_size(&Archive { layer_bytes: LARGEST_BYTES, ..fat }, LARGEST_BYTES).unwrap();
    }

    #[test]
    fn the_users_own_flags_are_kept() {
        assert_eq!(static_flags("-C opt-level=1"), "-C opt-level=1 -C target-feature=+crt-static");
        assert_eq!(static_flags(""), "-C target-feature=+crt-static");
    }

    #[test]
    fn the_dockerfile_makes_the_same_images() {
        let dockerfile = std::fs::read_to_string(host::workspace().join("Dockerfile")).unwrap();

        for Recipe { image, package, program } in RECIPES {
            let user = archive::USER;
            for line in [
                format!("--package {package} --bin {program}"),
                format!(
                    "FROM scratch AS {image}\nCOPY --from=build /programs/{program} /{program}\n\
                     USER {user}:{user}\nENTRYPOINT [\"/{program}\"]\n"
                ),
            ] {
                assert!(dockerfile.contains(&line), "the Dockerfile lacks: {line}");
            }
        }
    }

    #[test]
    fn no_two_recipes_make_the_same_image() {
        let names: std::collections::BTreeSet<_> = RECIPES.iter().map(|recipe| recipe.image).collect();
        assert_eq!(names.len(), RECIPES.len());
    }
}
