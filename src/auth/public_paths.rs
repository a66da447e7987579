//! What is served at which of the server's addresses: the settings `internal_host` and `internal_port`.

use actix_web::HttpRequest;

/// Paths that browsers and load balancers ask for.
const PUBLIC: [&str; 6] = ["/", "/ws", "/listen", "/disconnect", "/health/live", "/health/ready"];
/// And all that is below these: the browser library, the demo and its documents.
const PUBLIC_BELOW: [&str; 3] = ["/static", "/demo", "/docs"];

/// What an address is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// Everything: the only address, or the internal one.
    #[default]
    Everything,
    /// Browsers, beside an internal address. All else is not there, and no signature is looked at: who guesses secrets
    /// learns nothing.
    Browsers,
}

/// What the address is for that a request came to.
pub fn of(req: &HttpRequest) -> Exposure {
    req.app_data().copied().unwrap_or_default()
}

impl Exposure {
    /// Whether this path, as the routes know it, is there at all.
    pub fn has(self, path: &str) -> bool {
        let is_below = |root: &&str| {
            path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self == Self::Everything || PUBLIC.contains(&path) || PUBLIC_BELOW.iter().any(is_below)
    }

    /// Whether signatures count.
    pub fn takes_signatures(self) -> bool {
        self == Self::Everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_browsers_is_not_there() {
        let paths = [
            "/connect",
            "/message",
            "/info",
            "/admin",
            "/admin/sign_in",
            "/openapi.json",
            "/api-explorer",
            "/metrics",
        ];
        for path in paths.into_iter().chain(["/staticx", "/demonstration", "/listen/", "/health/x", ""]) {
            assert!(!Exposure::Browsers.has(path), "{path}");
            assert!(Exposure::Everything.has(path), "{path}");
        }
        for path in
            ["/", "/ws", "/listen", "/disconnect", "/static/channelstream/index.js", "/demo", "/demo/echo"]
        {
            assert!(Exposure::Browsers.has(path), "{path}");
        }
    }
}
