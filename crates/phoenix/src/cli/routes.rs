//! `phoenix routes ...`: which route a request belongs to, and what would become of it. Asks no server: it reads the
//! configuration that one would start with.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use phoenix_config::{ByteSize, Config, HIDDEN, LimitClass, Loaded, duration_text};
use phoenix_http::gateway::path::{check_query, normalise};
use phoenix_http::gateway::{
    Access, ClassOf, CorsRule, Explanation, HeaderChanges, Owner, Preflights, Reading, Route, RouteTable,
    UpstreamId, is_host,
};
use phoenix_http::limits::LimitRules;
use serde_json::{Value, json};

use super::{Failure, SourceArgs, output, warn};
use crate::gateway::routes::{self, UpstreamSettings};
use crate::limits::rules;

#[derive(Subcommand, Debug)]
pub(super) enum RoutesCommand {
    /// List the routes, those that are asked first at the top
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say which route a request belongs to, why, and what would be answered without a session
    Test(TestArgs),
}

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// Method, such as GET
    method: String,
    /// Path, such as /api/tasks; a query may follow
    path: String,
    /// Host that the client asks for, such as app.example.com
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Routes and limits of a configuration.
struct Gateway {
    loaded: Loaded,
    upstreams: Vec<UpstreamSettings>,
    table: RouteTable,
    limits: LimitRules,
}

pub(super) fn run(sources: &SourceArgs, command: &RoutesCommand) -> Result<(), Failure> {
    let loaded = sources.load_all()?;
    warn(&loaded);
    let Config { gateway, limits, .. } = &loaded.config;
    let gateway = Gateway {
        upstreams: routes::upstreams(gateway),
        table: routes::of(gateway, limits)?,
        limits: rules::of(limits)?,
        loaded,
    };
    match command {
        RoutesCommand::List { json } => {
            let rows = gateway.rows();
            output::value(*json, &rows, || listed(&rows))
        }
        RoutesCommand::Test(args) => test(&gateway, args),
    }
}

fn test(gateway: &Gateway, args: &TestArgs) -> Result<(), Failure> {
    let method = Method::from_bytes(args.method.to_ascii_uppercase().as_bytes())
        .map_err(|_invalid| Failure::wrong("this is not a method; write one such as GET"))?;
    if let Some(host) = args.host.as_deref().filter(|host| !is_host(host)) {
        let text = format!(
            "answered with 400, malformed-request: {host:?} is not a host; write one such as app.example.com"
        );
        return Err(Failure::wrong(text));
    }
    let (written, query) = args.path.split_once('?').unwrap_or((&args.path, ""));
    let path = normalise(written).and_then(|path| check_query(query).map(|()| path));
    let path = path.map_err(|error| Failure::wrong(format!("answered with 400, malformed-path: {error}")))?;
    let explanation = gateway.table.explain(args.host.as_deref(), &method, &path);
    let told = gateway.told(&method, args.host.as_deref(), &path, &explanation);
    output::value(args.json, &told, || gateway.in_words(&told))
}

/// What is answered to somebody without a session.
fn outcome(explanation: &Explanation, method: &Method) -> String {
    let plain = outcome_of_most(explanation);
    // Of other methods none is a preflight, and neither is what never gets to the route.
    let is_routed = explanation.owner == Owner::Application
        && (!explanation.is_ambiguous || explanation.allows_ambiguous)
        && explanation.route.upstream.is_some();
    match explanation.route.preflights() {
        _ if *method != Method::OPTIONS || !is_routed => plain.to_owned(),
        Preflights::LikeOthers | Preflights::Pass => plain.to_owned(),
        Preflights::PassWithoutBody => {
            format!("{plain}; to a preflight (CORS) without a body the application's answer")
        }
        Preflights::Answered => format!("{plain}; to a preflight (CORS) Phoenix's own"),
    }
}

/// The same of what is no preflight.
fn outcome_of_most(explanation: &Explanation) -> &'static str {
    match explanation.owner {
        Owner::Unclear => {
            "400 ambiguous-path: some servers would take this path for one that Phoenix answers itself"
        }
        Owner::Phoenix => "Phoenix's own answer",
        Owner::Application if explanation.is_ambiguous && !explanation.allows_ambiguous => {
            "400 ambiguous-path: ways to read this path lead to different routes"
        }
        Owner::Application => match (&explanation.route.access, explanation.route.upstream) {
            (Access::Required(_), _) => "401 unauthenticated",
            (Access::Open | Access::Optional, None) => "404 not-found: no upstream is configured",
            (Access::Open | Access::Optional, Some(_)) => "the application's answer",
        },
    }
}

impl Gateway {
    /// Everything that is known of a request, as JSON.
    fn told(&self, method: &Method, host: Option<&str>, path: &str, explanation: &Explanation) -> Value {
        let is_ours = explanation.owner == Owner::Phoenix;
        let class_of = if is_ours { &ClassOf::ByPath } else { &explanation.route.class };
        let reading = |reading: &Reading| {
            let name = reading.route.and_then(|at| self.table.routes().nth(at));
            let name = name.unwrap_or_else(|| self.table.fallback());
            json!({"path": reading.path, "ignoresCase": reading.ignores_case, "route": &*name.name})
        };
        let mut told = json!({
            "method": method.as_str(),
            "host": host,
            "path": path,
            "owner": match explanation.owner {
                Owner::Phoenix => "phoenix",
                Owner::Application => "application",
                Owner::Unclear => "unclear",
            },
            "ambiguous": explanation.owner == Owner::Unclear || explanation.is_ambiguous,
            "class": self.class(class_of, method, path),
            "withoutSession": outcome(explanation, method),
        });
        if explanation.owner == Owner::Application {
            told["readings"] = explanation.readings.iter().map(reading).collect();
            told["route"] = self.route(&explanation.route, explanation.position);
        }
        told
    }

    /// The class of a request; null when it is not limited.
    fn class(&self, class_of: &ClassOf, method: &Method, path: &str) -> Value {
        let limits = &self.loaded.config.limits;
        let name = match class_of {
            ClassOf::ByPath => self.limits.name_of_class(method, path),
            ClassOf::Named(name) => Some(name.as_str()).filter(|_| limits.enabled),
            ClassOf::Unlimited => None,
        };
        let class = name.and_then(|name| limits.classes.iter().find(|class| class.name == name));
        class.map_or(Value::Null, |LimitClass { name, windows, block, observe, .. }| {
            let windows: Vec<String> = windows
                .iter()
                .map(|window| format!("{}/{}", window.limit, duration_text(window.span)))
                .collect();
            let block = block.map(duration_text);
            json!({"name": name, "windows": windows, "block": block, "observe": observe})
        })
    }

    fn route(&self, route: &Route, position: Option<usize>) -> Value {
        let upstream = route.upstream.and_then(|UpstreamId(id)| self.upstreams.get(usize::from(id)));
        let servers = |upstream: &UpstreamSettings| -> Vec<String> {
            upstream.servers.iter().map(ToString::to_string).collect()
        };
        let (access, roles) = match &route.access {
            Access::Open => ("none", None),
            Access::Optional => ("optional", None),
            Access::Required(roles) => {
                ("required", Some(roles.iter().map(ToString::to_string).collect::<Vec<_>>()))
            }
        };
        json!({
            "name": &*route.name,
            "source": routes::source(&self.loaded.effective, position),
            "auth": access,
            "roles": roles.unwrap_or_default(),
            "maxBody": route.max_body,
            "deadline": duration_text(route.deadline),
            "idleTimeout": duration_text(route.idle),
            "upstream": upstream.map(|upstream| json!({"name": &*upstream.name, "servers": servers(upstream)})),
            "audience": &*route.audience,
            "sameOrigin": route.same_origin,
            "keepCredentials": route.keep_credentials,
            "keepHost": route.keep_host,
            "cors": match &route.cors {
                CorsRule::Unstated => Value::Null,
                CorsRule::Application => json!("application"),
                CorsRule::Origins(origins) => json!(origins),
            },
            "preflights": preflights(route),
            "requestHeaders": changes(&route.request_headers),
            "responseHeaders": changes(&route.response_headers),
        })
    }

    /// Every route with what tells it from others, in order of precedence.
    fn rows(&self) -> Value {
        let configured = &self.loaded.config.gateway.routes;
        let routes: Vec<_> = self.table.routes().collect();
        let row = |at: usize| {
            let methods: Vec<&str> = configured
                .get(at)
                .map(|route| route.methods.iter().map(|method| method.as_str()).collect())
                .unwrap_or_default();
            (routes.get(at).copied(), methods, Some(at))
        };
        let order = self.table.in_order_of_precedence().into_iter().map(row);
        let all = order.chain([(Some(self.table.fallback()), Vec::new(), None)]);
        all.filter_map(|(route, methods, position)| {
            let route = route?;
            let mut told = self.route(route, position);
            told["methods"] = json!(methods);
            told["class"] = match &route.class {
                ClassOf::ByPath => json!("by path"),
                ClassOf::Named(name) => json!(name),
                ClassOf::Unlimited => json!("none"),
            };
            Some(told)
        })
        .collect()
    }

    /// What `told` says, a line for each thing.
    fn in_words(&self, told: &Value) -> String {
        let mut text = format!("{} {}\n", words(&told["method"]), words(&told["path"]));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<19}{value}");
        };
        let route = &told["route"];
        match words(&told["owner"]).as_str() {
            "phoenix" => line("belongs to", "Phoenix itself, which no route changes"),
            "unclear" => line("belongs to", "Phoenix or the application, depending on how it is read"),
            _ => line(
                "belongs to",
                &format!("route \"{}\" ({})", words(&route["name"]), words(&route["source"])),
            ),
        }
        for reading in told["readings"].as_array().into_iter().flatten().skip(1) {
            let case = if reading["ignoresCase"] == true { ", in any case" } else { "" };
            line(
                "may be read as",
                &format!("{}{case}: route \"{}\"", words(&reading["path"]), words(&reading["route"])),
            );
        }
        line("limits", &class_in_words(&told["class"], self.loaded.config.limits.enabled));
        if !route.is_null() {
            for (name, value) in route_in_words(route) {
                line(name, &value);
            }
        }
        line("without a session", &words(&told["withoutSession"]));
        text
    }
}

/// What becomes of preflights, for programs.
const fn preflights(route: &Route) -> &'static str {
    match route.preflights() {
        Preflights::LikeOthers => "like-others",
        Preflights::PassWithoutBody => "application-without-body",
        Preflights::Pass => "application",
        Preflights::Answered => "phoenix",
    }
}

/// Names only: a value may be a credential of the application.
fn changes(changes: &HeaderChanges) -> Value {
    let HeaderChanges { remove, set } = changes;
    let remove: Vec<&str> = remove.iter().map(http::HeaderName::as_str).collect();
    let set: Vec<String> = set.iter().map(|(name, _)| format!("{name}: {HIDDEN}")).collect();
    json!({"remove": remove, "set": set})
}

/// A text as it is, a list with commas.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn class_in_words(class: &Value, enabled: bool) -> String {
    if class.is_null() {
        return if enabled { "none" } else { "none: limits.enabled is false" }.to_owned();
    }
    let block = match class["block"].as_str() {
        Some(block) => format!(", block {block}"),
        None => String::new(),
    };
    let observe = if class["observe"] == true { ", only observed" } else { "" };
    format!("class \"{}\": {}{block}{observe}", words(&class["name"]), words(&class["windows"]))
}

fn route_in_words(route: &Value) -> Vec<(&'static str, String)> {
    let roles = words(&route["roles"]);
    let access = match words(&route["auth"]).as_str() {
        "none" => "anybody, and nobody looks who it is".to_owned(),
        "optional" => "anybody; the application is told who is signed in".to_owned(),
        _ if roles.is_empty() => "whoever is signed in".to_owned(),
        _ => format!("whoever is signed in with one of the roles: {roles}"),
    };
    let size = ByteSize::from_bytes(route["maxBody"].as_u64().unwrap_or_default());
    let upstream = match &route["upstream"] {
        Value::Null => "none".to_owned(),
        upstream => format!("\"{}\": {}", words(&upstream["name"]), words(&upstream["servers"])),
    };
    let mut lines = vec![
        ("access", access),
        ("body", format!("at most {size}")),
        (
            "deadline",
            format!("{}, pauses of at most {}", words(&route["deadline"]), words(&route["idleTimeout"])),
        ),
        ("upstream", upstream),
    ];
    let cors = match words(&route["preflights"]).as_str() {
        "like-others" => {
            "answered by the application; preflights need a session like all requests".to_owned()
        }
        "application-without-body" => {
            "answered by the application, also preflights, if they have no body".to_owned()
        }
        "application" => "answered by the application, also preflights".to_owned(),
        _ => match words(&route["cors"]).as_str() {
            "" => "refused to all other origins".to_owned(),
            origins => format!("allowed to {origins}"),
        },
    };
    lines.push(("other origins", cors));
    let told = [
        ("sameOrigin", false, "unsafe requests with the cookie are taken from any origin"),
        ("keepCredentials", true, "Phoenix's session token is passed on"),
        ("keepHost", false, "the application sees its own host"),
    ];
    lines.extend(
        told.iter()
            .filter(|(key, unusual, _)| route[*key] == *unusual)
            .map(|(_, _, text)| ("note", (*text).to_owned())),
    );
    for (name, key) in [("request headers", "requestHeaders"), ("answer headers", "responseHeaders")] {
        for (verb, list) in [("removed", &route[key]["remove"]), ("set", &route[key]["set"])] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                lines.push((name, format!("{verb} {}", words(list))));
            }
        }
    }
    lines
}

/// A table with a line for each route.
fn listed(rows: &Value) -> String {
    let mut cells = vec![["METHODS", "ROUTE", "AUTH", "CLASS", "UPSTREAM", "FROM"].map(str::to_owned)];
    for row in rows.as_array().into_iter().flatten() {
        let methods = words(&row["methods"]);
        let roles = words(&row["roles"]);
        let auth = words(&row["auth"]);
        cells.push([
            if methods.is_empty() { "any".to_owned() } else { methods },
            words(&row["name"]),
            if roles.is_empty() { auth } else { roles },
            words(&row["class"]),
            if row["upstream"].is_null() { "none".to_owned() } else { words(&row["upstream"]["name"]) },
            words(&row["source"]),
        ]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3, 4, 5].map(width);
    let mut text = String::new();
    for row in &cells {
        let line = row
            .iter()
            .zip(widths)
            .fold(String::new(), |line, (cell, width)| line + &format!("{cell:<width$}  "));
        text += line.trim_end();
        text.push('\n');
    }
    text
}
