//! The OpenAPI description of the figures.

use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

use crate::api::channels_info::ChannelsInfo;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation, in_query};
use crate::console::query::{MAX_PER_PAGE, Query};
use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use crate::protocol::state::state_shape;
use crate::telemetry::series::{FIGURES, SPANS};

/// Describes GET /admin/admin.json.
pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    figures_by(HttpMethod::Get, "figures", api)
}

/// Describes POST, which is equivalent.
pub fn openapi_by_post(api: &mut ApiDescription<'_>) -> Operation {
    figures_by(HttpMethod::Post, "figuresByPost", api)
}

fn figures_by(method: HttpMethod, id: &str, api: &mut ApiDescription<'_>) -> Operation {
    let answer = api.schemas.named("Figures", answer_schema);
    let flag = |name, text: &str| {
        in_query(name, Required::False, schema::by_default(schema::flag(), true.into()), text)
    };
    let number = |name, max, default: Option<usize>, text: &str| {
        let shape = schema::whole(0..=max);
        let shape = default.into_iter().fold(shape, |shape, value| schema::by_default(shape, value.into()));
        in_query(name, Required::False, shape, text)
    };
    let page = schema::by_default(schema::whole(1..=u32::MAX as usize), 1.into());
    let steps = schema::by_default(schema::one_value_of(SPANS.map(|(step, _)| step)), 1.into());
    Operation::new(method, "/admin/admin.json", id, ApiGroup::Operators, Access::SignedOrAdmin)
        .about("Figures, channels, users", ABOUT)
        .parameter(in_query("page", Required::False, page, "The page of channels and users, from 1."))
        .parameter(number(
            "per_page",
            MAX_PER_PAGE,
            Some(50),
            "Number of channels, and of users, on a page; 0 for figures only.",
        ))
        .parameter(in_query(
            "search",
            Required::False,
            schema::text(),
            "Only names that contain this text, ignoring case.",
        ))
        .parameter(flag("include_history", "Include the channels' histories."))
        .parameter(flag("include_users", "Include the channels' users."))
        .parameter(in_query(
            "limits",
            Required::False,
            schema::by_default(schema::flag(), false.into()),
            "Include how often limits were reached, and the reasons for which websockets were closed.",
        ))
        .parameter(in_query("step_s", Required::False, steps, "Seconds between two samples of the series."))
        .parameter(number(
            "since",
            usize::MAX,
            None,
            "Include the samples of the series after this one; 0 for all available samples.",
        ))
        .answer("The figures.", answer, EXAMPLE)
        .polled()
        .refuses(Query::refusal("per_page=x", |query| {
            query.number("per_page", 0..=MAX_PER_PAGE, 50);
        }))
        .redirects("Callers that are not signed in go to the sign-in form.")
        .asks_registry()
}

const ABOUT: &str = "For dashboards that poll. A body is ignored. Without `page` and `per_page` the answer contains \
                     all channels and all users. The `ETag` does not change when only `uptime` changes.";

fn answer_schema(schemas: &mut SchemaRegistry) -> ValueSchema {
    let series = schemas.named("Series", |_| series_schema());
    let user = ObjectSchema::new()
        .key("state", state_shape(schemas), "The public part of the user's state.")
        .key("user", schema::text(), "The user's name.")
        .key("uuid", schema::uuid(), "The user's id. It changes when the server restarts.")
        .key("connections", schema::list(schema::uuid()), "The ids of the current connections.");
    let user = schemas.named("ActiveUser", |_| user.shape());
    ObjectSchema::new()
        .key("remembered_user_count", schema::count(), "Number of users that the server stores.")
        .key("unique_user_count", schema::count(), "Number of users with connections.")
        .key("total_connections", schema::count(), "Number of current connections.")
        .key("total_channels", schema::count(), "Number of channels.")
        .key("total_messages", schema::count(), "Messages queued for connections since the start: each message counts once for each receiving connection.")
        .key("total_unique_messages", schema::count(), "Number of messages since the start.")
        .key("channels", ChannelsInfo::channels_shape(schemas), "The channels by name.")
        .may(
            "matching_channels",
            schema::count(),
            "Number of channels that match, if the request contains a page.",
        )
        .key("users", schema::list(user), "The users with connections.")
        .may("matching_users", schema::count(), "Number of users that match, if the request contains a page.")
        .may("series", series, "Time series of some figures, if the request contains `since`.")
        .may(
            "limits",
            schema::mapping(schema::count()),
            "How often each limit was reached, by its setting, if the request contains `limits`.",
        )
        .may(
            "closed",
            schema::mapping(schema::count()),
            "Number of closed websockets by reason, if the request contains `limits`.",
        )
        .key("uptime", schema::text(), "Time since the start: `0:01:05`, `1 day, 0:01:05`.")
        .key("version", schema::text(), "The server's version.")
        .shape()
}

fn series_schema() -> ValueSchema {
    let names = schema::one_value_of(FIGURES.map(|figure| figure.name));
    ObjectSchema::new()
        .key("step_s", schema::count(), "Interval between two samples, in seconds.")
        .key("first", schema::count(), "The number of the first sample in the answer.")
        .key("last", schema::count(), "The number of the last sample; use it as `since` of the next request.")
        .key("names", schema::list(names), "The names of a sample's values.")
        .key("samples", schema::list(schema::list(schema::number())), "The samples, oldest first.")
        .shape()
}

const EXAMPLE: &str = r#"{"remembered_user_count": 1, "unique_user_count": 1, "total_connections": 1,
    "total_channels": 0, "total_messages": 3, "total_unique_messages": 2, "channels": {},
    "users": [{"state": {"mood": "fine"}, "user": "ada", "uuid": "66666666-6666-4666-8666-666666666666",
        "connections": ["11111111-1111-4111-8111-111111111111"]}],
    "uptime": "0:01:05", "version": "0.1.0"}"#;
