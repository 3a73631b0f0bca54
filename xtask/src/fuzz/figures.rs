//! What libFuzzer says of itself while it runs, as figures.

use std::path::PathBuf;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Inputs tried.
    pub(crate) tried: u64,
    /// Edges between pieces of code that some input has taken.
    pub(crate) edges: u64,
    /// Inputs kept because they took a new way.
    pub(crate) kept: u64,
}

/// What a line is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Figures, which are entered.
    Figures,
    /// The input that broke the decoder lies there.
    Broken(PathBuf),
    /// Something else.
    Words,
}

impl Figures {
    /// Enters what a line says.
    pub(crate) fn hear(&mut self, line: &str) -> Line {
        if let Some(path) = line.split("Test unit written to ").nth(1) {
            return Line::Broken(path.trim().into());
        }
        if let Some(status) = line.strip_prefix('#') {
            return self.hear_status(status);
        }
        let Some(stat) = line.strip_prefix("stat::") else { return Line::Words };
        if let Some(number) = stat.strip_prefix("number_of_executed_units:") {
            self.tried = number.trim().parse().unwrap_or(self.tried);
        }
        Line::Figures
    }

    /// As in `#2048 NEW cov: 700 ft: 1200 corp: 40/2Kb exec/s: 1024 rss: 40Mb`.
    fn hear_status(&mut self, status: &str) -> Line {
        let words: Vec<&str> = status.split_whitespace().collect();
        // A frame of a backtrace begins in the same way.
        let Some(tried) =
            words.first().and_then(|word| word.parse().ok()).filter(|_| words.contains(&"exec/s:"))
        else {
            return Line::Words;
        };
        self.tried = tried;
        let edges = words.iter().skip_while(|word| **word != "cov:").nth(1);
        self.edges = edges.and_then(|word| word.parse().ok()).unwrap_or(self.edges);
        self.kept += u64::from(words.get(1) == Some(&"NEW"));
        Line::Figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_how_many_were_tried_and_how_far_they_came() {
        let mut figures = Figures::default();
        let status = "#2048\tNEW    cov: 700 ft: 1200 corp: 40/2Kb lim: 21 exec/s: 1024 rss: 40Mb L: 9/21 MS: 1 EraseBytes-";
        assert_eq!(figures.hear(status), Line::Figures);
        assert_eq!(figures, Figures { tried: 2048, edges: 700, kept: 1 });
        assert_eq!(
            figures.hear("#4096\tpulse  cov: 701 ft: 1201 corp: 40/2Kb exec/s: 2048 rss: 41Mb"),
            Line::Figures
        );
        assert_eq!(figures, Figures { tried: 4096, edges: 701, kept: 1 });
        assert_eq!(figures.hear("stat::number_of_executed_units: 5000"), Line::Figures);
        assert_eq!(figures.hear("stat::peak_rss_mb: 41"), Line::Figures);
        assert_eq!(figures, Figures { tried: 5000, edges: 701, kept: 1 });
    }

    #[test]
    fn what_breaks_a_decoder_is_heard_of_and_a_backtrace_is_no_figure() {
        let mut figures = Figures::default();
        let said = "artifact_prefix='/f/broken-'; Test unit written to /f/broken-crash-0a";
        assert_eq!(figures.hear(said), Line::Broken("/f/broken-crash-0a".into()));
        assert_eq!(figures.hear("#0 0x55d0c1 in rust_panic"), Line::Words);
        assert_eq!(figures.hear("thread '<unnamed>' panicked at node/src/x.rs:1:1:"), Line::Words);
        assert_eq!(figures, Figures::default());
    }
}
