//! Reads and writes the original's INI files. They are read as Python's `configparser` does with its defaults: indented lines
//! continue the value, `#` and `;` begin a comment only at the start of a line, `=` or `:` separates key and value, keys are
//! case-insensitive, every section inherits the values of a section `[DEFAULT]`, and `%%` means `%` (`%(key)s` means another
//! value).

use indexmap::IndexMap;

use super::SettingsError;
use super::table::{KEYS, Key, Settings};

/// Values of one section by lower-case key, in the order of the file.
pub(super) type Section = IndexMap<String, String>;

/// The original's keys, which an INI file always contains. Of the others it contains those that differ from the default.
const ORIGINAL: &str = "host port log_level debug secrets validate_requests allow_posting_from allow_cors admin_user \
                        admin_secret cookie_secret enforce_https http_scheme";
const DEFAULT_SECTION: &str = "DEFAULT";
/// Maximum depth of references to references, as in Python.
const MAX_REFERENCES: usize = 10;

/// Reads a section. An error names the line's number or the key, but never the text, which may be a secret.
pub(super) fn read_section(text: &str, name: &str) -> Result<Section, String> {
    let mut reader = IniReader::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        reader.line(line).map_err(|reason| format!("line {}: {reason}", index + 1))?;
    }
    let mut values = reader.sections.swap_remove(DEFAULT_SECTION).unwrap_or_default();
    let section = reader.sections.swap_remove(name).ok_or_else(|| format!("there is no section [{name}]"))?;
    values.extend(section);
    let trimmed: Section =
        values.into_iter().map(|(key, lines)| (key, lines.join("\n").trim_end().to_owned())).collect();
    trimmed.keys().map(|key| Ok((key.clone(), interpolate(&trimmed, key, 0)?))).collect()
}

#[derive(Default)]
struct IniReader {
    sections: IndexMap<String, IndexMap<String, Vec<String>>>,
    section: Option<String>,
    key: Option<String>,
    indent: usize,
}

impl IniReader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let text = line.trim();
        if text.starts_with(['#', ';']) {
            return Ok(());
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(lines) = self.open_value().filter(|_| text.is_empty()) {
            lines.push(String::new());
        } else if text.is_empty() {
            return Ok(());
        } else if indent > self.indent && self.open_value().is_some() {
            self.open_value().into_iter().for_each(|lines| lines.push(text.to_owned()));
        } else {
            self.indent = indent;
            self.head(text)?;
        }
        Ok(())
    }

    fn open_value(&mut self) -> Option<&mut Vec<String>> {
        self.sections.get_mut(self.section.as_deref()?)?.get_mut(self.key.as_deref()?)
    }

    /// A line that begins a section or a value.
    fn head(&mut self, text: &str) -> Result<(), String> {
        match text.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) {
            Some((name, _)) if !name.is_empty() => self.open_section(name),
            _ => self.open_key(text),
        }
    }

    fn open_section(&mut self, name: &str) -> Result<(), String> {
        if self.sections.contains_key(name) && name != DEFAULT_SECTION {
            return Err("this section appeared before".into());
        }
        self.sections.entry(name.to_owned()).or_default();
        self.section = Some(name.to_owned());
        self.key = None;
        Ok(())
    }

    fn open_key(&mut self, text: &str) -> Result<(), String> {
        let name = self.section.as_deref().ok_or("a section such as [channelstream] must come first")?;
        let (key, value) = text.split_once(['=', ':']).ok_or("neither a section nor `key = value`")?;
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err("the key is missing".into());
        }
        let values = self.sections.entry(name.to_owned()).or_default();
        if values.insert(key.clone(), vec![value.trim().to_owned()]).is_some() {
            return Err(format!("{key} was given before"));
        }
        self.key = Some(key);
        Ok(())
    }
}

fn interpolate(values: &Section, key: &str, depth: usize) -> Result<String, String> {
    if depth > MAX_REFERENCES {
        return Err(format!("{key}: its references form a circle or are too deep"));
    }
    let mut rest = values.get(key).map(String::as_str).unwrap_or_default();
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
        } else {
            let reference = after.strip_prefix('(').and_then(|after| after.split_once(")s"));
            let (name, after) = reference.ok_or_else(|| format!("{key}: a percent sign is written %%"))?;
            let name = name.to_lowercase();
            if !values.contains_key(&name) {
                return Err(format!("{key}: it refers to a key that does not exist"));
            }
            text.push_str(&interpolate(values, &name, depth + 1)?);
            rest = after;
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// An INI file with these settings, which the original reads too. It contains the secrets, and not demo mode, which an
/// INI file cannot turn on.
///
/// # Errors
/// Names each key whose value an INI file cannot hold, such as a text with blanks at its ends.
pub fn to_ini(settings: &Settings) -> Result<String, SettingsError> {
    let default = Settings::default();
    let mut text = String::from("[channelstream]\n");
    let mut problems = Vec::new();
    for key in KEYS.iter().filter(|key| key.name != "demo") {
        if original_name(key).is_some() || !key.is_equal(settings, &default) {
            match ini_entry(key, settings) {
                Some(entry) => text.push_str(&format!("# {}\n{entry}", key.doc.trim())),
                None => problems.push(format!("{}: an INI file cannot hold its value", key.name)),
            }
        }
    }
    if !settings.channels.is_empty() {
        problems.push("channels: an INI file cannot hold patterns of channels".into());
    }
    SettingsError::unless_empty(problems).map(|()| text)
}

/// The original's name of a setting, which may be an old name here.
fn original_name(key: &Key) -> Option<&'static str> {
    ORIGINAL.split(' ').find(|name| *name == key.name || Some(*name) == key.old_name)
}

fn ini_entry(key: &Key, settings: &Settings) -> Option<String> {
    match settings.secrets.as_slice() {
        [one] if key.name == "secrets" => {
            ini_line("secret", one.expose()).or_else(|| ini_line("secrets", &ini_text(key, settings)))
        }
        _ => ini_line(original_name(key).unwrap_or(key.name), &ini_text(key, settings)),
    }
}

/// A line from which the same value is read, or none.
fn ini_line(name: &str, value: &str) -> Option<String> {
    let line = format!("{name} = {}\n", value.replace('%', "%%"));
    let section = read_section(&format!("[x]\n{line}"), "x").ok()?;
    (section.len() == 1 && section.get(name)? == value).then_some(line)
}

fn ini_text(key: &Key, settings: &Settings) -> String {
    match (key.show)(settings) {
        toml::Value::String(text) => text,
        toml::Value::Array(items) if (key.info)().is_secret => serde_json::json!(items).to_string(),
        toml::Value::Array(items) => {
            items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::DemoSetting;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Section {
        read_section(text, "channelstream").unwrap()
    }

    fn problem(text: &str) -> String {
        read_section(text, "channelstream").unwrap_err()
    }

    #[test]
    fn comments_are_skipped_and_keys_are_case_insensitive() {
        let section = read(
            "\u{feff}# c\n; c\n[other]\nport = 1\n[channelstream]\nPort: 8001\nhost=\n  # in between\nurl = a=b:c ; d # e\n",
        );
        assert_eq!(section["port"], "8001");
        assert_eq!(section["host"], "");
        assert_eq!(section["url"], "a=b:c ; d # e");
        assert_eq!(section.len(), 3);
    }

    #[test]
    fn indented_lines_continue_the_value() {
        let section = read(
            "[channelstream]\nfrom = 127.0.0.1,\n  # no\n       ::1,\n\n   10.0.0.1\nnext =\n  one\n  two\nlast = 1",
        );
        assert_eq!(section["from"], "127.0.0.1,\n::1,\n\n10.0.0.1");
        assert_eq!(section["next"], "\none\ntwo");
        assert_eq!(section["last"], "1");
        assert_eq!(read("[channelstream]\n  a = 1\n  b = 2\n")["b"], "2", "an indented file");
        assert_eq!(read("[channelstream]\r\na = 1\r\n  2\r\n")["a"], "1\n2");
    }

    #[test]
    fn percent_signs_refer_to_values_and_defaults() {
        let section =
            read("[DEFAULT]\nname = x\nport = 1\n[channelstream]\nport = 2\na = 100%% %(NAME)s%(port)s\n");
        assert_eq!(section["a"], "100% x2");
        assert_eq!(section["name"], "x");
        assert_eq!(problem("[channelstream]\nsecret = 5%hush"), "secret: a percent sign is written %%");
        assert!(problem("[channelstream]\na = %(b)s").contains("does not exist"));
        assert!(problem("[channelstream]\na = %(a)s").contains("circle"));
        assert!(problem("[channelstream]\na = %").contains("%%"));
    }

    #[test]
    fn problems_name_the_line_and_no_value() {
        assert_eq!(problem(""), "there is no section [channelstream]");
        assert_eq!(problem("[Channelstream]\na = 1"), "there is no section [channelstream]");
        assert!(problem("secret = hush").starts_with("line 1: a section"));
        assert_eq!(problem("[channelstream]\nhush"), "line 2: neither a section nor `key = value`");
        assert_eq!(problem("[channelstream]\n= hush"), "line 2: the key is missing");
        assert_eq!(problem("[channelstream]\na = 1\nA = 2"), "line 3: a was given before");
        assert_eq!(problem("[channelstream]\n[channelstream]"), "line 2: this section appeared before");
    }

    #[test]
    fn the_depth_of_references_is_limited() {
        let doubling = (1..20).map(|n| format!("a{n} = %(a{0})s%(a{0})s\n", n - 1)).collect::<String>();
        assert!(problem(&format!("[channelstream]\na0 = x\n{doubling}")).contains("too deep"));
    }

    #[test]
    fn an_ini_has_the_keys_of_the_original_and_no_demo() {
        let text = to_ini(&Settings { demo: DemoSetting::On, ..Settings::default() }).unwrap();
        for key in ["host", "port", "debug", "allow_cors", "validate_requests", "secret", "admin_secret"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} ="))), "{key}");
        }
        assert!(!text.contains("demo =") && !text.contains("workers"));
    }

    #[test]
    fn a_value_that_an_ini_cannot_hold_is_named() {
        let error = to_ini(&Settings { admin_user: " a".into(), ..Settings::default() }).unwrap_err();
        assert_eq!(error.problems, ["admin_user: an INI file cannot hold its value"]);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = read_section(&text, "channelstream");
            let _ = read_section(&format!("[channelstream]\n{text}"), "channelstream");
        }

        #[test]
        fn arbitrary_lines_never_panic(lines in prop::collection::vec("[ \\t]{0,3}[a%\\[\\]()s=:;#\u{85}é]{0,8}", 0..20)) {
            let _ = read_section(&format!("[channelstream]\n{}", lines.join("\n")), "channelstream");
        }

        #[test]
        fn an_ini_line_holds_the_same_value_or_is_refused(value in any::<String>()) {
            if let Some(line) = ini_line("key", &value) {
                let section = read_section(&format!("[channelstream]\na = 1\n{line}b = 2\n"), "channelstream").unwrap();
                prop_assert_eq!(&section["key"], &value);
                prop_assert_eq!(section.len(), 3);
            }
        }
    }
}
