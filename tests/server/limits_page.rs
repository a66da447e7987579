//! docs/limits.md names every limit and every close code.

use channelstream::protocol::websocket::close::CloseReason;
use channelstream::telemetry::limits::Limit;

const PAGE: &str = include_str!("../../docs/limits.md");
const SETTINGS: &str = include_str!("../../docs/settings.md");

/// The first cells of tables.
fn first_cells() -> Vec<&'static str> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split(" | ").next()).collect()
}

#[test]
fn every_setting_of_the_section_has_a_row() {
    let section = SETTINGS.split("## Limits").nth(1).unwrap().split("\n## ").next().unwrap();
    let settings: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(settings.len() > 25, "the page of settings could not be parsed: {settings:?}");
    let cells = first_cells();
    for setting in &settings {
        assert!(cells.contains(&format!("`{setting}`").as_str()), "{setting} is not in docs/limits.md");
    }
    for cell in cells.iter().filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`')) {
        assert!(settings.contains(&cell), "{cell} is not a setting");
    }
}

#[test]
fn page_names_every_counter() {
    for limit in Limit::ALL {
        assert!(PAGE.contains(&format!("`{}`", limit.setting())), "{limit:?}");
    }
    for reason in CloseReason::ALL {
        let row = PAGE.lines().find(|line| line.ends_with(&format!("| `{}` |", reason.name())));
        let row = row.unwrap_or_else(|| panic!("{reason:?} is not in the table"));
        if let Some(code) = reason.code() {
            assert!(row.starts_with(&format!("| {code} |")), "{row}");
        }
    }
}
