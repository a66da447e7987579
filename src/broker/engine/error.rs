//! Why a call of the engine failed.

use crate::http_error::Refusal;
use crate::telemetry::log_sums::{FAILED_CALLS, escaped};

/// What an error contains that a script caused while it ran.
const OF_A_SCRIPT: &str = " script: ";

/// A call that Redis has not answered, or has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// There is no connection to Redis, or too many calls wait for it. Nothing was done.
    Unavailable,
    /// Redis did not answer in time. If the call was sent, it may have taken effect.
    Timeout { was_sent: bool },
    /// Redis has no memory left. Nothing was done.
    Full,
    /// Redis refused the call with this text, which the server does not expect. Nothing was done, unless a script failed in
    /// the middle.
    Refused(String),
}

/// Logs the text of an unexpected error.
impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable => Self::EngineUnavailable,
            EngineError::Timeout { was_sent } => Self::EngineTimeout { was_sent },
            EngineError::Full => Self::EngineFull,
            EngineError::Refused(text) => {
                FAILED_CALLS.log(None, format_args!("Redis refused a call: {}", escaped(&text)));
                match text.contains(OF_A_SCRIPT) {
                    true => Self::EngineTimeout { was_sent: true },
                    false => Self::EngineUnavailable,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_was_sent_is_uncertain() {
        let errors = [
            (EngineError::Unavailable, "engine-unavailable", false),
            (EngineError::Timeout { was_sent: false }, "engine-timeout", false),
            (EngineError::Timeout { was_sent: true }, "engine-timeout", true),
            (EngineError::Full, "engine-full", false),
            (EngineError::Refused("ERR CROSSSLOT".into()), "engine-unavailable", false),
            (
                EngineError::Refused("ERR user_function:2: no x script: f, on @f:2.".into()),
                "engine-timeout",
                true,
            ),
        ];
        for (error, code, is_uncertain) in errors {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.code(), refusal.is_uncertain()), (code, is_uncertain));
        }
    }
}
