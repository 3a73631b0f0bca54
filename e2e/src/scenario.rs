//! One scenario: its name, its time, and the one line that it says at its end.

use std::time::{Duration, Instant};

/// Begins when it is made.
#[derive(Debug)]
pub struct Scenario {
    name: &'static str,
    began: Instant,
}

impl Scenario {
    /// Begins the scenario of this name.
    #[must_use]
    pub fn begin(name: &'static str) -> Self {
        Self { name, began: Instant::now() }
    }

    /// Prints the line for whoever reads the run.
    pub fn end(self, summary: &str) {
        println!("\nscenario {}: {summary} [{:.1} s]", self.name, self.began.elapsed().as_secs_f64());
    }
}

/// A number as people read it: `1,000`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time as people read it: `3.2 s`, `12 ms`.
#[must_use]
pub fn spelled(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!(
            (grouped(7), grouped(1000), grouped(1_234_567)),
            ("7".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!(spelled(Duration::from_millis(12)), "12 ms");
        assert_eq!(spelled(Duration::from_millis(3210)), "3.2 s");
    }
}
