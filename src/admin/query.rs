//! Reading the query of a request: what is wrong with it is said by name.

use std::ops::RangeInclusive;

use actix_web::HttpRequest;

use crate::api::invalid::Invalid;
use crate::api::operation::{Operation, in_query};
use crate::error::Refusal;
use crate::wire::schema;
use utoipa::openapi::Required;

/// Most rows on one page.
pub const MAX_PER_PAGE: usize = 1_000;
/// The last row that a sorted list can be turned to: it must hold all rows before it. Who wants others searches.
pub const MAX_SORTED_ROW: usize = 20_000;

/// The parameters of a query; of several with one name the last counts.
#[derive(Debug, Default)]
pub struct Query {
    parameters: Vec<(String, String)>,
    invalid: Option<Invalid>,
}

impl Query {
    /// A request's.
    pub fn of(req: &HttpRequest) -> Self {
        Self::parse(req.query_string())
    }

    fn parse(text: &str) -> Self {
        Self { parameters: serde_urlencoded::from_str(text).unwrap_or_default(), invalid: None }
    }

    /// Whether the parameter is there.
    pub fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A parameter's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter's text, unless it is empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// A parameter that must be there, and not be empty.
    pub fn required(&mut self, name: &str) -> String {
        let text = self.filled(name).map(str::to_owned);
        text.unwrap_or_else(|| {
            self.fault(name, "Missing data for required field.");
            String::new()
        })
    }

    /// A number in a range; `default` if it is not there or wrong.
    pub fn number(&mut self, name: &str, range: RangeInclusive<usize>, default: usize) -> usize {
        let Some(text) = self.filled(name) else { return default };
        match text.parse() {
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

    /// True, false, 1 or 0; `default` if it is not there or wrong.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.filled(name) {
            None => default,
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(_) => {
                self.fault(name, "Not a valid boolean.");
                default
            }
        }
    }

    /// Notes what is wrong with a parameter.
    pub fn fault(&mut self, name: &str, text: impl Into<String>) {
        match &mut self.invalid {
            Some(invalid) => invalid.add(name, text),
            None => self.invalid = Some(Invalid::field(name, text)),
        }
    }

    /// What the reader of such a query says about this one, for the API's description.
    pub fn refusal(text: &str, read: impl FnOnce(&mut Self)) -> Option<Refusal> {
        let mut query = Self::parse(text);
        read(&mut query);
        query.invalid.map(Refusal::from)
    }

    /// What was read, if nothing was wrong with it.
    ///
    /// # Errors
    /// All that was wrong.
    pub fn checked<T>(self, read: T) -> Result<T, Invalid> {
        self.invalid.map_or(Ok(read), Err)
    }
}

/// What part of a list is asked for, in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The page, from 1.
    pub page: usize,
    /// Rows on a page.
    pub per_page: usize,
    /// Only names that hold this, in any case; empty for all.
    pub search: String,
    /// By what it is sorted.
    pub sort: &'static str,
    /// Largest first.
    pub descending: bool,
}

impl Listing {
    /// Reads `page`, `per_page`, `search` and `sort`: one of `sorts`, the first of which is the default, with a minus
    /// in front for the other direction.
    pub fn read(query: &mut Query, sorts: &[&'static str]) -> Self {
        let page = query.number("page", 1..=MAX_SORTED_ROW, 1);
        let per_page = query.number("per_page", 1..=MAX_PER_PAGE, 50);
        if page * per_page > MAX_SORTED_ROW {
            query.fault("page", format!("Rows after {MAX_SORTED_ROW} are not listed; search for them."));
        }
        let wanted = query.filled("sort").unwrap_or_else(|| sorts.first().copied().unwrap_or_default());
        let (name, descending) = wanted.strip_prefix('-').map_or((wanted, false), |name| (name, true));
        let sort = sorts.iter().copied().find(|sort| *sort == name);
        if sort.is_none() {
            query.fault("sort", format!("Must be one of: {}.", sorts.join(", ")));
        }
        let search = query.text("search").unwrap_or_default().trim().to_lowercase();
        Self { page, per_page, search, sort: sort.unwrap_or_default(), descending }
    }

    /// What the API's description says of these parameters; `searched` is what the search looks at.
    pub fn described(operation: Operation, sorts: &[&'static str], searched: &str) -> Operation {
        let number = |name, max, default: usize, text: &str| {
            let shape = schema::by_default(schema::whole(1..=max), default.into());
            in_query(name, Required::False, shape, text)
        };
        let directions = sorts.iter().flat_map(|sort| [(*sort).to_owned(), format!("-{sort}")]);
        let default = sorts.first().copied().unwrap_or_default();
        let order = schema::by_default(schema::one_value_of(directions), default.into());
        let last = format!("The page, from 1. Rows after {MAX_SORTED_ROW} are not listed; search for them.");
        operation
            .parameter(number("page", MAX_SORTED_ROW, 1, &last))
            .parameter(number("per_page", MAX_PER_PAGE, 50, "Rows on a page."))
            .parameter(in_query("search", Required::False, schema::text(), searched))
            .parameter(in_query(
                "sort",
                Required::False,
                order,
                "The order; with a minus in front largest first.",
            ))
            .refuses(Query::refusal("page=0&per_page=x&sort=color", |query| drop(Self::read(query, sorts))))
    }

    /// Whether a name is among those searched for.
    pub fn finds(&self, name: &str) -> bool {
        self.search.is_empty() || name.to_lowercase().contains(&self.search)
    }

    /// Rows before the page.
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
    fn everything_has_a_default() {
        let listing = listing("page=&search=&sort=").unwrap();
        assert_eq!(
            (listing.page, listing.per_page, listing.sort, listing.descending),
            (1, 50, "name", false)
        );
        assert!(listing.finds("anything"));
        assert_eq!(listing.skip(), 0);
    }

    #[test]
    fn what_is_asked_for() {
        let listing = listing("page=3&per_page=20&search=+N%C3%84H&sort=-size&other=x&page=4").unwrap();
        assert_eq!((listing.page, listing.skip(), listing.sort, listing.descending), (4, 60, "size", true));
        assert!(listing.finds("In der Nähe") && !listing.finds("fern"));
    }

    #[test]
    fn all_faults_are_named_together() {
        let faults = |text| listing(text).unwrap_err().errors;
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
        assert_eq!(faults("page=-1"), json!({"page": ["Not a valid integer."]}));
    }

    #[test]
    fn flags_and_required_texts() {
        let mut query = Query::parse("a=1&b=false&c=maybe&d=");
        assert!(query.flag("a", false) && !query.flag("b", true) && query.flag("z", true));
        query.flag("c", true);
        assert_eq!(query.required("d"), "");
        assert_eq!(
            query.checked(()).unwrap_err().errors,
            json!({"c": ["Not a valid boolean."], "d": ["Missing data for required field."]})
        );
    }
}
