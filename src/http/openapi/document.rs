//! Builds the OpenAPI 3.1 description of the API from the descriptions of all endpoints.

use crate::api::operation::{
    ADMIN_COOKIE, ApiDescription, ApiGroup, BOUND_SIGNATURE, CSRF_TOKEN, Operation, SIGNATURE,
    SIGNATURE_IN_QUERY,
};
use crate::api::{
    channel_config, connect, disconnect, info, message_delete, message_patch, message_post, subscribe,
    unsubscribe, user_state,
};
use crate::auth::guard;
use crate::config::Settings;
use crate::console::endpoints::{
    channel, channels, configure_channel, connection, connections, disconnect as ended, limits, record,
    recording, secrets, send_message, user, users,
};
use crate::console::{debug, figures as console_figures, session, sign_in, sign_out};
use crate::demo;
use crate::http::health;
use crate::transports::long_poll::listen;
use crate::transports::websocket::upgrade;
use crate::web::{assets, pages};
use utoipa::openapi::security::SecurityScheme;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, Info, License, OpenApi, OpenApiBuilder, Paths, RefOr, Server};

/// A function that describes an endpoint.
type EndpointDescription = fn(&mut ApiDescription<'_>) -> Operation;

/// All endpoints, in the order of the document. Those of demo mode follow.
const ENDPOINTS: &[EndpointDescription] = &[
    connect::openapi,
    subscribe::openapi,
    unsubscribe::openapi,
    user_state::openapi,
    message_post::openapi,
    message_patch::openapi,
    message_delete::openapi,
    channel_config::openapi,
    info::openapi,
    info::openapi_without_body,
    upgrade::openapi,
    listen::openapi,
    disconnect::openapi_by_body,
    disconnect::openapi_by_query,
    health::openapi_live,
    health::openapi_ready,
    pages::openapi_front,
    pages::openapi_dashboard,
    console_figures::openapi,
    console_figures::openapi_by_post,
    debug::openapi,
    sign_in::openapi,
    sign_in::openapi_submit,
    sign_out::openapi,
    sign_out::openapi_submit,
    pages::openapi_explorer,
    pages::openapi_first_application,
    super::openapi,
    super::openapi_swagger2,
    assets::openapi,
    channels::openapi,
    channel::openapi,
    users::openapi,
    user::openapi,
    connections::openapi,
    connection::openapi,
    secrets::openapi,
    limits::openapi,
    send_message::openapi,
    configure_channel::openapi,
    ended::openapi,
    ended::openapi_user,
    record::openapi,
    recording::openapi,
];

const ABOUT: &str = "This server has two groups of callers: **backends**, which send signed requests, and **browsers**, which only \
    receive. Every error has a status above 400, a stable code in the header `x-channelstream-error` and a JSON body, \
    or HTML or plain text if `Accept` names it; a refused request changes nothing. Unknown fields are ignored; of duplicate \
    keys the last one counts, and no parameter may be given twice. The limits are those of this server's settings.";

/// The whole description, with the limits of the settings and with paths below `prefix`.
pub fn document(settings: &Settings, prefix: &str) -> OpenApi {
    let mut description = ApiDescription::new(settings);
    let mut paths = Paths::new();
    let of_demo = if settings.demo_enabled() { demo::ENDPOINTS } else { &[] };
    for openapi in ENDPOINTS.iter().chain(of_demo) {
        let operation = openapi(&mut description);
        let (path, method) = (operation.path, operation.method.clone());
        paths.add_path_operation(path, vec![method], operation.build(&mut description));
    }
    let groups =
        ApiGroup::ALL.into_iter().filter(|group| *group != ApiGroup::Demo || settings.demo_enabled());
    let tags =
        groups.map(|group| TagBuilder::new().name(group.tag()).description(Some(group.about())).build());
    let server = if prefix.is_empty() { "/" } else { prefix };
    OpenApiBuilder::new()
        .info(about())
        .servers(Some([Server::new(server)]))
        .paths(paths)
        .components(Some(components(description)))
        .tags(Some(tags.collect::<Vec<_>>()))
        .build()
}

fn about() -> Info {
    let mut info = Info::new("Channelstream API", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.into());
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".into());
    info.license = Some(license);
    info
}

fn components(description: ApiDescription<'_>) -> Components {
    let [header, query, bound] = guard::security_schemes();
    let schemes = [
        (SIGNATURE, header),
        (SIGNATURE_IN_QUERY, query),
        (BOUND_SIGNATURE, bound),
        (ADMIN_COOKIE, session::security_scheme()),
        (CSRF_TOKEN, session::csrf_scheme()),
    ];
    let mut components = Components::new();
    components.schemas = description.schemas.into_shapes();
    components.responses =
        description.responses.into_iter().map(|(name, response)| (name, RefOr::T(response))).collect();
    components.security_schemes = schemes
        .into_iter()
        .map(|(name, scheme): (&str, SecurityScheme)| (name.to_owned(), RefOr::T(scheme)))
        .collect();
    components
}
