//! The list of deliberate differences: their places, what is expected instead, and the reasons.
//!
//! ```toml
//! [[rule]]                   # holds wherever it applies
//! rule = "json-refusals"
//! why = "Clients parse every body as JSON."
//!
//! [[difference]]             # stands in for single steps
//! id = "front-page"
//! case = "not_found_and_wrong_method"
//! steps = [0]
//! why = "A person who opens the address should see something."
//! status = 200               # with a status the whole answer is replaced, else the parts that are named
//! headers = { content-type = "text/html; charset=utf-8" }
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::entry::Entry;
use crate::rules::{self, Rule};
use crate::transcript::{Case, Step};

/// A list of deliberate differences.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deliberate {
    #[serde(default, rename = "rule")]
    rules: Vec<RuleEntry>,
    #[serde(default, rename = "difference")]
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    rule: Rule,
    why: String,
}

/// A step as the server under test should perform it.
#[derive(Debug)]
pub(crate) struct Expected {
    pub step: Step,
    /// Id of the entry, and the recording that it replaces.
    pub instead: Option<(String, Step)>,
}

/// A list that cannot be used.
#[derive(Debug)]
pub struct DeliberateError(String);

impl fmt::Display for DeliberateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeliberateError {}

impl Deliberate {
    /// Reads a list.
    ///
    /// # Errors
    /// The text is not such a TOML document, an entry has no reason, or its JSON is invalid.
    pub fn read(text: &str) -> Result<Self, DeliberateError> {
        let list: Self = toml::from_str(text).map_err(|error| DeliberateError(error.to_string()))?;
        let reasonless = list.rules.iter().any(|rule| rule.why.trim().is_empty());
        if reasonless || list.entries.iter().any(|entry| entry.why.trim().is_empty()) {
            return Err(DeliberateError("an entry has no reason (why)".to_owned()));
        }
        for entry in &list.entries {
            entry.check().map_err(DeliberateError)?;
        }
        Ok(list)
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.rules.iter().map(|entry| entry.rule).collect()
    }

    /// A text about each entry that names no step of these cases, which would otherwise go unnoticed.
    pub fn unmatched(&self, cases: &[Case]) -> Vec<String> {
        let num_steps: BTreeMap<&str, usize> =
            cases.iter().map(|case| (case.name.as_str(), case.steps.len())).collect();
        let unmatched =
            self.entries.iter().flat_map(|entry| entry.steps.iter().map(move |step| (entry, step)));
        unmatched
            .filter(|(entry, step)| num_steps.get(entry.case.as_str()).is_none_or(|count| *step >= count))
            .map(|(entry, step)| format!("difference {:?} names no step: {}, {step}", entry.id, entry.case))
            .collect()
    }

    /// The step, changed by the differences that concern it.
    pub(crate) fn expect(&self, case: &Case, index: usize) -> Option<Expected> {
        let recorded = case.steps.get(index)?;
        let entry = self.entries.iter().find(|entry| entry.case == case.name && entry.steps.contains(&index));
        Some(match entry {
            Some(entry) => {
                let adapted = self.adapt(recorded, false);
                let step = entry.apply(adapted.clone());
                Expected { step, instead: Some((entry.id.clone(), adapted)) }
            }
            None => Expected { step: self.adapt(recorded, true), instead: None },
        })
    }

    /// Applies the rules. An entry for a failure of the original overrides the rule for all such failures.
    fn adapt(&self, recorded: &Step, mend: bool) -> Step {
        match recorded {
            Step::Exchange { request, answer, original_bug } => Step::Exchange {
                answer: rules::adapt(&self.rules(), request, answer.clone(), mend && *original_bug),
                request: request.clone(),
                original_bug: *original_bug,
            },
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read_cases;
    use crate::transcript::{Body, Status};

    const CASE: &str = r#"{"case": "c", "topic": "t", "steps": [
        {"request": {"method": "GET", "path": "/a"},
         "response": {"status": 500, "headers": {"content-type": "text/plain"}, "body": "x"}, "original_bug": "b"},
        {"ws": "frames", "socket": "s", "frames": [[{"n": 1}]]},
        {"ws": "closed", "socket": "s", "code": 1000, "reason": ""}]}"#;

    fn case() -> Case {
        read_cases(&CASE.replace('\n', " ")).unwrap().remove(0)
    }

    fn list(entry: &str) -> Deliberate {
        let head = "[[difference]]\nid = \"d\"\ncase = \"c\"\nwhy = \"because\"\n";
        Deliberate::read(&format!("{head}{entry}")).unwrap()
    }

    #[test]
    fn an_entry_with_a_status_replaces_the_whole_answer() {
        let list = list("steps = [0]\nstatus = 200\njson = \"[null]\"");
        let Expected { step: Step::Exchange { answer, .. }, instead } = list.expect(&case(), 0).unwrap()
        else {
            panic!("no exchange")
        };
        assert_eq!((answer.status, answer.headers.len()), (Status::Exactly(200), 0));
        assert!(matches!(answer.body, Body::Json(json) if json == serde_json::json!([null])));
        assert_eq!(instead.unwrap().0, "d");
    }

    #[test]
    fn an_entry_without_a_status_replaces_what_it_names() {
        let list = list("steps = [0]\nheaders = { content-type = \"text/html\" }");
        let Some(Expected { step: Step::Exchange { answer, .. }, .. }) = list.expect(&case(), 0) else {
            panic!("no exchange")
        };
        assert_eq!(answer.status, Status::Exactly(500));
        assert_eq!(answer.headers, [("content-type".to_owned(), "text/html".to_owned())]);
        assert!(matches!(answer.body, Body::Text(text) if text == "x"));
    }

    #[test]
    fn an_entry_replaces_frames_and_closes() {
        let step = |entry: &str, index| list(entry).expect(&case(), index).unwrap().step;
        assert!(
            matches!(step("steps = [1]\nframes = \"[]\"", 1), Step::Frames { frames, .. } if frames.is_empty())
        );
        let closed = step("steps = [2]\ncode = 4001", 2);
        assert!(matches!(closed, Step::Closed { code: Some(4001), .. }));
        let open = step("steps = [2]\nstays_open = 2.5\nheartbeats = 1", 2);
        assert!(matches!(open, Step::StaysOpen { heartbeats: 1, .. }));
    }

    #[test]
    fn a_step_without_an_entry_is_expected_as_recorded() {
        let expected = list("steps = [1]").expect(&case(), 0).unwrap();
        assert!(expected.instead.is_none());
        assert!(
            matches!(expected.step, Step::Exchange { answer, .. } if answer.status == Status::Exactly(500))
        );
    }

    #[test]
    fn lists_with_mistakes_are_refused() {
        let read = |text: &str| Deliberate::read(text).is_err();
        assert!(read("[[rule]]\nrule = \"no-such-rule\"\nwhy = \"because\""));
        assert!(read("[[rule]]\nrule = \"mended-bugs\"\nwhy = \" \""));
        let head = "[[difference]]\nid = \"d\"\ncase = \"c\"\nsteps = [0]\nwhy = \"because\"\n";
        assert!(read(&format!("{head}json = \"{{\"")));
        assert!(read(&format!("{head}staus = 200")));
    }

    #[test]
    fn an_entry_that_names_no_step_is_reported() {
        assert!(list("steps = [2]").unmatched(&[case()]).is_empty());
        assert_eq!(list("steps = [3]").unmatched(&[case()]).len(), 1);
        assert_eq!(list("steps = [0]").unmatched(&[]).len(), 1);
    }
}
