//! Routes to applications: an array of tables.

use serde_json::{Map, Value as Json, json};

use super::{
    Boolean, Choice, List, Text, gateway_headers,
    gateway_parts::{Cors, DEADLINE, IDLE, MAX_BODY, Method, Shown, table},
    limit_parts::NONE,
    role::RoleName,
    tables::{Fields, entries, value_of},
};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::{AmbiguousPaths, GatewayRoute, RouteAuth, RouteClass, RouteCors},
};

/// Most routes in a configuration.
const MAX_ROUTES: usize = 256;

const FIELDS: [&str; 17] = [
    "host",
    "methods",
    "path",
    "auth",
    "roles",
    "class",
    "max_body",
    "deadline",
    "idle_timeout",
    "upstream",
    "same_origin",
    "keep_credentials",
    "keep_host",
    "cors",
    "ambiguous_paths",
    "request_headers",
    "response_headers",
];
const HOST: Text = Text {
    max_bytes: 255,
    what: "a host such as \"app.example.com\", or \"*.example.com\" for all below it",
};
const METHODS: List<Method> = List { of: Method, max: 7 };
const PATH: Text = Text { max_bytes: 256, what: "a path such as \"/tasks/{id}\" or \"/files/{*rest}\"" };
const AUTH: Choice<RouteAuth> = Choice::NEW;
const ROLES: List<RoleName> = List { of: RoleName, max: 32 };
const CLASS: Text = Text { max_bytes: 32, what: "the name of a class of limits, or \"none\"" };
const UPSTREAM: Text = Text { max_bytes: 32, what: "the name of an upstream" };
const AMBIGUOUS: Choice<AmbiguousPaths> = Choice::NEW;

/// The routes, in the order in which they are written, which means nothing.
pub(crate) struct GatewayRoutes;

impl Kind<Vec<GatewayRoute>> for GatewayRoutes {
    fn parse(&self, raw: &Raw<'_>) -> Result<Vec<GatewayRoute>, Refusal> {
        // What cannot be taken apart is not quoted: somewhere in it may be the value of a header.
        let routes = value_of(raw, "an array of routes").and_then(|value| entries(&value, MAX_ROUTES, route));
        routes.map_err(|refusal| refusal.of_part("", None))
    }

    fn show(&self, value: &Vec<GatewayRoute>) -> Option<Literal> {
        if value.is_empty() {
            return Some(Literal::List(Vec::new()));
        }
        Some(Literal::Array(value.iter().map(shown).collect()))
    }

    fn describe(&self) -> String {
        format!(
            "at most {MAX_ROUTES} tables of path ({}) and any of {}; the changes of headers are each {}",
            PATH.describe(),
            FIELDS.join(", "),
            gateway_headers::describe()
        )
    }

    fn schema(&self) -> Json {
        let fields: [Json; FIELDS.len()] = [
            HOST.schema(),
            METHODS.schema(),
            PATH.schema(),
            AUTH.schema(),
            ROLES.schema(),
            CLASS.schema(),
            MAX_BODY.schema(),
            DEADLINE.schema(),
            IDLE.schema(),
            UPSTREAM.schema(),
            Boolean.schema(),
            Boolean.schema(),
            Boolean.schema(),
            Cors.schema(),
            AMBIGUOUS.schema(),
            gateway_headers::schema(),
            gateway_headers::schema(),
        ];
        let properties: Map<String, Json> = FIELDS.map(str::to_owned).into_iter().zip(fields).collect();
        json!({"type": "array", "maxItems": MAX_ROUTES, "items": {
            "type": "object", "properties": properties, "required": ["path"], "additionalProperties": false,
        }})
    }
}

fn route(value: &Literal, path: String) -> Result<GatewayRoute, Refusal> {
    let mut fields = Fields::of(value, path, &FIELDS)?;
    let template = fields.read("path", &PATH);
    let template = fields.require("path", template, &format!("add path: {}", PATH.describe()));
    let class = fields.read("class", &CLASS);
    let (auth, roles) = access(&mut fields);
    let route = GatewayRoute {
        host: fields.read("host", &HOST),
        methods: fields.read("methods", &METHODS).unwrap_or_default(),
        path: template.clone().unwrap_or_default(),
        auth,
        roles,
        class: match class {
            None => RouteClass::ByPath,
            Some(class) if class == NONE => RouteClass::Unlimited,
            Some(class) => RouteClass::Named(class),
        },
        max_body: fields.read("max_body", &MAX_BODY),
        deadline: fields.read("deadline", &DEADLINE),
        idle_timeout: fields.read("idle_timeout", &IDLE),
        upstream: fields.read("upstream", &UPSTREAM),
        same_origin: fields.read("same_origin", &Boolean).unwrap_or(true),
        keep_credentials: fields.read("keep_credentials", &Boolean).unwrap_or(false),
        keep_host: fields.read("keep_host", &Boolean).unwrap_or(true),
        cors: fields.read("cors", &Cors).unwrap_or(RouteCors::Unstated),
        ambiguous_paths: fields.read("ambiguous_paths", &AMBIGUOUS).unwrap_or(AmbiguousPaths::Refuse),
        request_headers: gateway_headers::read(&mut fields, "request_headers"),
        response_headers: gateway_headers::read(&mut fields, "response_headers"),
    };
    fields.finish(template.map(|_| route))
}

/// Who may use a route: roles are asked of somebody who is signed in.
fn access(fields: &mut Fields<'_>) -> (RouteAuth, Vec<String>) {
    let auth = fields.read("auth", &AUTH);
    let roles = fields.read("roles", &ROLES);
    if roles.as_ref().is_some_and(Vec::is_empty) {
        // Else it would let in everybody who is signed in, which no empty list says.
        let refusal = Refusal::because("it is empty, so nobody could use the route")
            .remedy("name a role, or remove it and write auth = \"required\"");
        fields.refuse(refusal.of_part(&fields.path_of("roles"), Some("[]".to_owned())));
    }
    let roles = roles.unwrap_or_default();
    if !roles.is_empty()
        && let Some(auth @ (RouteAuth::Optional | RouteAuth::None)) = auth
    {
        let shown = AUTH.show(&auth).map(|literal| literal.to_string());
        let refusal = Refusal::because("only who is signed in has one of the roles that the route names")
            .remedy("write auth = \"required\", or remove roles");
        fields.refuse(refusal.of_part(&fields.path_of("auth"), shown));
    }
    let by_default = if roles.is_empty() { RouteAuth::Optional } else { RouteAuth::Required };
    (auth.unwrap_or(by_default), roles)
}

/// What differs from a route of which only the path is written.
fn shown(route: &GatewayRoute) -> Literal {
    let GatewayRoute {
        host,
        methods,
        path,
        auth,
        roles,
        class,
        max_body,
        deadline,
        idle_timeout,
        upstream,
        same_origin,
        keep_credentials,
        keep_host,
        cors,
        ambiguous_paths,
        request_headers,
        response_headers,
    } = route;
    let text = |text: &str| Some(Literal::Text(text.to_owned()));
    let by_default = if roles.is_empty() { RouteAuth::Optional } else { RouteAuth::Required };
    let values: [Option<Literal>; FIELDS.len()] = [
        host.as_deref().and_then(text),
        METHODS.show(methods).filter(|_| !methods.is_empty()),
        text(path),
        AUTH.show(auth).filter(|_| *auth != by_default),
        ROLES.show(roles).filter(|_| !roles.is_empty()),
        match class {
            RouteClass::ByPath => None,
            RouteClass::Named(class) => text(class),
            RouteClass::Unlimited => text(NONE),
        },
        max_body.as_ref().and_then(|value| MAX_BODY.show(value)),
        deadline.as_ref().and_then(|value| DEADLINE.show(value)),
        idle_timeout.as_ref().and_then(|value| IDLE.show(value)),
        upstream.as_deref().and_then(text),
        Boolean.show(same_origin).filter(|_| !same_origin),
        Boolean.show(keep_credentials).filter(|_| *keep_credentials),
        Boolean.show(keep_host).filter(|_| !keep_host),
        Cors.show(cors),
        AMBIGUOUS.show(ambiguous_paths).filter(|_| *ambiguous_paths != AmbiguousPaths::Refuse),
        gateway_headers::show(request_headers),
        gateway_headers::show(response_headers),
    ];
    let fields: Vec<Shown> = FIELDS.into_iter().zip(values).collect();
    table(fields)
}
