//! Reads a settings file. A missing file is one possible result; every other reason why the file cannot be read is an error
//! that names the file.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::Builder;
use std::time::Duration;

use super::SettingsError;

/// Largest settings file, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Longest time for reading it: a disk may hang, and a named pipe may have no writer.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent reads, including those that still wait for their file after the time limit.
const MAX_READS: usize = 16;

/// The number of reads in flight. A thread that waits for a disk cannot be ended, so they are counted.
struct Reads(AtomicUsize);

static READS: Reads = Reads(AtomicUsize::new(0));

/// Kinds of files that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// Also a pipe, which gives its text only once.
    FilesAndPipes,
    /// Only a regular file, which can be read again.
    Files,
}

/// The text of the file with this name in the directory, or none if nothing has this name.
///
/// # Errors
/// Something has this name and cannot be read within 5 s as UTF-8 text of at most 1 MiB.
pub(super) fn read(directory: &Path, name: &Path, accepts: Accepts) -> Result<Option<String>, SettingsError> {
    let path = directory.join(name);
    READS
        .within_limit(move || read_path(&path, accepts))
        .map_err(|reason| SettingsError::new(format!("{}: cannot be read: {reason}", name.display())))
}

impl Reads {
    /// Reads on a separate thread that is not joined: neither a reload nor the end of the process waits for it.
    fn within_limit(
        &'static self,
        work: impl FnOnce() -> Result<Option<String>, String> + Send + 'static,
    ) -> Result<Option<String>, String> {
        let permit = self.begin()?;
        let (sender, result) = sync_channel(1);
        let run = move || {
            let answer = work();
            drop(permit);
            let _ = sender.send(answer);
        };
        Builder::new().name("cs-settings".into()).spawn(run).map_err(|error| error.to_string())?;
        result.recv_timeout(LIMIT).unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
    }

    fn begin(&'static self) -> Result<ReadPermit, String> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let permit = ReadPermit(self);
        match before < MAX_READS {
            true => Ok(permit),
            false => Err(format!("{before} earlier reads still wait for their file")),
        }
    }
}

/// Counts as one read until it is dropped.
struct ReadPermit(&'static Reads);

impl Drop for ReadPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read_path(path: &Path, accepts: Accepts) -> Result<Option<String>, String> {
    // The link itself: a link that leads nowhere does not count as a missing file.
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(_) => {}
    }
    let text = |error: std::io::Error| error.to_string();
    refuse_kind(&path.metadata().map_err(text)?, accepts)?;
    let file = File::open(path).map_err(text)?;
    // Another file may have replaced it meanwhile.
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
    fn the_number_of_reads_that_hang_is_limited() {
        static OWN: Reads = Reads(AtomicUsize::new(0));
        let hanging: Vec<_> = (0..MAX_READS).map(|_| OWN.begin().ok().unwrap()).collect();
        let read = || OWN.within_limit(|| Ok(Some("text".into())));
        assert_eq!(read().unwrap_err(), "16 earlier reads still wait for their file");
        drop(hanging);
        assert_eq!(read(), Ok(Some("text".into())));
    }
}
