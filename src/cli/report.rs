//! What a command says, and whether it succeeded.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::config::SettingsError;
use crate::telemetry::log_queue::LOG_QUEUE;

/// Exit code of any failure but wrong settings.
const FAILURE: u8 = 1;

/// Text for standard output, notes for standard error.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub out: String,
    pub notes: Vec<String>,
    pub exit_code: u8,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The settings are wrong or cannot be read.
    Settings(SettingsError),
    /// Something else, in a sentence.
    Other(String),
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl Report {
    /// The report of a command that could not do its work.
    pub fn failure(failure: &Failure) -> Self {
        match failure {
            Failure::Settings(error) => Self::default().with_errors(error),
            Failure::Other(error) => {
                Self { notes: vec![format!("error: {error}")], ..Self::default() }.failed()
            }
        }
    }

    /// Makes the command fail for a reason that is not in the settings.
    pub fn failed(self) -> Self {
        Self { exit_code: FAILURE, ..self }
    }

    /// Adds warnings.
    pub fn with_warnings(mut self, warnings: &[String]) -> Self {
        self.notes.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        self
    }

    /// Adds errors in the settings, which make the command fail.
    pub fn with_errors(mut self, error: &SettingsError) -> Self {
        self.notes.extend(error.problems.iter().map(|problem| format!("error: {problem}")));
        self.exit_code = SettingsError::EXIT_CODE;
        self
    }

    /// Prints it. A reader that has gone away is no reason to complain, and a server that cannot start does not wait for one.
    pub fn print(self) -> ExitCode {
        let notes = self.notes.iter().map(|note| format!("{note}\n"));
        if LOG_QUEUE.is_open() {
            // One by one: the queue has no room for very many in one piece.
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
