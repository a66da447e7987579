//! What the sample file and the reference page say about the rules for channels.

/// The part of the sample file, with an example. All of it is commented out.
pub(super) const SAMPLE: &str = "\
# Rules for channels by pattern: `*` stands for any characters of a name, `?` for one. The first table that matches applies.
# All other keys come before the tables. docs/settings.md explains them.

# [[channels]]
# match = \"repo$*\"
# defaults = {notify_presence = true, store_history = true, history_size = 100}
# fixed = [\"store_frames\"]
# frames = 500
# frames_age_s = 0
# replay = \"absence\"
# presence = \"events\"
# presence_ms = 500
# lists_up_to = 100
# flap_ms = 0
";

/// The section of the reference page.
pub(super) const PAGE: &str = r#"
Tables `[[channels]]` at the end of a TOML file are rules for channels by their names. The first table that matches a channel
applies to it; without one the defaults apply. Environment variables, the command line and INI files cannot hold them.
`channelstream check-config --channel NAME` prints the rules of a channel, and the console shows them. They take effect when
the server starts.

```toml
[[channels]]
match = "repo$*"
defaults = {notify_presence = true, store_history = true, history_size = 100}
fixed = ["store_frames"]
frames = 500
frames_age_s = 0
replay = "absence"
presence = "events"
presence_ms = 500
lists_up_to = 100
flap_ms = 0
```

| key | default | values | meaning |
| --- | --- | --- | --- |
| `match` | | 1-1024 characters | The names of the channels: `*` stands for any characters, also for none, `?` for exactly one. |
| `defaults` | `{}` | settings of [channel_config](api.md#post-channel_config) | The settings of a channel as long as your application gives no others. A setting that a request leaves out returns to them. |
| `fixed` | `[]` | names of these settings | These settings keep their defaults, whatever requests of your application contain. |
| `frames` | `channel_frames` | 0-1000000 | Frames that a channel stores for catch-up. |
| `frames_age_s` | `0` | 0-31622400 | Frames older than this, in seconds, are not stored any longer; 0 means any age. |
| `replay` | `"absence"` | `"absence"`, `"members"` | `"members"`: a new member first receives all stored frames of the channel, as [catch-up](api.md#catch-up); otherwise a connection receives what was published since it subscribed. A client that returns with a [position](recovery.md) always continues there. |
| `presence` | `"events"` | `"events"`, `"diffs"`, `"counts"`, `"none"` | What members receive in a channel with `notify_presence`: an event for each user, the [changes or the numbers](api.md#presence-in-large-channels) once in an interval, or nothing. |
| `presence_ms` | `500` | 10-60000 ms | Interval of diffs and counts. |
| `lists_up_to` | `0` | 0-4294967296 | With `broadcast_presence_with_user_lists`, events contain the list as long as it has at most this many users, and otherwise an empty list; 0 means always. |
| `flap_ms` | `0` | 0-3600000 ms | A user that returns within this time has not left: members receive nothing, and until then all lists and numbers of users include it. |

A file has at most 1,000 of these tables.
"#;

#[cfg(test)]
mod tests {
    use super::super::channel_rules::{ChannelPatterns, ChannelRules};
    use super::*;

    #[test]
    fn both_texts_document_every_key_and_their_examples_are_valid() {
        let sample = SAMPLE.replace("# ", "");
        let sample = &sample[sample.find("[[channels]]").unwrap()..];
        let (_, page) = PAGE.split_once("```toml\n").unwrap();
        let (page, table) = page.split_once("```").unwrap();
        assert_eq!(sample.trim(), page.trim());
        assert!(!ChannelPatterns::parse(page).unwrap().is_empty());
        for key in toml::Table::try_from(ChannelRules::default().resolved(1)).unwrap().keys() {
            assert!(sample.contains(&format!("\n{key} = ")), "{key} is missing in the example");
            assert!(table.contains(&format!("\n| `{key}` |")), "{key} is missing on the page");
        }
    }
}
