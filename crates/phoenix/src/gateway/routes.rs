//! The table of routes that a configuration describes, the upstreams that they lead to, and what is wrong with them in
//! the words of the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use phoenix_auth::model::Role;
use phoenix_config::{
    AmbiguousPaths, ConfigError, ConfigErrors, Effective, Gateway, GatewayRoute, GatewayUpstream,
    HeaderEdits, Limits, Loaded, Origin, RouteAuth, RouteClass, RouteCors, UpstreamProtocol,
};
use phoenix_http::gateway::{
    Access, ClassOf, CorsRule, HeaderChanges, Route, RouteProblem, RouteSpec, RouteTable, UpstreamId,
};

use crate::limits::rules;

/// The upstream that `gateway.upstream` describes.
const DEFAULT: &str = "default";
/// The name of what has no route, in logs and metrics.
const FALLBACK: &str = "/{*rest}";
/// Where routes are written.
const SETTING: &str = "gateway.routes";

/// One upstream, with everything that the configuration says about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UpstreamSettings {
    /// What it is called.
    pub(crate) name: Arc<str>,
    /// Its servers, at least one.
    pub(crate) servers: Vec<Origin>,
    /// Audience of the assertions that it is sent.
    pub(crate) audience: Arc<str>,
    /// Largest body of a request in bytes.
    pub(crate) max_body: u64,
    /// Time to the head of an answer.
    pub(crate) deadline: Duration,
    /// Longest pause within a body or a tunnel.
    pub(crate) idle: Duration,
    /// Time to open a connection.
    pub(crate) connect_timeout: Duration,
    /// What is spoken.
    pub(crate) protocol: UpstreamProtocol,
    /// Most requests at once to each server.
    pub(crate) max_connections: usize,
    /// What servers are asked for, if they are.
    pub(crate) health_path: Option<String>,
    /// How often.
    pub(crate) health_interval: Duration,
    /// Further authorities that its certificates may come from.
    pub(crate) ca_file: Option<PathBuf>,
}

/// The upstreams of a configuration. The position of each is its [`UpstreamId`].
pub(crate) fn upstreams(gateway: &Gateway) -> Vec<UpstreamSettings> {
    let default = UpstreamSettings {
        name: Arc::from(DEFAULT),
        servers: gateway.upstream.clone(),
        audience: Arc::from(gateway.audience.as_str()),
        max_body: gateway.max_body.bytes(),
        deadline: gateway.deadline,
        idle: gateway.idle_timeout,
        connect_timeout: gateway.connect_timeout,
        protocol: gateway.protocol,
        max_connections: gateway.max_connections,
        health_path: gateway.health_path.clone(),
        health_interval: gateway.health_interval,
        ca_file: gateway.ca_file.clone(),
    };
    let named: Vec<UpstreamSettings> =
        gateway.upstreams.iter().map(|upstream| laid_over(&default, upstream)).collect();
    Some(default).filter(|default| !default.servers.is_empty()).into_iter().chain(named).collect()
}

fn laid_over(default: &UpstreamSettings, upstream: &GatewayUpstream) -> UpstreamSettings {
    let GatewayUpstream {
        name,
        servers,
        audience,
        max_body,
        deadline,
        idle_timeout,
        connect_timeout,
        protocol,
        max_connections,
        health_path,
        health_interval,
        ca_file,
    } = upstream;
    UpstreamSettings {
        name: Arc::from(name.as_str()),
        servers: servers.clone(),
        audience: Arc::from(audience.as_deref().unwrap_or(name)),
        max_body: max_body.map_or(default.max_body, phoenix_config::ByteSize::bytes),
        deadline: deadline.unwrap_or(default.deadline),
        idle: idle_timeout.unwrap_or(default.idle),
        connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        protocol: protocol.unwrap_or(default.protocol),
        max_connections: max_connections.unwrap_or(default.max_connections),
        health_path: health_path.clone().or_else(|| default.health_path.clone()),
        health_interval: health_interval.unwrap_or(default.health_interval),
        ca_file: ca_file.clone().or_else(|| default.ca_file.clone()),
    }
}

/// Something in the routes that cannot work. `route` is a position, counted from 0.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Table(RouteProblem),
    #[error("there is no upstream \"{upstream}\"")]
    UnknownUpstream { route: usize, upstream: String },
    #[error("it leads nowhere: it names no upstream, and gateway.upstream is not set")]
    NoUpstream { route: usize },
    #[error("there is no class \"{class}\"")]
    UnknownClass { route: usize, class: String },
    #[error("\"{role}\" is not the name of a role")]
    Role { route: usize, role: String },
    #[error("the header \"{name}\" cannot be sent")]
    Header { route: usize, name: String },
}

/// Routes that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("gateway.routes cannot be used; `phoenix config check` says why")]
pub(crate) struct RoutesError(Vec<Problem>);

/// The table of a configuration.
///
/// # Errors
/// Everything in it that cannot work.
pub(crate) fn of(gateway: &Gateway, limits: &Limits) -> Result<RouteTable, RoutesError> {
    let upstreams = upstreams(gateway);
    let mut problems = Vec::new();
    let mut specs = Vec::with_capacity(gateway.routes.len());
    for (at, configured) in gateway.routes.iter().enumerate() {
        if let RouteClass::Named(class) = &configured.class
            && !limits.classes.iter().any(|known| known.name == *class)
        {
            problems.push(Problem::UnknownClass { route: at, class: class.clone() });
        }
        match spec(at, configured, &upstreams, gateway) {
            Ok(spec) => specs.push(spec),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(RoutesError(problems));
    }
    RouteTable::build(specs, fallback(&upstreams, gateway))
        .map_err(|errors| RoutesError(errors.problems.into_iter().map(Problem::Table).collect()))
}

/// The table of a configuration that is valid by itself. `in_force` has the upstreams, which only a start takes over.
///
/// # Errors
/// Everything in the routes that cannot work, with its place in the configuration.
pub(crate) fn checked(loaded: &Loaded, in_force: &Gateway) -> Result<RouteTable, ConfigErrors> {
    let gateway = Gateway { routes: loaded.config.gateway.routes.clone(), ..in_force.clone() };
    of(&gateway, &loaded.config.limits).map_err(|RoutesError(problems)| {
        let explained = problems.iter().map(|problem| explained(problem, loaded, &gateway));
        ConfigErrors::new(explained.collect())
    })
}

/// What of a configuration cannot work together, of all that this process needs to begin.
///
/// # Errors
/// All of it, with its place in the configuration.
pub(crate) fn check_all(loaded: &Loaded) -> Result<(), ConfigErrors> {
    let limits = rules::checked(loaded).err();
    let routes = checked(loaded, &loaded.config.gateway).err();
    let errors: Vec<ConfigError> =
        limits.iter().chain(&routes).flat_map(|errors| errors.errors().iter().cloned()).collect();
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors::new(errors)) }
}

/// What holds where no route is written.
fn fallback(upstreams: &[UpstreamSettings], gateway: &Gateway) -> Route {
    let upstream = position(upstreams, DEFAULT);
    let audience =
        upstreams.first().filter(|_| upstream.is_some()).map(|default| Arc::clone(&default.audience));
    Route {
        name: Arc::from(FALLBACK),
        access: Access::Optional,
        class: ClassOf::ByPath,
        upstream,
        audience: audience.unwrap_or_else(|| Arc::from(gateway.audience.as_str())),
        max_body: gateway.max_body.bytes(),
        deadline: gateway.deadline,
        idle: gateway.idle_timeout,
        client_pause: None,
        same_origin: true,
        keep_credentials: false,
        keep_host: true,
        cors: CorsRule::Unstated,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    }
}

fn position(upstreams: &[UpstreamSettings], name: &str) -> Option<UpstreamId> {
    let at = upstreams.iter().position(|upstream| &*upstream.name == name)?;
    u16::try_from(at).ok().map(UpstreamId)
}

fn spec(
    at: usize,
    configured: &GatewayRoute,
    upstreams: &[UpstreamSettings],
    gateway: &Gateway,
) -> Result<RouteSpec, Problem> {
    let by_default = fallback(upstreams, gateway);
    let upstream = match &configured.upstream {
        Some(name) => Some(
            position(upstreams, name)
                .ok_or_else(|| Problem::UnknownUpstream { route: at, upstream: name.clone() })?,
        ),
        // Beside another proxy routes only say who may do what.
        None if by_default.upstream.is_none() && !upstreams.is_empty() => {
            return Err(Problem::NoUpstream { route: at });
        }
        None => by_default.upstream,
    };
    let settings = upstream.and_then(|UpstreamId(id)| upstreams.get(usize::from(id)));
    let inherited = |of_upstream: fn(&UpstreamSettings) -> Duration, otherwise: Duration| {
        settings.map_or(otherwise, of_upstream)
    };
    let max_body = settings.map_or(by_default.max_body, |settings| settings.max_body);
    Ok(RouteSpec {
        host: configured.host.clone(),
        methods: configured.methods.iter().copied().map(rules::method).collect(),
        path: configured.path.clone(),
        allows_ambiguous: configured.ambiguous_paths == AmbiguousPaths::Allow,
        route: Route {
            name: Arc::from(configured.path.as_str()),
            access: access(at, configured)?,
            class: match &configured.class {
                RouteClass::ByPath => ClassOf::ByPath,
                RouteClass::Named(class) => ClassOf::Named(class.clone()),
                RouteClass::Unlimited => ClassOf::Unlimited,
            },
            upstream,
            audience: settings.map_or(by_default.audience, |settings| Arc::clone(&settings.audience)),
            max_body: configured.max_body.map_or(max_body, phoenix_config::ByteSize::bytes),
            deadline: configured.deadline.unwrap_or_else(|| inherited(|of| of.deadline, by_default.deadline)),
            idle: configured.idle_timeout.unwrap_or_else(|| inherited(|of| of.idle, by_default.idle)),
            // One for many routes is meant for applications; only who writes it for a route knows its clients.
            client_pause: configured.idle_timeout,
            same_origin: configured.same_origin,
            keep_credentials: configured.keep_credentials,
            keep_host: configured.keep_host,
            cors: match &configured.cors {
                RouteCors::Unstated => CorsRule::Unstated,
                RouteCors::Application => CorsRule::Application,
                RouteCors::Origins(origins) => {
                    CorsRule::Origins(origins.iter().map(ToString::to_string).collect())
                }
            },
            request_headers: changes(at, &configured.request_headers)?,
            response_headers: changes(at, &configured.response_headers)?,
        },
    })
}

fn access(at: usize, configured: &GatewayRoute) -> Result<Access, Problem> {
    let role =
        |role: &String| Role::parse(role).map_err(|_invalid| Problem::Role { route: at, role: role.clone() });
    Ok(match configured.auth {
        RouteAuth::None => Access::Open,
        RouteAuth::Optional => Access::Optional,
        RouteAuth::Required => Access::Required(configured.roles.iter().map(role).collect::<Result<_, _>>()?),
    })
}

fn changes(at: usize, edits: &HeaderEdits) -> Result<HeaderChanges, Problem> {
    let HeaderEdits { remove, set } = edits;
    let problem = |name: &str| Problem::Header { route: at, name: name.to_owned() };
    let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| problem(name));
    let pair = |(name, value): &(String, String)| {
        Ok((header(name)?, HeaderValue::from_str(value).map_err(|_invalid| problem(name))?))
    };
    Ok(HeaderChanges {
        remove: remove.iter().map(|name| header(name)).collect::<Result<_, _>>()?,
        set: set.iter().map(pair).collect::<Result<_, _>>()?,
    })
}

/// A problem with the route that it is about, its value, its line, and what would do.
fn explained(problem: &Problem, loaded: &Loaded, gateway: &Gateway) -> ConfigError {
    let (route, field) = place(problem);
    let configured = gateway.routes.get(route);
    let value = match problem {
        Problem::UnknownUpstream { upstream: value, .. }
        | Problem::UnknownClass { class: value, .. }
        | Problem::Role { role: value, .. }
        | Problem::Header { name: value, .. } => Some(value.clone()),
        Problem::Table(RouteProblem::Host { .. }) => configured.and_then(|route| route.host.clone()),
        Problem::Table(_) | Problem::NoUpstream { .. } => configured.map(|route| route.path.clone()),
    };
    let part = format!("[{}]{field}", route + 1);
    let error = ConfigError::new(problem.to_string(), remedy(problem, loaded, gateway))
        .key(&format!("{SETTING}{part}"));
    let error = match value {
        Some(value) => error.value(&value),
        None => error,
    };
    match loaded.effective.get(SETTING) {
        Some(setting) => error.at(setting.source_of_part(&part)),
        None => error,
    }
}

/// The route that a problem is about, and which field of it.
const fn place(problem: &Problem) -> (usize, &'static str) {
    match problem {
        Problem::Table(problem) => (
            problem.route(),
            match problem {
                RouteProblem::TooMany { .. } => "",
                RouteProblem::Host { .. } => ".host",
                RouteProblem::Template { .. }
                | RouteProblem::Own { .. }
                | RouteProblem::Overlap { .. }
                | RouteProblem::Case { .. } => ".path",
            },
        ),
        Problem::UnknownUpstream { route, .. } => (*route, ".upstream"),
        Problem::UnknownClass { route, .. } => (*route, ".class"),
        Problem::Role { route, .. } => (*route, ".roles"),
        Problem::NoUpstream { route } | Problem::Header { route, .. } => (*route, ""),
    }
}

fn remedy(problem: &Problem, loaded: &Loaded, gateway: &Gateway) -> String {
    match problem {
        Problem::Table(RouteProblem::TooMany { .. }) => "give several routes one shorter path".to_owned(),
        Problem::Table(RouteProblem::Host { .. }) => {
            "write a host without a port, such as \"app.example.com\", or \"*.example.com\" for all below it"
                .to_owned()
        }
        Problem::Table(RouteProblem::Template { .. }) => {
            "write a path such as \"/tasks/{id}\" or \"/files/{*rest}\"".to_owned()
        }
        Problem::Table(RouteProblem::Own { .. }) => "remove this route".to_owned(),
        Problem::Table(RouteProblem::Overlap { .. }) => {
            "make one path more specific, or list other methods or another host".to_owned()
        }
        Problem::Table(RouteProblem::Case { other, .. }) => format!("write \"{other}\" in both"),
        Problem::UnknownUpstream { .. } | Problem::NoUpstream { .. } => {
            let names: Vec<String> = upstreams(gateway).iter().map(|known| known.name.to_string()).collect();
            let is_new = gateway.upstreams.len() != loaded.config.gateway.upstreams.len();
            let when = if is_new { "; upstreams take effect at a start" } else { "" };
            match names.as_slice() {
                [] => format!(
                    "set gateway.upstream (PHOENIX_UPSTREAM), or add [gateway.upstreams.<name>]{when}"
                ),
                names => format!("use one of {}, or add [gateway.upstreams.<name>]{when}", names.join(", ")),
            }
        }
        Problem::UnknownClass { .. } => {
            let classes = &loaded.config.limits.classes;
            let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
            format!("use one of {}, or \"none\", or add [limits.classes.<name>]", names.join(", "))
        }
        Problem::Role { .. } => "use a name such as \"admin\"".to_owned(),
        Problem::Header { .. } => "use another name, and a value of printable ASCII".to_owned(),
    }
}

/// Where a route of the table is written: `phoenix.toml:12`, or `built-in` where it is the fallback.
pub(crate) fn source(effective: &Effective, position: Option<usize>) -> String {
    let setting = effective.get(SETTING);
    match (position, setting) {
        (Some(at), Some(setting)) => setting.source_of_part(&format!("[{}]", at + 1)).to_string(),
        (Some(_), None) | (None, _) => "built-in".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use phoenix_config::{Sources, load};

    use super::*;

    fn loaded(text: &str) -> Loaded {
        load(&Sources::from_toml(text)).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn table(text: &str) -> RouteTable {
        let loaded = loaded(text);
        checked(&loaded, &loaded.config.gateway).unwrap_or_else(|errors| panic!("{errors}"))
    }

    // spec: G2
    #[test]
    fn without_routes_everything_goes_to_the_default_upstream_as_in_the_bare_table() {
        for (text, has_upstream) in [("", false), ("gateway.upstream = ['http://localhost:3000']", true)] {
            let bare = RouteTable::bare(has_upstream);
            assert_eq!(table(text).fallback(), bare.fallback(), "{text}");
        }
    }

    #[test]
    fn a_route_is_as_its_upstream_says_unless_it_says_otherwise() {
        let text = "[gateway]\nupstream = ['http://localhost:3000']\nmax_body = '1MiB'\nhealth_path = '/up'\n\
                    [gateway.upstreams.reports]\nservers = ['https://r:1', 'https://r:2']\ndeadline = '5s'\n\
                    max_connections = 7\n\
                    [[gateway.routes]]\npath = '/reports/{*rest}'\nupstream = 'reports'\nroles = ['admin']\n\
                    [[gateway.routes]]\nhost = 'x.example'\npath = '/up'\nmethods = ['POST']\nmax_body = '2GiB'\n\
                    deadline = '1s'\nidle_timeout = '2s'\nauth = 'none'\nclass = 'none'\nsame_origin = false\n\
                    keep_host = false\nkeep_credentials = true\ncors = ['https://a.example']\n\
                    request_headers = { set = { x-a = '1' }, remove = ['x-b'] }\n";
        let of = upstreams(&loaded(text).config.gateway);
        let names: Vec<&str> = of.iter().map(|upstream| &*upstream.name).collect();
        assert_eq!(names, ["default", "reports"]);
        assert_eq!(
            (of[1].max_body, of[1].deadline, of[1].max_connections),
            (1 << 20, Duration::from_secs(5), 7)
        );
        assert_eq!(
            (of[1].health_path.as_deref(), &*of[1].audience, &*of[0].audience),
            (Some("/up"), "reports", "app")
        );
        let table = table(text);
        let routes: Vec<&Route> = table.routes().map(Arc::as_ref).collect();
        let reports = routes[0];
        assert_eq!(reports.access, Access::Required(vec![Role::admin()]));
        assert_eq!((reports.upstream, &*reports.audience), (Some(UpstreamId(1)), "reports"));
        assert_eq!((reports.max_body, reports.deadline, reports.idle), (1 << 20, of[1].deadline, of[0].idle));
        let up = routes[1];
        assert_eq!((&*up.name, &up.access, &up.class), ("x.example/up", &Access::Open, &ClassOf::Unlimited));
        assert_eq!((up.upstream, up.max_body), (Some(UpstreamId(0)), 2 << 30));
        assert_eq!((up.deadline, up.idle), (Duration::from_secs(1), Duration::from_secs(2)));
        assert_eq!(
            (up.client_pause, reports.client_pause),
            (Some(up.idle), None),
            "only where it is written"
        );
        assert_eq!((up.same_origin, up.keep_host, up.keep_credentials), (false, false, true));
        assert_eq!(up.cors, CorsRule::Origins(vec!["https://a.example".to_owned()]));
        assert_eq!(up.request_headers.remove, [HeaderName::from_static("x-b")]);
        assert_eq!(up.request_headers.set[0].1, "1");
    }

    #[test]
    fn beside_another_proxy_routes_lead_nowhere_and_say_who_may_do_what() {
        let table = table("[[gateway.routes]]\npath = '/x'\nauth = 'required'\n");
        let route = table.find(None, &http::Method::GET, "/x").expect("one reading");
        assert_eq!((&route.access, route.upstream), (&Access::Required(Vec::new()), None));
    }

    #[test]
    fn every_problem_is_named_with_its_place_and_a_remedy() {
        let route = |text: &str| format!("[[gateway.routes]]\n{text}\n");
        let upstream = "[gateway.upstreams.a]\nservers = ['http://a']\n";
        for (text, key, line, reason, remedy) in [
            (route("path = 'x'"), "[1].path", 2, "begins with \"/\"", "/tasks/{id}"),
            (route("path = '/x'\nhost = 'a:80'"), "[1].host", 3, "not the name of a host", "without a port"),
            (
                route("path = '/api/auth/login'"),
                "[1].path",
                2,
                "answers this path itself",
                "remove this route",
            ),
            (
                route("path = '/x/{a}'") + &route("path = '/x/{b}'"),
                "[2].path",
                4,
                "\"/x/{a}\"",
                "more specific",
            ),
            (
                route("path = '/X/a'") + &route("path = '/x/b'"),
                "[2].path",
                4,
                "differs in case",
                "write \"X\"",
            ),
            (
                route("path = '/x'\nupstream = 'b'"),
                "[1].upstream",
                3,
                "no upstream \"b\"",
                "set gateway.upstream",
            ),
            (
                route("path = '/x'\nupstream = 'b'") + upstream,
                "[1].upstream",
                3,
                "no upstream \"b\"",
                "use one of a,",
            ),
            (route("path = '/x'") + upstream, "[1]", 1, "leads nowhere", "use one of a,"),
            (route("path = '/x'\nclass = 'b'"), "[1].class", 3, "no class \"b\"", "use one of auth,"),
        ] {
            let loaded = loaded(&text);
            let errors = checked(&loaded, &loaded.config.gateway).expect_err(&text);
            assert_eq!(errors.errors().len(), 1, "{errors}");
            let error = &errors.errors()[0];
            assert_eq!(error.setting(), Some(format!("gateway.routes{key}").as_str()), "{error}");
            assert!(error.to_string().contains(&format!("phoenix.toml:{line}\n")), "{error}");
            assert!(error.reason().contains(reason), "{error}");
            assert!(error.remedy().contains(remedy), "{error}");
        }
    }

    #[test]
    fn problems_of_limits_and_of_routes_are_reported_together() {
        let text = "[[limits.routes]]\npath = 'x'\nclass = 'api'\n[[gateway.routes]]\npath = 'x'\n";
        assert_eq!(check_all(&loaded(text)).expect_err("two").errors().len(), 2);
        assert!(check_all(&loaded("")).is_ok());
    }

    #[test]
    fn a_route_read_again_cannot_lead_to_an_upstream_that_is_not_there_yet() {
        let running = loaded("gateway.upstream = ['http://localhost:3000']").config.gateway;
        let text = "[gateway.upstreams.new]\nservers = ['http://n']\n[[gateway.routes]]\npath = '/x'\nupstream = 'new'\n";
        let errors = checked(&loaded(text), &running).expect_err("it takes effect at a start");
        assert!(errors.errors()[0].remedy().contains("take effect at a start"), "{errors}");
    }
}
