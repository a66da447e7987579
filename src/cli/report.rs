//! The output of a command, and whether it succeeded.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::config::SettingsError;
use crate::telemetry::log_queue::LOG_QUEUE;

/// Exit code of any failure except wrong settings.
const FAILURE: u8 = 1;

/// Text for standard output, notes for standard error.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub out: String,
    pub notes: Vec<String>,
    pub exit_code: u8,
}

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The settings are wrong or cannot be read.
    Settings(SettingsError),
    /// Any other failure, in a sentence.
    Other(String),
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl Report {
    /// The report of a command that failed.
    pub fn failure(failure: &Failure) -> Self {
        match failure {
            Failure::Settings(error) => Self::default().with_errors(error),
            Failure::Other(error) => {
                Self { notes: vec![format!("error: {error}")], ..Self::default() }.failed()
            }
        }
    }

    /// Marks the command as failed, for a reason other than the settings.
    pub fn failed(self) -> Self {
        Self { exit_code: FAILURE, ..self }
    }

    /// Adds failures that another try may not have, and marks the command as failed, unless the settings are wrong.
    pub fn with_failures(mut self, failures: &[String]) -> Self {
        self.notes.extend(failures.iter().map(|failure| format!("error: {failure}")));
        if self.exit_code == 0 { self.failed() } else { self }
    }

    pub fn with_notes(mut self, notes: &[String]) -> Self {
        self.notes.extend(notes.iter().map(|note| format!("note: {note}")));
        self
    }

    pub fn with_warnings(mut self, warnings: &[String]) -> Self {
        self.notes.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        self
    }

    /// Adds the problems of the settings and marks the command as failed.
    pub fn with_errors(mut self, error: &SettingsError) -> Self {
        self.notes.extend(error.problems.iter().map(|problem| format!("error: {problem}")));
        self.exit_code = SettingsError::EXIT_CODE;
        self
    }

    /// Prints it. A closed standard output is not an error, and a server that cannot start waits for no reader.
    pub fn print(self) -> ExitCode {
        let notes = self.notes.iter().map(|note| format!("{note}\n"));
        if LOG_QUEUE.is_open() {
            // One by one: the queue has no room for a very long text.
            notes.for_each(|note| LOG_QUEUE.push(note.as_bytes()));
            LOG_QUEUE.drain();
        } else {
            let _ = std::io::stderr().write_all(notes.collect::<String>().as_bytes());
        }
        let mut out = std::io::stdout();
        match out.write_all(self.out.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                let _ = writeln!(std::io::stderr(), "error: standard output: cannot be written: {error}");
                ExitCode::from(FAILURE)
            }
            _ => ExitCode::from(self.exit_code),
        }
    }
}
