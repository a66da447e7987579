//! GET /docs/first-application: the tutorial that performs its calls.

use crate::auth::Gate;
use crate::web::pages::FIRST_APPLICATION;
use actix_web::{HttpRequest, HttpResponse, web};

/// Sends the page. It makes signed calls with a secret that the reader enters.
pub async fn page(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let demo = gate.serves_demo(req.head());
    let values = [("demo", if demo { "true" } else { "false" }), ("secret", known_secret(&gate, demo))];
    FIRST_APPLICATION.serve(&gate.base_url(req.head()), &values)
}

/// The well-known secret, if the server uses it. Any other secret is never sent.
fn known_secret(gate: &Gate, demo: bool) -> &'static str {
    if demo && gate.secrets().accept_known_secret { "secret" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::config::Settings;
    use std::sync::Arc;

    #[test]
    fn only_the_well_known_secret_is_filled_in() {
        let filled_in = |settings| known_secret(&Gate::new(Arc::new(settings)), true);
        let own_secret = || Settings { secrets: vec![Secret::new("own")], ..Settings::default() };
        assert_eq!((filled_in(Settings::default()), filled_in(own_secret())), ("secret", ""));
        assert_eq!(known_secret(&Gate::new(Arc::default()), false), "");
        let gate = Gate::new(Arc::default());
        gate.replace_secrets(&own_secret());
        assert_eq!(known_secret(&gate, true), "", "the server uses another secret now");
    }
}
