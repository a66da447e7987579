//! Reads a file of settings. "It is not there" is one answer; everything else that keeps the file from being read is an
//! error that names the file.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::Builder;
use std::time::Duration;

use super::SettingsError;

/// Largest file of settings, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Longest time to read one: a disk may hang, and a named pipe may have no writer.
const LIMIT: Duration = Duration::from_secs(5);
/// Most readings at a time, those that still wait for their file beyond the limit included.
const MAX_READINGS: usize = 16;

/// Readings under way. A thread that waits for a disk cannot be ended, so they are counted.
struct Readings(AtomicUsize);

static READINGS: Readings = Readings(AtomicUsize::new(0));

/// What may stand at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// A file or a pipe, which gives its text only once.
    FilesAndPipes,
    /// A file, which can be read again.
    Files,
}

/// The text of the file with this name in the directory, or none if nothing is there.
///
/// # Errors
/// Something is there and cannot be read within 5 s as UTF-8 text of at most 1 MiB.
pub(super) fn read(directory: &Path, name: &Path, accepts: Accepts) -> Result<Option<String>, SettingsError> {
    let path = directory.join(name);
    READINGS
        .within_limit(move || read_path(&path, accepts))
        .map_err(|reason| SettingsError::new(format!("{}: cannot be read: {reason}", name.display())))
}

impl Readings {
    /// Reads on a thread of its own that is not joined: neither a reload nor the end of the process waits for it.
    fn within_limit(
        &'static self,
        work: impl FnOnce() -> Result<Option<String>, String> + Send + 'static,
    ) -> Result<Option<String>, String> {
        let reading = self.begin()?;
        let (sender, result) = sync_channel(1);
        let run = move || {
            let answer = work();
            drop(reading);
            let _ = sender.send(answer);
        };
        Builder::new().name("cs-settings".into()).spawn(run).map_err(|error| error.to_string())?;
        result.recv_timeout(LIMIT).unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
    }

    fn begin(&'static self) -> Result<SourceReading, String> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let reading = SourceReading(self);
        match before < MAX_READINGS {
            true => Ok(reading),
            false => Err(format!("{before} earlier readings still wait for their file")),
        }
    }
}

/// Counts as one until it is dropped.
struct SourceReading(&'static Readings);

impl Drop for SourceReading {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read_path(path: &Path, accepts: Accepts) -> Result<Option<String>, String> {
    // The link itself: one that leads nowhere is not the same as nothing.
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(_) => {}
    }
    let text = |error: std::io::Error| error.to_string();
    refuse_kind(&path.metadata().map_err(text)?, accepts)?;
    let file = File::open(path).map_err(text)?;
    // Another one may stand there by now.
    refuse_kind(&file.metadata().map_err(text)?, accepts)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {} MiB", MAX_BYTES >> 20));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8 text".into())
}

fn refuse_kind(metadata: &Metadata, accepts: Accepts) -> Result<(), String> {
    match accepts {
        _ if metadata.is_dir() => Err("it is a directory".into()),
        Accepts::Files if !metadata.is_file() => {
            Err("it is not a regular file, which could be read again".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_that_hang_are_bounded() {
        static OWN: Readings = Readings(AtomicUsize::new(0));
        let hanging: Vec<_> = (0..MAX_READINGS).map(|_| OWN.begin().ok().unwrap()).collect();
        let read = || OWN.within_limit(|| Ok(Some("text".into())));
        assert_eq!(read().unwrap_err(), "16 earlier readings still wait for their file");
        drop(hanging);
        assert_eq!(read(), Ok(Some("text".into())));
    }
}
