//! `cargo xtask fuzz`: looks for bytes that break a decoder, with the compiler that builds everything else.

mod figures;
mod libfuzzer;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::fuzz::libfuzzer::{Engine, Run};
use crate::progress::Progress;
use crate::tools::host;

/// A week: whoever wants more starts it again, and what was found meanwhile is kept.
const MOST_MINUTES: f64 = 7.0 * 24.0 * 60.0;

/// Looks for bytes that break a decoder. Every run of the tests replays the seeds alone, with some mistakes; this goes on from there.
#[derive(Args)]
pub(crate) struct FuzzCommand {
    /// Only this decoder, one of the folders in fuzz/corpus; each of them when none is named
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// How long to look into each decoder; fractions count
    #[arg(long, value_name = "N", default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// Where chance begins; a run prints the one it took. The same seed tries the same bytes for as long as fuzz/found is the same
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    seed: Option<u32>,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let most = format!("write how many minutes, above 0 and at most {MOST_MINUTES}, such as 10 or 0.5");
    let minutes: f64 = text.parse().map_err(|_| most.clone())?;
    if minutes > 0.0 && minutes <= MOST_MINUTES {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err(most)
    }
}

/// Builds the decoders with coverage, and looks into them one after the other.
///
/// # Errors
/// When a decoder broke, or none could be run.
pub(crate) fn run(command: &FuzzCommand, progress: &Progress) -> Result<()> {
    let fuzz = host::workspace().join("fuzz");
    let decoders = chosen(decoders(&fuzz.join("corpus"))?, command.target.as_deref())?;
    let seed = command.seed.unwrap_or_else(any_seed);
    let engine = Engine::build(&fuzz, progress)?;
    let mut runs = Vec::new();
    for decoder in decoders {
        let title = format!("{decoder}, for {:.0} s, seed {seed}", command.minutes.as_secs_f64());
        let run = progress.step(&title, || engine.run(&decoder, command.minutes, seed, progress))?;
        runs.push((decoder, run));
    }
    print!("{}", summary(&runs));
    let broken: Vec<&str> =
        runs.iter().filter(|(_, run)| run.broken.is_some()).map(|(name, _)| name.as_str()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "broken: {}. What each said is above; put the bytes into its folder of fuzz/corpus under a name that says what they are, \
         and `cargo test -p groupcache-node --test decoders` fails until the decoder is mended",
        broken.join(", ")
    )
}

/// The folders of seeds.
fn decoders(corpus: &Path) -> Result<Vec<String>> {
    let folders = fs::read_dir(corpus).with_context(|| format!("reading {}", corpus.display()))?;
    let mut names = Vec::new();
    for folder in folders {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn chosen(decoders: Vec<String>, wanted: Option<&str>) -> Result<Vec<String>> {
    let Some(wanted) = wanted else { return Ok(decoders) };
    if decoders.iter().any(|name| name == wanted) {
        return Ok(vec![wanted.to_owned()]);
    }
    bail!("there is no decoder {wanted:?}; `--target` takes one of: {}", decoders.join(", "))
}

/// Another one each second.
fn any_seed() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs() % u64::from(u32::MAX)).unwrap_or_default().max(1)
}

/// One line for each decoder.
fn summary(runs: &[(String, Run)]) -> String {
    let mut text =
        format!("{:<16}{:>14}{:>8}{:>10}  ended\n", "decoder", "inputs tried", "edges", "new kept");
    for (decoder, run) in runs {
        let ended = match &run.broken {
            Some(input) => format!("BROKEN by {}", input.display()),
            None => format!("well, after {:.0} s", run.took.as_secs_f64()),
        };
        let figures = run.figures;
        let _ = writeln!(
            text,
            "{decoder:<16}{:>14}{:>8}{:>10}  {ended}",
            figures.tried, figures.edges, figures.kept
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::figures::Figures;

    fn known() -> Vec<String> {
        decoders(&host::workspace().join("fuzz/corpus")).unwrap()
    }

    #[test]
    fn without_a_target_each_decoder_is_looked_into() {
        assert_eq!(chosen(known(), None).unwrap(), known());
        assert!(known().contains(&"snapshot".to_owned()), "{:?}", known());
    }

    #[test]
    fn a_target_that_is_none_is_answered_with_those_there_are() {
        assert_eq!(chosen(known(), Some("frames")).unwrap(), ["frames"]);
        let error = chosen(known(), Some("frame")).unwrap_err().to_string();
        assert!(error.contains("\"frame\"") && error.contains("http-path, loader-answer"), "{error}");
    }

    #[test]
    fn minutes_are_a_number_above_nothing_and_within_a_week() {
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        for wrong in ["0", "-1", "NaN", "inf", "20000", "ten", ""] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_summary_names_what_broke_a_decoder() {
        let figures = Figures { tried: 70_000, edges: 900, kept: 12 };
        let took = Duration::from_secs(60);
        let well = Run { figures, took, broken: None };
        let broken = Run { figures, took, broken: Some("fuzz/found/frames/broken-crash-1".into()) };
        let text = summary(&[("snapshot".into(), well), ("frames".into(), broken)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("snapshot") && lines[1].ends_with("well, after 60 s"), "{text}");
        assert!(
            lines[2].contains("70000") && lines[2].ends_with("BROKEN by fuzz/found/frames/broken-crash-1"),
            "{text}"
        );
    }
}
