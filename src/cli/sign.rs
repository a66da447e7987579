//! `sign`: makes the header of a signed request, or a connection token.

use clap::Args;

use super::SecretArgs;
use super::report::{Failure, Report};
use super::tokens::TokenArgs;
use crate::auth::request_signature::BOUND_HEADER;
use crate::auth::signing::request_signature::{BoundTo, WINDOW_S};
use crate::auth::signing::{Keys, MAX_AGE_S};
use crate::config::{Inputs, Secret, Settings, SettingsError, load};

/// Name of the header that carries the signature.
const HEADER: &str = "x-channelstream-secret";

#[derive(Args)]
pub(super) struct SignArgs {
    /// Text to sign; the server ignores it
    #[arg(default_value = "channelstream")]
    value: String,
    /// Bind the signature to one request with this path and query; it is then valid once, for this request only
    #[arg(long, conflicts_with = "value")]
    path: Option<String>,
    /// Method of this request
    #[arg(long, requires = "path", default_value = "POST")]
    method: String,
    /// Body of this request; @FILE reads it from a file
    #[arg(long, requires = "path", default_value = "", allow_hyphen_values = true)]
    data: String,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

impl SignArgs {
    /// Signs with the secret of the flag, else with the first one in the settings.
    pub fn run(self, inputs: &Inputs, now_unix: u64) -> Result<Report, Failure> {
        let (settings, warnings) = self.secret.settings(inputs)?;
        if self.token.is_given() {
            return Ok(self.token.sign(&settings, now_unix)?.with_warnings(&warnings));
        }
        if let Some(path) = &self.path {
            let body = body(&self.data)?;
            let request = BoundTo { method: &self.method, target: path, body: &body };
            let nonce = format!("{:032x}", rand::random::<u128>());
            let signature = Keys::new(&settings.secrets).sign_bound(&request, now_unix, &nonce);
            let out = format!("Valid once, within {WINDOW_S} s.\n{BOUND_HEADER}: {signature}\n");
            return Ok(Report { out, ..Report::default() }.with_warnings(&warnings));
        }
        if self.value.chars().any(char::is_control) {
            return Err(Failure::Other("the value contains characters that a header cannot contain".into()));
        }
        let token = Keys::new(&settings.secrets).sign(&self.value, now_unix);
        let age = if settings.check_signature_age { format!("for {MAX_AGE_S} s") } else { "forever".into() };
        let (host, port) = settings.api_address();
        let everywhere = settings.internal_host.is_none() && !settings.listens_on_loopback();
        let host = if everywhere { "127.0.0.1" } else { host };
        let address = if host.contains(':') { format!("[{host}]") } else { host.into() };
        let out = format!(
            "Valid {age}, for example: curl -H \"$(channelstream sign | tail -1)\" http://{address}:{port}/info\n\
             {HEADER}: {token}\n"
        );
        Ok(Report { out, ..Report::default() }.with_warnings(&warnings))
    }
}

/// The bytes that curl's `-d` would send, newlines of a file included.
fn body(data: &str) -> Result<Vec<u8>, Failure> {
    match data.strip_prefix('@') {
        None => Ok(data.as_bytes().to_vec()),
        Some(path) => {
            std::fs::read(path).map_err(|error| Failure::Other(format!("{path}: cannot be read: {error}")))
        }
    }
}

impl SecretArgs {
    /// The settings, with the secret of the command line instead of theirs. They need not be valid for a server.
    pub fn settings(self, inputs: &Inputs) -> Result<(Settings, Vec<String>), SettingsError> {
        let loaded = load(inputs)?;
        let mut settings = loaded.settings;
        let mut warnings = loaded.warnings;
        if let Some(secret) = self.secret {
            if secret.trim().len() < secret.len() {
                warnings.push("--secret: blanks at its ends are removed, as the server removes them".into());
            }
            settings.secrets = vec![Secret::new(secret.trim())];
        }
        Ok((settings, warnings))
    }
}
