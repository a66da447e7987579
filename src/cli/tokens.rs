//! Connection tokens on the command line: `sign --token` makes one, `verify` explains one.

use chrono::DateTime;
use clap::Args;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::logging::controls_terminal;
use super::report::{Failure, Report};
use crate::api::body::RequestLimits;
use crate::api::token::read_grant;
use crate::auth::secrets::{Fingerprints, Secrets};
use crate::auth::tokens::{TokenFault, TokenVerifier, VerifiedToken, claimed};
use crate::config::{Secret, Settings};

/// Claims that are shown as times.
const TIMES: [&str; 3] = ["exp", "iat", "nbf"];

#[derive(Args)]
pub(super) struct TokenArgs {
    /// Make a connection token (JWT, HS256) instead of a signature; the last line of the output is the token
    #[arg(long, requires = "user", conflicts_with_all = ["value", "path"])]
    token: bool,
    /// User of the token
    #[arg(long, requires = "token")]
    user: Option<String>,
    /// Channel that the user joins; may be given several times
    #[arg(long, value_name = "NAME", requires = "token")]
    channel: Vec<String>,
    /// How long the token is valid, such as 10min or 1h
    #[arg(long = "for", value_name = "TIME", requires = "token", default_value = "1h")]
    valid_for: SignedDuration,
}

impl TokenArgs {
    /// The user of the token, if one is to be made.
    pub fn is_given(&self) -> bool {
        self.token
    }

    /// Makes a token that the server with these settings accepts.
    pub fn sign(&self, settings: &Settings, now_unix: u64) -> Result<Report, Failure> {
        let seconds = u64::try_from(self.valid_for.as_secs()).ok().filter(|seconds| *seconds > 0);
        let seconds = seconds.ok_or_else(|| Failure::Other("--for must be at least one second".into()))?;
        let user = self.user.as_deref().unwrap_or_default();
        let expires = now_unix.saturating_add(seconds);
        let mut claims =
            json!({ "sub": user, "iat": now_unix, "exp": expires, "aud": settings.token_audience });
        if let Some(issuer) = &settings.token_issuer {
            claims["iss"] = issuer.as_str().into();
        }
        if !self.channel.is_empty() {
            claims["channels"] = self.channel.clone().into();
        }
        let secret = settings.secrets.first().map(Secret::expose).unwrap_or_default();
        let failed = |error: jsonwebtoken::errors::Error| Failure::Other(error.to_string());
        let key = EncodingKey::from_secret(secret.as_bytes()).map_err(failed)?;
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(failed)?;
        // What the server would refuse is not printed.
        let refused =
            |fault: TokenFault| Failure::Other(format!("the server would refuse the token: {fault}"));
        verified(&token, settings, now_unix).map_err(Failure::from)?.map_err(refused)?;
        let out = format!("Valid until {}, for example: /ws?token=…\n{token}\n", utc(expires));
        Ok(Report { out, ..Report::default() })
    }
}

type Verified = Result<VerifiedToken, TokenFault>;

/// Verifies a token and its claims as the server does. The outer error is that of the key files.
fn verified(
    token: &str,
    settings: &Settings,
    now_unix: u64,
) -> Result<Verified, crate::config::SettingsError> {
    let (verifier, _) = TokenVerifier::load(settings)?;
    let secrets = Secrets::new(settings, &Secret::random(), &Fingerprints::default(), None, now_unix);
    let verified = verifier.verify(token, &secrets, None, now_unix).and_then(|verified| {
        read_grant(&verified, None, &RequestLimits::from(settings), now_unix)?;
        Ok(verified)
    });
    Ok(verified)
}

/// Whether a text looks like a token rather than a signature.
pub(super) fn is_token(text: &str) -> bool {
    // The base64url of `{"`.
    text.trim().starts_with("eyJ") && text.matches('.').count() == 2
}

/// Reports whether the server accepts a token, and what it contains.
pub(super) fn explain(token: &str, settings: &Settings, now_unix: u64) -> Result<Report, Failure> {
    let verified = verified(token, settings, now_unix)?;
    let mut lines = vec![match &verified {
        Ok(VerifiedToken { secret: Some(number), .. }) => {
            format!(
                "accepted: a connection token made with secret {} of {}",
                number + 1,
                settings.secrets.len()
            )
        }
        Ok(_) => "accepted: a connection token that fits a public key of the server".into(),
        Err(fault) => format!("refused: {fault}"),
    }];
    match (claimed(token), &verified) {
        (None, _) => {}
        (Some((header, claims)), verified) => {
            let trust = if verified.is_ok() { "" } else { ", as it states" };
            lines.push(format!("Its header{trust}: {header}"));
            lines.push(format!("Its claims{trust}:"));
            lines.extend(shown(&claims));
        }
    }
    let out = lines.iter().map(|line| printable(line) + "\n").collect();
    let report = Report { out, ..Report::default() };
    Ok(if verified.is_err() { report.failed() } else { report })
}

/// One line for each claim; times also as text.
fn shown(claims: &Map<String, Value>) -> Vec<String> {
    let line = |(name, value): (&String, &Value)| {
        let time =
            value.as_f64().filter(|_| TIMES.contains(&name.as_str())).map(|seconds| utc(seconds as u64));
        format!("  {name}: {value}{}", time.map(|time| format!(" ({time})")).unwrap_or_default())
    };
    claims.iter().map(line).collect()
}

/// A line without characters that control the terminal: a token may come from an attacker.
fn printable(line: &str) -> String {
    let escaped = |char: char| match controls_terminal(char) {
        true => char.escape_unicode().to_string(),
        false => char.to_string(),
    };
    line.chars().map(escaped).collect()
}

fn utc(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| DateTime::from_timestamp(unix, 0));
    time.map_or_else(
        || "a time beyond the calendar".into(),
        |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn args(user: &str, seconds: i64) -> TokenArgs {
        TokenArgs {
            token: true,
            user: Some(user.into()),
            channel: vec!["news".into()],
            valid_for: SignedDuration::from_secs(seconds),
        }
    }

    fn signed(settings: &Settings) -> String {
        let report = args("ann", 3_600).sign(settings, NOW).unwrap();
        report.out.lines().last().unwrap().to_owned()
    }

    #[test]
    fn a_signed_token_is_accepted_and_explained() {
        let settings = Settings { token_issuer: Some("https://app.example".into()), ..Settings::default() };
        let token = signed(&settings);
        assert!(is_token(&token) && !is_token("channelstream.ZVPxAA.Ypzd3hVATDcxNVmtfgUN9xgjVzS"));
        let report = explain(&token, &settings, NOW + 60).unwrap();
        assert_eq!(report.exit_code, 0, "{}", report.out);
        for line in [
            "accepted: a connection token made with secret 1 of 1",
            r#"  sub: "ann""#,
            "  exp: 1700003600 (2023-11-14 23:13:20 UTC)",
            r#"  iss: "https://app.example""#,
            r#"  channels: ["news"]"#,
        ] {
            assert!(report.out.lines().any(|shown| shown == line), "{line} in {}", report.out);
        }
    }

    #[test]
    fn the_reason_of_a_refusal_is_reported_with_the_claims() {
        let settings = Settings::default();
        let token = signed(&settings);
        let refused = |settings: &Settings, now: u64| {
            let report = explain(&token, settings, now).unwrap();
            assert_eq!(report.exit_code, 1);
            report.out
        };
        let expired = refused(&settings, NOW + 3_612);
        assert!(expired.starts_with("refused: It expired 12 s ago.\n"), "{expired}");
        assert!(expired.contains("as it states") && expired.contains(r#"sub: "ann""#), "{expired}");
        let other = Settings { secrets: vec![Secret::new("other")], ..Settings::default() };
        assert!(refused(&other, NOW).starts_with("refused: Its signature is wrong."));
    }

    #[test]
    fn no_token_is_made_that_the_server_would_refuse() {
        let failure = |args: TokenArgs, settings: Settings| match args.sign(&settings, NOW) {
            Err(Failure::Other(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(failure(args("", 60), Settings::default()).contains("Its claim `sub`"));
        assert!(failure(args("ann", 0), Settings::default()).contains("--for"));
        let without = Settings { token_algorithms: Vec::new(), ..Settings::default() };
        assert!(failure(args("ann", 60), without).contains("algorithm"));
    }

    #[test]
    fn nothing_in_a_token_controls_the_terminal() {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let token = [
            "{\"alg\":\"HS256\",\"kid\":\"\u{9b}1m\"}",
            "{\"a\\u001b[2J\":\"\u{9b}2J\u{7f}\u{202e}\",\"é\":\"ü\"}",
        ];
        let [header, claims] = token.map(|part| URL_SAFE_NO_PAD.encode(part));
        let out = explain(&format!("{header}.{claims}.AA"), &Settings::default(), NOW).unwrap().out;
        assert!(out.contains("[2J") && out.contains("é: \"ü\""), "{out}");
        assert!(!out.chars().any(|char| controls_terminal(char) && char != '\n'), "{out:?}");
    }
}
