//! The paths that each of the server's addresses serves: the settings `internal_host` and `internal_port`.

use actix_web::HttpRequest;

/// Paths that browsers and load balancers request.
const PUBLIC: [&str; 7] = ["/", "/ws", "/listen", "/disconnect", "/token", "/health/live", "/health/ready"];
/// Public folders: the browser library, the demo and its documents.
const PUBLIC_BELOW: [&str; 3] = ["/static", "/demo", "/docs"];

/// The purpose of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// Everything: the only address, or the internal one.
    #[default]
    Everything,
    /// Browsers, beside an internal address. All other paths are 404, and signatures are ignored, so that a client cannot
    /// guess secrets here.
    Browsers,
}

/// The exposure of the address that received a request.
pub fn exposure_of(req: &HttpRequest) -> Exposure {
    req.app_data().copied().unwrap_or_default()
}

impl Exposure {
    /// Whether the address serves this inner path.
    pub fn serves(self, path: &str) -> bool {
        let is_below = |root: &&str| {
            path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self == Self::Everything || PUBLIC.contains(&path) || PUBLIC_BELOW.iter().any(is_below)
    }

    pub fn accepts_signatures(self) -> bool {
        self == Self::Everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_browsers_serves_public_paths_only() {
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
            assert!(!Exposure::Browsers.serves(path), "{path}");
            assert!(Exposure::Everything.serves(path), "{path}");
        }
        for path in [
            "/",
            "/ws",
            "/listen",
            "/disconnect",
            "/token",
            "/static/channelstream/index.js",
            "/demo",
            "/demo/echo",
        ] {
            assert!(Exposure::Browsers.serves(path), "{path}");
        }
    }
}
