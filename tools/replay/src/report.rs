//! The result of a replay as a readable report.

use std::fmt;

use serde_json::Value;

/// The longest text of one side that is printed. The rest is omitted.
const MAX_SHOWN_CHARS: usize = 600;

/// One place at which the received value is not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where: `status`, `header content-type`, or the path into the JSON.
    pub path: String,
    /// The expected value.
    pub expected: String,
    /// The received value.
    pub got: String,
}

impl Mismatch {
    pub(crate) fn new(path: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { path: path.into(), expected: expected.into(), got: got.into() }
    }
}

/// A step at which the server behaved differently.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Name of the case.
    pub case: String,
    /// Position of the step in the case, from 0.
    pub step: usize,
    /// The action of the step, in one line.
    pub what: String,
    /// The id of the deliberate difference that replaces the recording here.
    pub deliberate: Option<String>,
    /// All places that differ.
    pub mismatches: Vec<Mismatch>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, step {}: {}", self.case, self.step, self.what)?;
        if let Some(id) = &self.deliberate {
            writeln!(f, "  expected by the deliberate difference {id:?}")?;
        }
        for mismatch in &self.mismatches {
            writeln!(f, "  at {}", mismatch.path)?;
            writeln!(f, "    expected {}", shorten(&mismatch.expected))?;
            writeln!(f, "    got      {}", shorten(&mismatch.got))?;
        }
        Ok(())
    }
}

/// The outcome of a replay.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The number of cases that were played.
    pub num_cases: usize,
    /// The number of their steps.
    pub num_steps: usize,
    /// The steps that differ, in the order of the recordings.
    pub differences: Vec<Difference>,
    /// What prevented the replay: unreadable files, entries that name no step.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether all cases were played without a difference.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.differences.is_empty() && self.num_cases > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        let count = self.differences.len();
        write!(f, "{} cases, {} steps, {count} differing", self.num_cases, self.num_steps)
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A JSON value on one line.
pub(crate) fn compact(value: &Value) -> String {
    value.to_string()
}
