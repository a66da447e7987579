//! Writes a file that may contain secrets: it appears complete, only its owner can read it, and no file is overwritten by
//! accident.

use std::fs::{File, OpenOptions, canonicalize, remove_file, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Read and written by its owner only.
const MODE: u32 = 0o600;

/// Writes a temporary file next to the path and renames it. With `replace` an existing file, or the target of a link, is
/// replaced.
///
/// # Errors
/// The path exists, and is not a file that may be replaced; or the file cannot be written. Nothing changes then.
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

/// Creates the name first, so that only one of two writers succeeds, and no reader sees half a file.
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

/// An unused name in the same directory.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{:016x}", rand::random::<u64>()));
    Ok(path.with_file_name(beside))
}
