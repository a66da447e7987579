//! Why tokens are refused and why returning clients lose frames, with a counter for each cause.

use super::Counter;
use crate::protocol::position::LossReason;

/// Why a connection token is refused, as far as operators act on it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCause {
    /// A token is required, and none was sent.
    Missing,
    Expired,
    /// It is valid or issued in the future only.
    NotYetValid,
    Signature,
    /// Its algorithm is not accepted, or no key of the server fits.
    Key,
    /// Its content is not what this server or this connection requires.
    Claims,
    /// It is not a token, or too long.
    Malformed,
    /// The application has revoked it.
    Revoked,
}

impl TokenCause {
    pub const ALL: [Self; 8] = [
        Self::Missing,
        Self::Expired,
        Self::NotYetValid,
        Self::Signature,
        Self::Key,
        Self::Claims,
        Self::Malformed,
        Self::Revoked,
    ];

    /// The name in counters and recordings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Signature => "signature",
            Self::Key => "key",
            Self::Claims => "claims",
            Self::Malformed => "malformed",
            Self::Revoked => "revoked",
        }
    }
}

/// Connection tokens that were refused, or missing where one is required.
#[derive(Debug, Default)]
pub struct RefusedTokens([Counter; TokenCause::ALL.len()]);

impl RefusedTokens {
    pub fn of(&self, cause: TokenCause) -> &Counter {
        &self.0[cause as usize]
    }
}

/// Streams of which a returning client may have missed something.
#[derive(Debug, Default)]
pub struct StreamLosses([Counter; LossReason::ALL.len()]);

impl StreamLosses {
    pub fn of(&self, reason: LossReason) -> &Counter {
        &self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Counters;
    use crate::telemetry::metrics::{FailureEffect, failures};

    #[test]
    fn each_cause_has_a_metric_with_its_name() {
        let counters = Counters::default();
        for cause in TokenCause::ALL {
            counters.refused_tokens.of(cause).add(1 + cause as u64);
        }
        for reason in LossReason::ALL {
            counters.streams_not_recovered.of(reason).add(1 + reason as u64);
        }
        let counted = |prefix: &str| {
            let found = failures(&counters)
                .filter_map(|(metric, _, count)| Some((metric.name.strip_prefix(prefix)?, count)));
            found.collect::<Vec<_>>()
        };
        let causes = TokenCause::ALL.map(|cause| (cause.name(), 1 + cause as u64));
        assert_eq!(counted("refused_token_"), causes);
        let reasons = LossReason::ALL.map(|reason| (reason.name().replace('-', "_"), 1 + reason as u64));
        let losses = counted("not_recovered_");
        assert_eq!(
            losses.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>(),
            reasons
        );
        let refused = failures(&counters).filter(|(_, failure, _)| failure.effect == FailureEffect::Refused);
        assert_eq!(refused.map(|(_, _, count)| count).sum::<u64>(), counters.refusals());
        assert_eq!(counters.refusals(), (1..=8).sum::<u64>(), "a loss is no refusal");
    }
}
