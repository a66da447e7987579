//! `verify`: reports whether a signature or a connection token is accepted, and if not, why and what to do about it.

use chrono::DateTime;
use clap::Args;

use super::SecretArgs;
use super::report::{Failure, Report};
use super::tokens;
use crate::auth::signing::{BadSignature, Keys, MAX_AGE_S, Verified, claimed_time};
use crate::config::{Inputs, Secret};

/// itsdangerous up to 0.24 counted seconds from 2011-01-01.
const OLD_EPOCH_S: i64 = 1_293_840_000;
/// An age near the old epoch comes from such a version: no clock is wrong by forty years.
const YEAR_S: i64 = 366 * 86_400;
/// A smaller difference between clocks is not reported.
const SKEW_S: i64 = 2;

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The signature, value.timestamp.mac, or the connection token
    token: String,
    #[command(flatten)]
    secret: SecretArgs,
}

impl VerifyArgs {
    /// Verifies with the secret of the flag, else with those in the settings.
    pub fn run(self, inputs: &Inputs, now_unix: u64) -> Result<Report, Failure> {
        let (settings, warnings) = self.secret.settings(inputs)?;
        if tokens::is_token(&self.token) {
            return Ok(tokens::explain(&self.token, &settings, now_unix)?.with_warnings(&warnings));
        }
        let max_age_s = settings.check_signature_age.then_some(MAX_AGE_S);
        Ok(explain(&self.token, &settings.secrets, now_unix, max_age_s).with_warnings(&warnings))
    }
}

fn explain(token: &str, secrets: &[Secret], now_unix: u64, max_age_s: Option<u64>) -> Report {
    let verified = Keys::new(secrets).verify(token, now_unix, max_age_s);
    let mut lines = match verified {
        Ok(verified) => accepted(verified, secrets.len(), max_age_s),
        Err(reason) => {
            let mut lines = vec![format!("refused: {reason}")];
            lines.extend(advice(reason, token, secrets, now_unix));
            lines
        }
    };
    if let Some(time) =
        claimed_time(token).and_then(|time| DateTime::from_timestamp(time.try_into().ok()?, 0))
    {
        lines.push(format!("Its time is {}.", time.format("%Y-%m-%d %H:%M:%S UTC")));
    }
    lines.push(
        "The server ignores the signed value: it compares it neither with the path nor with anything else."
            .into(),
    );
    let report = Report { out: lines.join("\n") + "\n", ..Report::default() };
    if verified.is_err() { report.failed() } else { report }
}

fn accepted(verified: Verified, secrets: usize, max_age_s: Option<u64>) -> Vec<String> {
    let Verified { secret_index, age_s } = verified;
    let mut lines = vec![format!("accepted: made with secret {} of {secrets}", secret_index + 1)];
    let ahead_s = age_s.saturating_neg();
    if ahead_s > 20 * YEAR_S {
        lines.push(
            "It is decades in the future: does the signer count milliseconds? It will never expire.".into(),
        );
    } else if ahead_s > SKEW_S {
        lines.push(format!(
            "It is {ahead_s} s in the future: the signer's clock is ahead of this machine's by that much (clock skew). \
             The server accepts it; itsdangerous 2 would refuse it."
        ));
    } else {
        lines.push(format!("It is {} s old.", age_s.max(0)));
    }
    if max_age_s.is_none() {
        lines.push("Its age is not checked, because check_signature_age is off.".into());
    }
    lines
}

fn advice(reason: BadSignature, token: &str, secrets: &[Secret], now_unix: u64) -> Vec<String> {
    match reason {
        BadSignature::NoSeparator => vec!["A signature is value.timestamp.mac, with dots in between.".into()],
        BadSignature::NoTimestamp => {
            vec![
                "The secret is right, but the signature was made by Signer instead of TimestampSigner."
                    .into(),
            ]
        }
        BadSignature::BadTimestamp => {
            vec![
                "The secret is right, but the part before the last dot is not base64 of Unix seconds.".into(),
            ]
        }
        BadSignature::MacLength { bytes: 32 } => {
            vec!["This is the length of SHA-256; only SHA-1 is accepted.".into()]
        }
        BadSignature::MacLength { .. } => vec!["Was a part cut off, or another digest used?".into()],
        BadSignature::BadBase64 => about_base64(token, secrets, now_unix),
        BadSignature::WrongMac => about_mac(token, secrets, now_unix),
        BadSignature::TooOld { age_s, max_age_s } => about_age(age_s, max_age_s),
    }
}

fn about_base64(token: &str, secrets: &[Secret], now_unix: u64) -> Vec<String> {
    let bare = token.trim().trim_matches(['"', '\'']);
    let good = |token: &str| Keys::new(secrets).verify(token, now_unix, None).is_ok();
    let hint = if bare != token && good(bare) {
        "There are blanks, newlines or quotes around it; without them its mac is right."
    } else if good(&token.replace(' ', "+")) {
        "A plus became a blank: percent-encode the signature in a query string."
    } else if token.contains('%') {
        "It is still percent-encoded."
    } else {
        "Only letters, digits, - _ + / and padding may follow the last dot."
    };
    vec![hint.into()]
}

/// Tries the usual mistakes with secrets.
fn about_mac(token: &str, secrets: &[Secret], now_unix: u64) -> Vec<String> {
    let made_with = |change: &dyn Fn(&str) -> String| {
        let changed: Vec<_> = secrets.iter().map(|secret| Secret::new(change(secret.expose()))).collect();
        Keys::new(&changed).verify(token, now_unix, None).is_ok()
    };
    let hint = if made_with(&|_| "secret".into()) {
        "It was made with the default secret, which this server does not use."
    } else if ["\n", "\r\n", "\r", " "].iter().any(|end| made_with(&|secret| format!("{secret}{end}"))) {
        "It was made with the secret and a newline or blank after it: the signer read it from a file without trimming, and \
         the server removes such blanks."
    } else if made_with(&|secret| format!(" {secret}")) {
        "It was made with a blank before the secret, which the server removes."
    } else if made_with(&|_| String::new()) {
        "It was made with an empty secret: the signer's setting is missing."
    } else {
        "Do both sides use the same secret? The signature may also have been changed in transit, or made with another salt \
         or key derivation than the defaults of itsdangerous' TimestampSigner."
    };
    vec![hint.into()]
}

fn about_age(age_s: i64, max_age_s: u64) -> Vec<String> {
    let since_old_epoch_s = age_s - OLD_EPOCH_S;
    if since_old_epoch_s.abs() < YEAR_S {
        return vec![
            "It was made by itsdangerous 0.24 or older, which counts seconds from 2011 instead of 1970. Upgrade it to \
             1.1 or later where requests are signed, or set check_signature_age = false."
                .into(),
        ];
    }
    let over_s = age_s.saturating_sub_unsigned(max_age_s);
    vec![format!(
        "The secret is right, but it is {over_s} s too old. If it was made just now, the signer's clock is about \
         {age_s} s behind this machine's (clock skew)."
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(*text)).collect()
    }

    fn token(secret: &str, time: u64) -> String {
        Keys::new(&secrets(&[secret])).sign("/connect", time)
    }

    fn explained(token: &str) -> (bool, String) {
        let report = explain(token, &secrets(&["new", "hush"]), NOW, Some(60));
        (report.exit_code == 0, report.out)
    }

    #[track_caller]
    fn refused(token: &str, why: &str) {
        let (accepted, text) = explained(token);
        assert!(!accepted && text.starts_with("refused: ") && text.contains(why), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn secret_and_age_of_an_accepted_signature_are_reported() {
        let (accepted, text) = explained(&token("hush", NOW - 7));
        assert!(accepted);
        assert!(text.contains("made with secret 2 of 2") && text.contains("It is 7 s old."), "{text}");
        assert!(
            text.contains("Its time is 2023-11-14 22:13:13 UTC.")
                && text.contains("ignores the signed value"),
            "{text}"
        );
    }

    #[test]
    fn a_time_in_the_future_is_reported_as_clock_skew() {
        let (accepted, text) = explained(&token("hush", NOW + 90));
        assert!(accepted && text.contains("90 s in the future") && text.contains("clock skew"), "{text}");
        assert!(explained(&token("hush", NOW * 1000)).1.contains("milliseconds"));
    }

    #[test]
    fn the_excess_age_of_an_old_signature_is_reported() {
        refused(&token("hush", NOW - 75), "15 s too old");
        refused(&token("hush", NOW - 75), "about 75 s behind");
        refused(&token("hush", NOW - 1_293_840_000 - 3), "itsdangerous 0.24");
    }

    #[test]
    fn the_age_check_can_be_turned_off() {
        let report = explain(&token("hush", NOW - 75), &secrets(&["hush"]), NOW, None);
        assert!(report.exit_code == 0 && report.out.contains("check_signature_age is off"));
    }

    #[test]
    fn the_mistake_in_a_wrong_secret_is_guessed() {
        refused(&token("secret", NOW), "default secret");
        for end in ["\n", "\r", "\r\n", " "] {
            refused(&token(&format!("hush{end}"), NOW), "newline or blank after it");
        }
        refused(&token(" hush", NOW), "a blank before the secret");
        refused(&token("", NOW), "empty secret");
        refused(&token("other", NOW), "same secret");
    }

    #[test]
    fn the_defect_of_a_broken_signature_is_reported() {
        let good = token("hush", NOW);
        refused("garbage", "no dot");
        refused(&format!("{good}\n"), "without them its mac is right");
        refused(&format!("\"{good}\""), "quotes around it");
        refused(&format!("{good}%3D"), "percent-encoded");
        refused(&format!("{good}!"), "Only letters");
        refused(&good[..good.len() - 1], "cut off");
        refused(&good[..good.len() - 2], "not base64");
        refused("a.ZVPxAA.Ypzd3hVATDcxNVmtfgUN9xgjVzSSynrAHrhy1C3y8uE", "SHA-256");
    }

    #[test]
    fn a_plus_that_became_a_blank_is_detected() {
        let with_plus = (0..)
            .map(|n| Keys::new(&secrets(&["hush"])).sign(&format!("{n}"), NOW))
            .find(|t| t.contains('_'));
        let standard = with_plus.unwrap().replace('_', "/");
        assert!(explained(&standard).0);
        let token = (0..)
            .map(|n| Keys::new(&secrets(&["hush"])).sign(&format!("{n}"), NOW))
            .find(|t| t.contains('-'));
        refused(&token.unwrap().replace('-', " "), "A plus became a blank");
    }
}
