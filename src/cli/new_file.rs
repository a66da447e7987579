//! Writes a file that may hold secrets: it appears whole, only its owner may read it, and nothing is overwritten by
//! accident.

use std::fs::{File, OpenOptions, canonicalize, remove_file, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Read and written by its owner only.
const MODE: u32 = 0o600;

/// Writes a new file next to the path and renames it. With `replace` the path may be a file, or a link to one, which is
/// replaced.
///
/// # Errors
/// Something is there already, unless a file may be replaced; or the file cannot be written. Nothing changes then.
pub(super) fn write(path: &Path, text: &str, replace: bool) -> Result<(), String> {
    let written = match replace && path.symlink_metadata().is_ok() {
        true => replace_file(path, text),
        false => write_new(path, text),
    };
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("{}: it exists already and is not overwritten; --force replaces a file", path.display())
        }
        _ => format!("{}: cannot be written: {error}", path.display()),
    })
}

/// Takes the name first, so that of two writers only one succeeds, and readers never see half a file.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    create(path)?;
    write_and_rename(path, text).inspect_err(|_| drop(remove_file(path)))
}

fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let target = canonicalize(path)?;
    if !target.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    write_and_rename(&target, text)
}

fn write_and_rename(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path)?;
    let mut file = create(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| rename(&beside, path)).inspect_err(|_| drop(remove_file(&beside)))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

/// A name in the same directory that nothing else has.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{:016x}", rand::random::<u64>()));
    Ok(path.with_file_name(beside))
}
