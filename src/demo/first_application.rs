//! GET /docs/first-application: the tutorial that performs its calls.

use crate::admin::pages::FIRST_APPLICATION;
use crate::gate::Gate;
use actix_web::{HttpRequest, HttpResponse, web};

/// Serves the page. It makes signed calls with a secret that its reader types in.
pub async fn page(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let demo = gate.settings.demo_enabled();
    let values = [("demo", if demo { "true" } else { "false" }), ("secret", known_secret(&gate))];
    FIRST_APPLICATION.serve(&gate.base_url(req.head()), &values)
}

/// The secret that everybody knows is filled in where it is the server's; another one never leaves the server.
fn known_secret(gate: &Gate) -> &'static str {
    if gate.settings.demo_enabled() && gate.secrets().accept_known_secret { "secret" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Secret, Settings};
    use std::sync::Arc;

    #[test]
    fn only_the_secret_that_everybody_knows_is_filled_in() {
        let filled_in = |settings| known_secret(&Gate::new(Arc::new(settings)));
        let own = || Settings { secrets: vec![Secret::new("own")], ..Settings::default() };
        assert_eq!((filled_in(Settings::default()), filled_in(own())), ("secret", ""));
        let exposed = Settings { host: "0.0.0.0".into(), allow_default_secrets: true, ..Settings::default() };
        assert_eq!(filled_in(exposed), "");
        let gate = Gate::new(Arc::default());
        gate.exchange_secrets(&own());
        assert_eq!(known_secret(&gate), "", "the server's is another one by now");
    }
}
