//! The figures that a request selects.

use actix_web::HttpRequest;

use crate::api::info::InfoOptions;
use crate::console::query::{MAX_PER_PAGE, Query};
use crate::http_error::Refusal;
use crate::telemetry::series::SPANS;

/// The figures that a request selects. Without parameters they are those of the original.
pub struct RequestedFigures {
    /// Only names that contain this text, ignoring case.
    pub search: String,
    /// Only one page of the matching channels and users; none of them if a page has no rows.
    pub part: Option<FiguresPart>,
    /// The data of each channel.
    pub info: InfoOptions,
    /// The samples with this interval after this number.
    pub series: Option<(u64, u64)>,
    /// How often limits were reached, and the reasons for which sockets were closed.
    pub limits: bool,
}

/// Part of a list.
#[derive(Clone, Copy)]
pub struct FiguresPart {
    /// Number of items before it.
    pub skip: usize,
    /// Number of items in it.
    pub rows: usize,
}

impl RequestedFigures {
    /// Reads the selection from a request.
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

    /// Whether a name matches the search.
    pub fn finds(&self, name: &str) -> bool {
        self.search.is_empty() || name.to_lowercase().contains(&self.search)
    }
}

/// Counts items, and selects those of the part.
pub struct Window {
    /// The part; everything if there is none.
    pub part: Option<FiguresPart>,
    /// Number of items counted so far.
    pub seen: usize,
}

impl Window {
    /// Counts one more item. Returns whether it belongs to the part.
    pub fn admits_next(&mut self) -> bool {
        let index = self.seen;
        self.seen += 1;
        self.part.is_none_or(|part| index >= part.skip && index - part.skip < part.rows)
    }
}
