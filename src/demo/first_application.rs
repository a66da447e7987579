//! GET /docs/first-application: the tutorial that performs its calls.

use crate::admin::pages::FIRST_APPLICATION;
use crate::gate::Gate;
use crate::settings::Settings;
use actix_web::{HttpRequest, HttpResponse, web};

/// Serves the page. It makes signed calls with a secret that its reader types in.
pub async fn page(gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let demo = gate.settings.demo_enabled();
    let values = [("demo", if demo { "true" } else { "false" }), ("secret", known_secret(&gate.settings))];
    FIRST_APPLICATION.serve(&gate.base_url(req.headers()), &values)
}

/// The secret that everybody knows is filled in where it is the server's; another one never leaves the server.
fn known_secret(settings: &Settings) -> &'static str {
    if settings.demo_enabled() && settings.accepts_known_secret() { "secret" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    #[test]
    fn only_the_secret_that_everybody_knows_is_filled_in() {
        let known = Settings::default();
        assert_eq!(known_secret(&known), "secret");
        assert_eq!(known_secret(&Settings { secrets: vec![Secret::new("own")], ..known.clone() }), "");
        let exposed = Settings { host: "0.0.0.0".into(), allow_default_secrets: true, ..known };
        assert_eq!(known_secret(&exposed), "");
    }
}
