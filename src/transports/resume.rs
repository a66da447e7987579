//! The query parameters of a client that asks for positions: `resume`, `since` and `positions`.

use crate::broker::hub::handle::HubHandle;
use crate::http_error::Refusal;
use crate::protocol::position::Since;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// The parameters as the client sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ResumeQuery {
    pub resume: Option<String>,
    pub since: Option<String>,
    pub positions: Option<String>,
}

impl ResumeQuery {
    /// What the client has; `None` for a client that does not ask for positions.
    ///
    /// # Errors
    /// `Invalid` on the parameter that cannot be read.
    pub fn read(&self, hub: &HubHandle) -> Result<Option<Arc<Since>>, Refusal> {
        match self.resume.as_deref() {
            None | Some("0") => Ok(None),
            Some("1") => {
                let since = hub.read_since(self.since.as_deref(), self.positions.as_deref());
                since.map(Some).map_err(|unreadable| invalid(unreadable.field, &unreadable.reason))
            }
            Some(_) => Err(invalid("resume", "Must be one of: 0, 1.")),
        }
    }

    /// The field of this name, if it is one of the parameters.
    pub fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "resume" => Some(&mut self.resume),
            "since" => Some(&mut self.since),
            "positions" => Some(&mut self.positions),
            _ => None,
        }
    }
}

/// A refusal of one parameter.
pub fn invalid(field: &str, reason: &str) -> Refusal {
    Refusal::Invalid(json!({ field: [reason] }))
}
