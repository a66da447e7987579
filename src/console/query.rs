//! Reads the query of a request. Errors are reported by the name of the parameter.

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;

use actix_web::HttpRequest;

use crate::api::answer::Invalid;
use crate::api::parse_conn_id;
use uuid::Uuid;

/// Maximum number of rows on one page.
pub const MAX_PER_PAGE: usize = 1_000;
/// The last row of a sorted list that can be requested, because the server holds all rows before it. Operators find
/// other rows with a search.
pub const MAX_SORTED_ROW: usize = 20_000;

/// The parameters of a query. None may be given more than once.
#[derive(Debug, Default)]
pub struct Query {
    parameters: Vec<(String, String)>,
    invalid: Option<Invalid>,
}

impl Query {
    /// Reads the query of a request.
    pub fn of(req: &HttpRequest) -> Self {
        Self::parse(req.query_string())
    }

    fn parse(text: &str) -> Self {
        let parameters: Vec<(String, String)> = serde_urlencoded::from_str(text).unwrap_or_default();
        let mut query = Self::default();
        let mut known = HashSet::new();
        let repeated = parameters.iter().filter(|(name, _)| !known.insert(name));
        let repeated: BTreeSet<&str> = repeated.map(|(name, _)| name.as_str()).collect();
        for name in repeated {
            query.fault(name, "Given more than once.");
        }
        Self { parameters, ..query }
    }

    pub fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A parameter's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter's text, unless it is empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// A required parameter, which must not be empty.
    pub fn required(&mut self, name: &str) -> String {
        let text = self.filled(name).map(str::to_owned);
        text.unwrap_or_else(|| {
            self.fault(name, "Missing data for required field.");
            String::new()
        })
    }

    /// A number in a range, in digits; `default` if it is missing or wrong.
    pub fn number(&mut self, name: &str, range: RangeInclusive<usize>, default: usize) -> usize {
        let Some(text) = self.text(name) else { return default };
        // The standard parser would accept a plus sign.
        let digits = if text.starts_with('+') { "" } else { text };
        match digits.parse() {
            Ok(number) if range.contains(&number) => number,
            Ok(_) => {
                self.fault(name, format!("Must be between {} and {}.", range.start(), range.end()));
                default
            }
            Err(_) => {
                self.fault(name, "Not a valid integer.");
                default
            }
        }
    }

    /// `true` or `false`; `default` if it is missing or wrong.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.text(name) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(_) => {
                self.fault(name, "Not a valid boolean.");
                default
            }
        }
    }

    /// A connection's id, if it is present and valid.
    pub fn conn_id(&mut self, name: &str) -> Option<Uuid> {
        let id = parse_conn_id(self.text(name)?);
        if id.is_none() {
            self.fault(name, "Not a valid UUID.");
        }
        id
    }

    /// A required connection id.
    pub fn required_conn_id(&mut self, name: &str) -> Option<Uuid> {
        if self.required(name).is_empty() { None } else { self.conn_id(name) }
    }

    /// Records an error of a parameter.
    pub fn fault(&mut self, name: &str, text: impl Into<String>) {
        match &mut self.invalid {
            Some(invalid) => invalid.add(name, text),
            None => self.invalid = Some(Invalid::field(name, text)),
        }
    }

    /// The parameter `name` of a request without other parameters.
    ///
    /// # Errors
    /// It is missing, empty or given more than once.
    pub fn name_of(req: &HttpRequest) -> Result<String, Invalid> {
        let mut query = Self::of(req);
        let name = query.required("name");
        query.checked(name)
    }

    /// The value, if no error was recorded.
    ///
    /// # Errors
    /// All recorded errors.
    pub fn checked<T>(self, read: T) -> Result<T, Invalid> {
        self.invalid.map_or(Ok(read), Err)
    }
}

/// The requested part of a list, and its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The number of the page, from 1.
    pub page: usize,
    /// Number of rows on a page.
    pub per_page: usize,
    /// Only names that contain this text, ignoring case; empty for all.
    pub search: String,
    /// The key by which the list is sorted.
    pub sort: &'static str,
    /// Whether the largest comes first.
    pub descending: bool,
}

impl Listing {
    /// Reads `page`, `per_page`, `search` and `sort`: one of `sorts`, the first of which is the default. A minus in
    /// front reverses the direction.
    pub fn read(query: &mut Query, sorts: &[&'static str]) -> Self {
        let page = query.number("page", 1..=MAX_SORTED_ROW, 1);
        let per_page = query.number("per_page", 1..=MAX_PER_PAGE, 50);
        if page * per_page > MAX_SORTED_ROW {
            query.fault("page", format!("Rows after {MAX_SORTED_ROW} are not listed; search for them."));
        }
        let requested = query.text("sort").unwrap_or_else(|| sorts.first().copied().unwrap_or_default());
        let (name, descending) = requested.strip_prefix('-').map_or((requested, false), |name| (name, true));
        let sort = sorts.iter().copied().find(|sort| *sort == name);
        if sort.is_none() {
            query.fault("sort", format!("Must be one of: {}.", sorts.join(", ")));
        }
        let search = query.text("search").unwrap_or_default().trim().to_lowercase();
        Self { page, per_page, search, sort: sort.unwrap_or_default(), descending }
    }

    /// Reads the listing of a request without other parameters.
    ///
    /// # Errors
    /// All errors of the query.
    pub fn of(req: &HttpRequest, sorts: &[&'static str]) -> Result<Self, Invalid> {
        let mut query = Query::of(req);
        let listing = Self::read(&mut query, sorts);
        query.checked(listing)
    }

    /// Whether a name matches the search.
    pub fn finds(&self, name: &str) -> bool {
        self.search.is_empty() || name.to_lowercase().contains(&self.search)
    }

    /// Number of rows before the page.
    pub fn skip(&self) -> usize {
        (self.page - 1) * self.per_page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SORTS: [&str; 2] = ["name", "size"];

    fn listing(text: &str) -> Result<Listing, Invalid> {
        let mut query = Query::parse(text);
        let listing = Listing::read(&mut query, &SORTS);
        query.checked(listing)
    }

    #[test]
    fn every_parameter_has_a_default() {
        let listing = listing("search=").unwrap();
        assert_eq!(
            (listing.page, listing.per_page, listing.sort, listing.descending),
            (1, 50, "name", false)
        );
        assert!(listing.finds("anything"));
        assert_eq!(listing.skip(), 0);
    }

    #[test]
    fn given_parameters_override_the_defaults() {
        let listing = listing("page=4&per_page=20&search=+N%C3%84H&sort=-size&other=x").unwrap();
        assert_eq!((listing.page, listing.skip(), listing.sort, listing.descending), (4, 60, "size", true));
        assert!(listing.finds("In der Nähe") && !listing.finds("fern"));
    }

    #[test]
    fn all_errors_are_reported_together() {
        let faults = |text: &str| listing(text).unwrap_err().errors;
        assert_eq!(
            faults("page=0&per_page=x&sort=color"),
            json!({
                "page": ["Must be between 1 and 20000."],
                "per_page": ["Not a valid integer."],
                "sort": ["Must be one of: name, size."],
            })
        );
        assert_eq!(
            faults("page=1000&per_page=1000"),
            json!({"page": ["Rows after 20000 are not listed; search for them."]})
        );
        assert_eq!(faults("per_page=1001"), json!({"per_page": ["Must be between 1 and 1000."]}));
        for page in ["-1", "%2B1", "1.0", "", "one"] {
            assert_eq!(faults(&format!("page={page}")), json!({"page": ["Not a valid integer."]}), "{page}");
        }
        assert_eq!(faults("sort="), json!({"sort": ["Must be one of: name, size."]}));
        assert_eq!(
            faults("page=1&page=0&search=&search=x&search="),
            json!({"page": ["Given more than once."], "search": ["Given more than once."]})
        );
    }

    #[test]
    fn flags_and_required_texts_are_checked() {
        let mut query = Query::parse("a=true&b=false&c=maybe&d=&e=&f=11111111&g=1");
        assert!(query.flag("a", false) && !query.flag("b", true) && query.flag("z", true));
        for name in ["c", "e", "g"] {
            query.flag(name, true);
        }
        assert_eq!((query.required("d").as_str(), query.conn_id("f"), query.conn_id("z")), ("", None, None));
        assert_eq!(
            query.checked(()).unwrap_err().errors,
            json!({
                "c": ["Not a valid boolean."],
                "d": ["Missing data for required field."],
                "e": ["Not a valid boolean."],
                "f": ["Not a valid UUID."],
                "g": ["Not a valid boolean."],
            })
        );
    }
}
