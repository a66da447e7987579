//! One row of the settings table, and the macro that turns the table into a struct, its defaults and its rows.

use super::kind::Given;
use super::table::Settings;

/// What is known of one setting.
pub(super) struct Key {
    /// Name of the field, and the key in files.
    pub name: &'static str,
    /// The name that it had before, which is still accepted.
    pub old_name: Option<&'static str>,
    /// Heading it stands under in the sample file and the reference page.
    pub group: &'static str,
    /// The sentence about it.
    pub doc: &'static str,
    /// Reads a value into the settings; what is dropped without an error is noted.
    pub read: fn(&mut Settings, Given<'_>, &mut Vec<String>) -> Result<(), String>,
    /// Checks the value.
    pub check: fn(&Settings) -> Result<(), String>,
    /// The value as it is written into a file.
    pub show: fn(&Settings) -> toml::Value,
    /// What may be given, in a few words.
    pub expects: fn() -> String,
    /// Whether the value must not be printed.
    pub is_secret: fn() -> bool,
    /// Whether an empty text means something else than "not given".
    pub takes_blank: fn() -> bool,
}

impl Key {
    /// The setting with this name or old name.
    pub fn find(name: &str) -> Option<&'static Self> {
        super::table::KEYS.iter().find(|key| key.name == name || key.old_name == Some(name))
    }
}

/// `group { /// sentence. field was old_name: type = default => kind; }`
macro_rules! settings {
    ($($group:literal {
        $($(#[doc = $doc:literal])+ $name:ident $(was $old_name:ident)?: $type:ty = $default:expr => $kind:expr;)+
    })+) => {
        /// All settings of a server. Field names are the keys of `channelstream.toml`.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($($(#[doc = $doc])+ pub $name: $type,)+)+
            /// The INI file the settings came from, if any.
            pub ini: Option<std::path::PathBuf>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($($name: $default,)+)+ ini: None }
            }
        }

        /// All settings in the order of the sample file.
        pub(super) static KEYS: &[Key] = &[$($(Key {
            name: stringify!($name),
            old_name: [$(stringify!($old_name))?].first().copied(),
            group: $group,
            doc: concat!($($doc),+),
            read: |settings, given, notes| {
                settings.$name = ValueKind::<$type>::read(&$kind, given, notes)?;
                Ok(())
            },
            check: |settings| ValueKind::<$type>::check(&$kind, &settings.$name),
            show: |settings| ValueKind::<$type>::show(&$kind, &settings.$name),
            expects: || ValueKind::<$type>::expects(&$kind),
            is_secret: || ValueKind::<$type>::is_secret(&$kind),
            takes_blank: || ValueKind::<$type>::takes_blank(&$kind),
        },)+)+];
    };
}

pub(super) use settings;
