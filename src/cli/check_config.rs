//! `check-config`: prints the settings in use, their sources and their problems.

use super::report::Report;
use crate::config::{Inputs, Loaded, SettingsError, load, shown};

pub(super) fn run(inputs: &Inputs) -> Result<Report, SettingsError> {
    let loaded = load(inputs)?;
    let report = Report { out: text(&loaded), ..Report::default() };
    // Warnings name a setting by its current name. The notes show which name the operator gave.
    let notes = if loaded.warnings.is_empty() { &[][..] } else { &loaded.notes };
    let report = report.with_notes(notes).with_warnings(&loaded.warnings);
    Ok(match loaded.settings.validate() {
        Ok(()) => report,
        Err(error) => report.with_errors(&error),
    })
}

fn text(loaded: &Loaded) -> String {
    let file = loaded.file.as_ref().map_or("none".into(), |path| path.display().to_string());
    let demo = if loaded.settings.demo_enabled() { "on" } else { "off" };
    let lines = shown(&loaded.settings).into_iter().map(|line| {
        let source = match (line.is_default, loaded.sources.get(line.key)) {
            // The value is masked and does not show it.
            (true, _) if line.is_secret => "  # the well-known default".into(),
            (true, _) => String::new(),
            (false, Some(source)) => format!("  # from {source}"),
            (false, None) => "  # made at random".into(),
        };
        format!("{} = {}{source}\n", line.key, line.value)
    });
    let known = loaded.settings.well_known_note().map(|note| format!("# {note}\n")).unwrap_or_default();
    format!("# file: {file}\n{}{known}# demo mode: {demo}\n", lines.collect::<String>())
}
