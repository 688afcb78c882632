//! The gateway in a configuration: what a route is when little is written, every error by the name of its part.

use std::{path::PathBuf, time::Duration};

use phoenix_config::{
    AmbiguousPaths, ConfigError, Gateway, GatewayRoute, HeaderEdits, RouteAuth, RouteClass, RouteCors,
    Sources, UpstreamProtocol,
};

use crate::{refused, valid};

fn gateway(text: &str) -> Gateway {
    valid(&Sources::from_toml(text)).config.gateway
}

fn route(text: &str) -> GatewayRoute {
    gateway(&format!("[[gateway.routes]]\n{text}\n")).routes.remove(0)
}

fn errors(text: &str) -> Vec<ConfigError> {
    refused(&Sources::from_toml(text)).errors().to_vec()
}

// spec: G2
#[test]
fn one_variable_puts_phoenix_in_front_of_an_application() {
    let loaded =
        valid(&Sources::default().with_env("PHOENIX_UPSTREAM", "http://localhost:3000, https://10.0.0.2"));
    let gateway = loaded.config.gateway;
    let servers: Vec<String> = gateway.upstream.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["http://localhost:3000", "https://10.0.0.2"]);
    assert!(gateway.upstreams.is_empty() && gateway.routes.is_empty() && gateway.assertion_keys.is_empty());
}

#[test]
fn a_route_of_which_only_the_path_is_written_is_optional_and_safe() {
    let expected = GatewayRoute {
        host: None,
        methods: Vec::new(),
        path: "/x".to_owned(),
        auth: RouteAuth::Optional,
        roles: Vec::new(),
        class: RouteClass::ByPath,
        max_body: None,
        deadline: None,
        idle_timeout: None,
        upstream: None,
        same_origin: true,
        keep_credentials: false,
        keep_host: true,
        cors: RouteCors::Unstated,
        ambiguous_paths: AmbiguousPaths::Refuse,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
    };
    assert_eq!(route("path = '/x'"), expected);
    let with_roles =
        GatewayRoute { auth: RouteAuth::Required, roles: vec!["admin".to_owned()], ..expected.clone() };
    assert_eq!(route("path = '/x'\nroles = ['admin']"), with_roles, "roles need somebody who has them");
    assert_eq!(route("path = '/x'\nroles = ['admin']\nauth = 'required'"), with_roles);
    let class = |class: RouteClass| GatewayRoute { class, ..expected.clone() };
    assert_eq!(route("path = '/x'\nclass = 'none'"), class(RouteClass::Unlimited));
    assert_eq!(route("path = '/x'\nclass = 'ai'"), class(RouteClass::Named("ai".to_owned())));
    let application = GatewayRoute { cors: RouteCors::Application, ..expected.clone() };
    assert_eq!(route("path = '/x'\ncors = 'application'"), application, "said is other than not said");
    let nobody = GatewayRoute { cors: RouteCors::Origins(Vec::new()), ..expected.clone() };
    assert_eq!(route("path = '/x'\ncors = []"), nobody);
    let headers = "request_headers = { set = { X-Tenant = 'a b', x-y = '1' }, remove = ['Accept-Language'] }";
    let edits = HeaderEdits {
        remove: vec!["accept-language".to_owned()],
        set: vec![("x-tenant".to_owned(), "a b".to_owned()), ("x-y".to_owned(), "1".to_owned())],
    };
    assert_eq!(route(&format!("path = '/x'\n{headers}")).request_headers, edits);
}

#[test]
fn an_upstream_says_what_is_other_than_in_the_gateway() {
    let upstreams = gateway(
        "[gateway.upstreams.reports]\nservers = ['http://10.0.0.1:81']\nprotocol = 'http2'\ndeadline = '2s'\n\
         ca_file = '/ca.pem'\n",
    )
    .upstreams;
    let [reports] = upstreams.as_slice() else { panic!("{upstreams:?}") };
    assert_eq!(
        (reports.name.as_str(), reports.servers[0].to_string().as_str()),
        ("reports", "http://10.0.0.1:81")
    );
    assert_eq!(
        (reports.protocol, reports.deadline),
        (Some(UpstreamProtocol::Http2), Some(Duration::from_secs(2)))
    );
    assert_eq!((&reports.ca_file, &reports.max_body), (&Some(PathBuf::from("/ca.pem")), &None));
}

/// A line below `[gateway]`, the part that is refused and its value, part of the reason, part of the remedy.
type Mistake = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    ("upstream = [\"http://u:p@a\"]", "upstream", "[\"http://u:p@a\"]", "no user name", "an origin"),
    ("upstream = [\"http://a/\"]", "upstream", "[\"http://a/\"]", "it has no path", "write \"http://a\""),
    ("upstream = \"http://a\"", "upstream", "\"http://a\"", "expected an array of strings, found a string", "at most 32"),
    ("upstream = [\"http://127.0.0.1:8080\"]", "upstream", "[\"http://127.0.0.1:8080\"]", "leads to Phoenix itself", "PHOENIX_LISTEN"),
    ("upstream = [\"http://localhost:8080\"]", "upstream", "[\"http://localhost:8080\"]", "leads to Phoenix itself", "PHOENIX_LISTEN"),
    ("health_path = \"/a b\"", "health_path", "\"/a b\"", "no path has", "/healthz"),
    ("upstreams.default.servers = [\"http://a\"]", "upstreams.default", "", "is gateway.upstream", "PHOENIX_UPSTREAM"),
    ("upstreams.Api.servers = [\"http://a\"]", "upstreams.Api", "", "not a name for an upstream", "a-z"),
    ("upstreams.api.deadline = \"1s\"", "upstreams.api", "", "\"servers\" is missing", "http://127.0.0.1:3000"),
    ("upstreams.api.servers = []", "upstreams.api.servers", "[]", "it is empty", "http://127.0.0.1:3000"),
    ("upstreams.api.servers = [\"a:80\"]", "upstreams.api.servers", "[\"a:80\"]", "starts with http://", "an origin"),
    ("upstreams.api = { servers = [\"http://a\"], port = 1 }", "upstreams.api.port", "", "there is no such setting", "servers, audience"),
    ("routes = [{ auth = \"required\" }]", "routes[1]", "", "\"path\" is missing", "/tasks/{id}"),
    ("routes = [{ path = \"/x\", methods = [\"GET\", \"get\"] }]", "routes[1].methods", "[\"GET\", \"get\"]", "entry 2 is refused: methods are written in capitals", "write \"GET\""),
    ("routes = [{ path = \"/x\", methods = [\"GTE\"] }]", "routes[1].methods", "[\"GTE\"]", "not one of the words", "\"HEAD\" or"),
    ("routes = [{ path = \"/x\", auth = \"yes\" }]", "routes[1].auth", "\"yes\"", "not one of the words", "\"required\" or"),
    ("routes = [{ path = \"/x\", auth = \"optional\", roles = [\"admin\"] }]", "routes[1].auth", "\"optional\"", "only who is signed in", "auth = \"required\""),
    ("routes = [{ path = \"/x\", auth = \"none\", roles = [\"admin\"] }]", "routes[1].auth", "\"none\"", "only who is signed in", "auth = \"required\""),
    ("routes = [{ path = \"/x\", roles = [] }]", "routes[1].roles", "[]", "it is empty", "auth = \"required\""),
    ("routes = [{ path = \"/x\", roles = [\"Admin\"] }]", "routes[1].roles", "[\"Admin\"]", "entry 1 is refused: it is not the name of a role", "a-z"),
    ("routes = [{ path = \"/x\", max_body = \"2048GiB\" }]", "routes[1].max_body", "\"2048GiB\"", "above the largest size, 1024GiB", "0B to 1024GiB"),
    ("routes = [{ path = \"/x\", deadline = 5 }]", "routes[1].deadline", "5", "a duration has a unit", "\"5s\""),
    ("routes = [{ path = \"/x\", same_origin = \"no\" }]", "routes[1].same_origin", "\"no\"", "expected a boolean", "true or false"),
    ("routes = [{ path = \"/x\", cors = \"*\" }]", "routes[1].cors", "\"*\"", "neither \"application\" nor", "\"application\", or at most"),
    ("routes = [{ path = \"/x\", cors = [\"*\"] }]", "routes[1].cors", "[\"*\"]", "an origin starts with", "at most 64"),
    ("routes = [{ path = \"/x\", ambiguous_paths = \"yes\" }]", "routes[1].ambiguous_paths", "\"yes\"", "not one of the words", "\"refuse\" or"),
    ("routes = [{ path = \"/x\", method = [\"GET\"] }]", "routes[1].method", "", "there is no such setting", "did you mean \"methods\"?"),
    ("routes = [{ path = \"/x\", request_headers = [\"a\"] }]", "routes[1].request_headers", "", "expected a table", "set, remove"),
    ("routes = [{ path = \"/x\", request_headers = { add = {} } }]", "routes[1].request_headers.add", "", "there is no such setting", "set, remove"),
    ("routes = [{ path = \"/x\", request_headers = { set = [\"a\"] } }]", "routes[1].request_headers.set", "", "expected a table", "names of headers and their values"),
    ("routes = [{ path = \"/x\", request_headers = { set = { Host = \"a\" } } }]", "routes[1].request_headers.set.Host", "", "Phoenix alone says", "remove it"),
    ("routes = [{ path = \"/x\", request_headers = { set = { x-phoenix-role = \"a\" } } }]", "routes[1].request_headers.set.x-phoenix-role", "", "who a caller is", "remove it"),
    ("routes = [{ path = \"/x\", request_headers = { set = { X_Phoenix_Role = \"a\" } } }]", "routes[1].request_headers.set.X_Phoenix_Role", "", "who a caller is", "remove it"),
    ("routes = [{ path = \"/x\", request_headers = { remove = [\"X-Forwarded-For\"] } }]", "routes[1].request_headers.remove", "[\"X-Forwarded-For\"]", "entry 1 is refused: Phoenix alone says who a client is", "remove it"),
    ("routes = [{ path = \"/x\", response_headers = { set = { content-length = \"0\" } } }]", "routes[1].response_headers.set.content-length", "", "where a message ends", "remove it"),
    ("routes = [{ path = \"/x\", response_headers = { remove = [\"transfer-encoding\"] } }]", "routes[1].response_headers.remove", "[\"transfer-encoding\"]", "where a message ends", "remove it"),
    ("routes = [{ path = \"/x\", response_headers = { set = { \"a b\" = \"0\" } } }]", "routes[1].response_headers.set.a b", "", "not the name of a header", "printable"),
    ("routes = [{ path = \"/x\", response_headers = { set = { x = \"é\" } } }]", "routes[1].response_headers.set.x", "", "not ASCII", "printable ASCII"),
    ("routes = [{ path = \"/x\", response_headers = { set = { x = \"a\\r\\nb: c\" } } }]", "routes[1].response_headers.set.x", "", "a control character", "printable ASCII"),
    ("routes = [{ path = \"/x\", response_headers = { set = { x = 5 } } }]", "routes[1].response_headers.set.x", "", "expected a string", "printable ASCII"),
    ("routes = [{ path = \"/x\", response_headers = { set = { x = \"a\", X = \"b\" } } }]", "routes[1].response_headers.set.x", "", "there twice", "keep one"),
];

#[test]
fn every_error_is_named_with_its_part_value_line_and_remedy() {
    for (text, key, value, reason, remedy) in MISTAKES {
        let found = errors(&format!("[gateway]\n{text}\n"));
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        let error = &found[0];
        assert_eq!(error.setting(), Some(format!("gateway.{key}").as_str()), "{error}");
        if !value.is_empty() {
            assert_eq!(error.shown_value().unwrap_or_default(), *value, "{error}");
        }
        assert!(error.reason().contains(reason), "{text}: {error}");
        assert!(error.remedy().contains(remedy), "{text}: {error}");
        let source = error.source_of_value().map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("phoenix.toml:2"), "{error}");
    }
}

#[test]
fn an_upstream_is_not_phoenix_itself() {
    for (listen, upstream, is_phoenix) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
        ("127.0.0.1:8080", "http://127.0.0.1:3000", false),
        ("127.0.0.1:8080", "http://127.0.0.2:8080", false),
        ("127.0.0.1:8080", "http://0.0.0.0:8080", true),
        ("0.0.0.0:80", "http://127.0.0.1", true),
        ("0.0.0.0:80", "http://10.0.0.1", false),
        ("[::]:443", "https://localhost", true),
        ("[::]:443", "https://[::1]", true),
        ("10.0.0.1:443", "https://localhost", false),
        ("10.0.0.1:443", "https://10.0.0.1", true),
        ("10.0.0.1:443", "https://app.example", false),
    ] {
        for text in [
            format!("server.listen = '{listen}'\ngateway.upstream = ['{upstream}']"),
            format!("server.listen = '{listen}'\ngateway.upstreams.a.servers = ['{upstream}']"),
        ] {
            let loaded = phoenix_config::load(&Sources::from_toml(&text));
            assert_eq!(loaded.is_err(), is_phoenix, "{text}");
        }
    }
}

#[test]
fn there_is_a_bound_to_everything() {
    let upstreams = |count: usize| -> String {
        let upstream = |at| format!("[gateway.upstreams.u{at}]\nservers = ['http://a']\n");
        (0..count).map(upstream).collect()
    };
    assert_eq!(gateway(&upstreams(32)).upstreams.len(), 32);
    assert!(errors(&upstreams(33))[0].reason().contains("the most allowed is 32"));
    let routes = |count: usize| -> String {
        let route = |at| format!("[[gateway.routes]]\npath = '/{at}'\n");
        (0..count).map(route).collect()
    };
    assert_eq!(gateway(&routes(256)).routes.len(), 256);
    assert!(errors(&routes(257))[0].reason().contains("the most allowed is 256"));
    let headers = |count: usize| {
        let set: Vec<String> = (0..count).map(|at| format!("x-{at} = 'a'")).collect();
        format!("[[gateway.routes]]\npath = '/x'\nrequest_headers = {{ set = {{ {} }} }}", set.join(", "))
    };
    assert_eq!(gateway(&headers(32)).routes[0].request_headers.set.len(), 32);
    assert!(errors(&headers(33))[0].reason().contains("the most allowed is 32"));
    let long = "x".repeat(100_000);
    for text in [
        format!("gateway.upstreams.{long}.servers = ['http://a']"),
        format!("gateway.routes = [{{ path = '/{long}' }}]"),
        format!("gateway.routes = [{{ path = '/', request_headers = {{ set = {{ {long} = 'a' }} }} }}]"),
        format!("gateway.health_path = '/{long}'"),
    ] {
        assert!(refused(&Sources::from_toml(text)).to_string().len() < 1500);
    }
}
