//! What of the figures is asked for.

use actix_web::HttpRequest;

use crate::api::info::InfoOptions;
use crate::console::query::{MAX_PER_PAGE, Query};
use crate::http_error::Refusal;
use crate::telemetry::series::SPANS;

/// What of the figures is asked for. Without any parameter it is all that the original tells.
pub struct RequestedFigures {
    /// Names that hold this, in any case.
    pub search: String,
    /// Only one page of the channels and users found; none of them if a page has no rows.
    pub part: Option<FiguresPart>,
    /// What channels tell of themselves.
    pub info: InfoOptions,
    /// The samples of this step, newer than this number.
    pub series: Option<(u64, u64)>,
    /// How often limits were reached, and why sockets were closed.
    pub limits: bool,
}

/// A part of a list: how many are before it, and how many are in it.
#[derive(Clone, Copy)]
pub struct FiguresPart {
    /// Before it.
    pub skip: usize,
    /// In it.
    pub rows: usize,
}

impl RequestedFigures {
    /// What a request asks for.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn read(req: &HttpRequest) -> Result<Self, Refusal> {
        let mut query = Query::of(req);
        let paged = query.has("page") || query.has("per_page");
        let page = query.number("page", 1..=u32::MAX as usize, 1);
        let rows = query.number("per_page", 0..=MAX_PER_PAGE, 50);
        let include_history = query.flag("include_history", true);
        let include_users = query.flag("include_users", true);
        let step_s = query.number("step_s", 1..=usize::MAX, 1) as u64;
        if !SPANS.iter().any(|(step, _)| *step == step_s) {
            let steps: Vec<String> = SPANS.iter().map(|(step, _)| step.to_string()).collect();
            query.fault("step_s", format!("Must be one of: {}.", steps.join(", ")));
        }
        let after = query.number("since", 0..=usize::MAX, 0) as u64;
        let series = query.has("since").then_some((step_s, after));
        let limits = query.flag("limits", false);
        let search = query.text("search").unwrap_or_default().trim().to_lowercase();
        let part = paged.then_some(FiguresPart { skip: (page - 1).saturating_mul(rows), rows });
        let info = InfoOptions { include_history, include_users, ..InfoOptions::default() };
        Ok(query.checked(Self { search, part, info, series, limits })?)
    }

    /// Whether a name is among those searched for.
    pub fn finds(&self, name: &str) -> bool {
        self.search.is_empty() || name.to_lowercase().contains(&self.search)
    }
}

/// Counts what comes by and lets pass what belongs to the part.
pub struct Window {
    /// The part; all if there is none.
    pub part: Option<FiguresPart>,
    /// What came by so far.
    pub seen: usize,
}

impl Window {
    /// Counts one more, and whether it belongs to the part.
    pub fn admits_next(&mut self) -> bool {
        let index = self.seen;
        self.seen += 1;
        self.part.is_none_or(|part| index >= part.skip && index - part.skip < part.rows)
    }
}
