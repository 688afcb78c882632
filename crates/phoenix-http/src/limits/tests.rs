//! Which class a request has, compared with a naive reading of the same rules; and every problem rules can have.

use std::time::Duration;

use http::Method;
use phoenix_limit::{Rule, Window};
use proptest::{collection::vec, prelude::*, sample::select};

use super::class::{ClassSpec, Count, KeyBy};
use super::rules::{LimitRules, Place, RouteSpec, RuleOptions, RuleProblem};
use crate::template::TemplateError;

pub(crate) const OPTIONS: RuleOptions = RuleOptions { enabled: true, ipv6_prefix: 64, legacy_headers: true };

/// A class with one window.
pub(crate) fn class(name: &str, limit: u32, span_s: u64) -> ClassSpec {
    let window = Window { limit, span: Duration::from_secs(span_s) };
    let (key, count) = match name {
        "auth" => (KeyBy::Account, Count::Failures),
        "register" => (KeyBy::Address, Count::All),
        "credentials" => (KeyBy::Address, Count::Failures),
        _ => (KeyBy::Principal, Count::All),
    };
    ClassSpec {
        name: name.to_owned(),
        rule: Rule::new(&[window], None).unwrap(),
        key,
        count,
        observe: false,
        exempt: Vec::new(),
        networks: Vec::new(),
    }
}

/// `"POST,PUT /path"`, or `"/path"` for all methods, and the name of a class or `none`.
pub(crate) fn route(request: &str, class: &str) -> RouteSpec {
    let (methods, path) = request.split_once(' ').unwrap_or(("", request));
    RouteSpec {
        methods: methods.split(',').filter(|m| !m.is_empty()).map(|m| m.parse().unwrap()).collect(),
        path: path.to_owned(),
        class: Some(class.to_owned()).filter(|class| class != "none"),
    }
}

/// The limits that Phoenix has when nothing is configured, without blocks.
pub(crate) fn common_classes() -> Vec<ClassSpec> {
    vec![
        class("auth", 5, 900),
        class("register", 10, 3600),
        class("credentials", 60, 60),
        class("api", 100, 60),
        class("upload", 10, 60),
        class("search", 30, 60),
        class("ai", 20, 60),
    ]
}

/// Those classes with the routes that Phoenix has when nothing is configured.
pub(crate) fn common_rules() -> LimitRules {
    let routes = [
        route("POST /api/auth/login", "auth"),
        route("POST /api/auth/password", "auth"),
        route("POST /api/auth/register", "register"),
        route("POST,PUT,PATCH /api/upload/{*rest}", "upload"),
        route("/api/search/{*rest}", "search"),
        route("/api/ai/{*rest}", "ai"),
        route("/api/{*rest}", "api"),
    ];
    LimitRules::build(common_classes(), &routes, &[], OPTIONS).unwrap()
}

fn class_name<'a>(rules: &'a LimitRules, method: &str, path: &str) -> Option<&'a str> {
    rules.class_of(&method.parse().unwrap(), path).map(super::class::Class::name)
}

// spec: R2
#[test]
fn requests_belong_to_the_class_of_their_method_and_path() {
    let rules = common_rules();
    for (method, path, expected) in [
        ("POST", "/api/auth/login", Some("auth")),
        ("GET", "/api/auth/login", Some("api")),
        ("POST", "/api/auth/login/more", Some("api")),
        ("POST", "/api/auth/register", Some("register")),
        ("GET", "/api/auth/me", Some("api")),
        ("POST", "/api/upload", Some("upload")),
        ("POST", "/api/upload/", Some("upload")),
        ("PUT", "/api/upload/a/b/c", Some("upload")),
        ("GET", "/api/upload/a", Some("api")),
        ("GET", "/api/search", Some("search")),
        ("GET", "/api/searches", Some("api")),
        ("GET", "/api", Some("api")),
        ("GET", "/", None),
        ("GET", "", None),
        ("GET", "*", None),
        ("GET", "/apis", None),
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
    ] {
        assert_eq!(class_name(&rules, method, path), expected, "{method} {path}");
    }
}

#[test]
fn no_spelling_of_a_path_has_a_weaker_class() {
    let rules = common_rules();
    for path in [
        "/api//auth/login",
        "//api/auth/login",
        "/api/auth/login/",
        "/api/auth/login//",
        "/api/%61uth/login",
        "/%61%70%69/auth/%6C%6f%67in",
        "/API/Auth/LOGIN",
        "/api/./auth/login",
        "/api/x/../auth/login",
        "/api/x/%2e%2E/auth/login",
        "/../api/auth/login",
        "/api%2Fauth%2flogin",
        "/api\\auth\\login",
        "/api%5cauth/login",
        "/api/auth;a=b/login;jsessionid=1",
        "/api/ai/..;/auth/login",
        "/healthz/../api/auth/login",
        "/readyz/..%2fapi//auth/login/",
    ] {
        assert_eq!(class_name(&rules, "POST", path), Some("auth"), "{path}");
    }
    // However deep the way there and back is.
    for depth in [1, 15, 16, 17, 18, 100] {
        let path = format!("{}{}/api/auth/login", "/x".repeat(depth), "/..".repeat(depth));
        assert_eq!(class_name(&rules, "POST", &path), Some("auth"), "{path}");
        let path = format!("/{}/%2e%2e/api/auth/login", "x".repeat(depth * 20));
        assert_eq!(class_name(&rules, "POST", &path), Some("auth"), "{path}");
        let path = format!("/api/auth/login{}", "/%61".repeat(depth));
        assert_eq!(class_name(&rules, "POST", &path), Some("api"), "{path}");
    }
    // Nor does one that a strict application would take for another path lose the class it has there.
    for (path, expected) in [("/api/ai/../../x", "ai"), ("/api/ai/..%2f..%2fx", "ai"), ("/api/x/..", "api")] {
        assert_eq!(class_name(&rules, "GET", path), Some(expected), "{path}");
    }
}

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PUT"];

fn slashed(segments: &[&str]) -> String {
    segments.iter().flat_map(|segment| ["/", *segment]).collect()
}

/// Routes of which no two contradict each other, with few literals, so that they compete.
fn routes() -> impl Strategy<Value = Vec<RouteSpec>> {
    let segment = select(vec!["a", "b", "c.d", "{x}"]);
    let end = select(vec!["", "", "/{*rest}"]);
    let path = (vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let path: String = slashed(&segments);
        if path.is_empty() && end.is_empty() { "/".to_owned() } else { path + end }
    });
    let methods = select(vec!["", "", "GET ", "POST ", "GET,POST ", "HEAD ", "PUT,HEAD "]);
    let class = select(vec!["none", "auth", "api", "upload", "search"]);
    let route =
        (methods, path, class).prop_map(|(methods, path, class)| route(&format!("{methods}{path}"), class));
    vec(route, 0..12).prop_map(|routes| {
        let mut kept: Vec<RouteSpec> = Vec::new();
        for route in routes {
            if !kept.iter().any(|other| compete(other, &route)) {
                kept.push(route);
            }
        }
        kept
    })
}

/// Whether two routes match the same requests with equal precedence.
fn compete(one: &RouteSpec, other: &RouteSpec) -> bool {
    let both_all = one.methods.is_empty() && other.methods.is_empty();
    one.path == other.path && (both_all || one.methods.iter().any(|method| other.methods.contains(method)))
}

fn path() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a",
        "b",
        "A",
        "c.d",
        "C%2ED",
        "%61",
        "%62",
        "%41",
        "x",
        "..",
        ".",
        "%2e%2E",
        "",
        "a;x",
        ";",
        "%3b",
        "a%2Fb",
        "..%5Ca",
        "\\b",
        "%",
        "%6",
        "%zz",
        "%25",
        "é",
        "%2561",
        "%252e%252E",
        "%25252e",
        "a%252Fb",
        "%255C",
        "%253ba",
    ]);
    (vec(piece, 0..6), select(vec!["", "/"])).prop_map(|(pieces, end)| slashed(&pieces) + end)
}

/// The segments of a path in one of the ways in which it may be read.
fn naive_segments(path: &str, slashes: bool, dots: bool, parameters: bool) -> Vec<Vec<u8>> {
    let mut path = path.to_owned();
    if slashes {
        for slash in ["%2F", "%2f", "%5C", "%5c", "\\"] {
            path = path.replace(slash, "/");
        }
    }
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path.split('/') {
        let segment = if parameters { segment.split(';').next().unwrap_or("") } else { segment };
        let segment: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
        match segment.as_slice() {
            b"" => {}
            b"." if dots => {}
            b".." if dots => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments
}

/// How specific a match is, the smallest being the most; `None`: no match.
fn naive_match(
    route: &RouteSpec,
    method: &Method,
    segments: &[Vec<u8>],
    fold: bool,
) -> Option<(Vec<u8>, u8)> {
    let by_method = match (route.methods.is_empty(), route.methods.contains(method)) {
        (true, _) => 2,
        (false, true) => 0,
        (false, false) if *method == Method::HEAD && route.methods.contains(&Method::GET) => 1,
        (false, false) => return None,
    };
    let template: Vec<&str> = route.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (template, rest) = match template.split_last() {
        Some((last, before)) if last.starts_with("{*") => (before, true),
        _ => (template.as_slice(), false),
    };
    if segments.len() < template.len() || (segments.len() > template.len() && !rest) {
        return None;
    }
    let mut kinds = Vec::new();
    for (of_template, segment) in template.iter().zip(segments) {
        let literal = of_template.as_bytes();
        kinds.push(match of_template.starts_with('{') {
            true if !segment.is_empty() => 1,
            false if literal == segment.as_slice() || (fold && literal.eq_ignore_ascii_case(segment)) => 0,
            _ => return None,
        });
    }
    kinds.extend(rest.then_some(2));
    Some((kinds, by_method))
}

fn naive_class<'a>(routes: &'a [RouteSpec], method: &Method, path: &str) -> Option<&'a str> {
    let written = path.strip_prefix('/').unwrap_or(path);
    let written = written.strip_suffix('/').unwrap_or(written);
    let written: Vec<Vec<u8>> = match written {
        "" => Vec::new(),
        written => written.split('/').map(|segment| segment.as_bytes().to_vec()).collect(),
    };
    let mut readings = vec![(written.clone(), false), (written, true)];
    for ways in 0..8 {
        for path in [path, &path.replace("%25", "%")] {
            readings.push((naive_segments(path, ways & 1 != 0, ways & 2 != 0, ways & 4 != 0), true));
        }
    }
    let strictness = ["auth", "upload", "search", "api"];
    let class = |(segments, fold): &(Vec<Vec<u8>>, bool)| -> Option<&'a str> {
        let matching = routes.iter().filter_map(|route| {
            naive_match(route, method, segments, *fold).map(|specific| (specific, route))
        });
        matching.min_by(|one, other| one.0.cmp(&other.0)).and_then(|(_, route)| route.class.as_deref())
    };
    readings.iter().filter_map(class).min_by_key(|class| strictness.iter().position(|known| known == class))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_trying_every_route_in_every_reading(routes in routes(), paths in vec(path(), 1..8)) {
        let rules = LimitRules::build(common_classes(), &routes, &[], OPTIONS).unwrap();
        for path in &paths {
            for method in METHODS {
                let method: Method = method.parse().unwrap();
                let found = rules.class_of(&method, path).map(super::class::Class::name);
                prop_assert_eq!(found, naive_class(&routes, &method, path), "{} {}", method, path);
            }
        }
    }

    #[test]
    fn a_route_that_contradicts_another_is_refused_by_name(
        routes in routes(),
        which in any::<proptest::sample::Index>(),
        class in select(vec!["none", "auth", "api"]),
    ) {
        prop_assume!(!routes.is_empty());
        let copied = which.get(&routes);
        let added = RouteSpec { class: Some(class.to_owned()).filter(|class| class != "none"), ..copied.clone() };
        let contradicts = copied.class != added.class;
        let path = copied.path.clone();
        let route = routes.len();
        let all: Vec<RouteSpec> = routes.iter().cloned().chain([added]).collect();
        match LimitRules::build(common_classes(), &all, &[], OPTIONS) {
            Ok(_) => prop_assert!(!contradicts),
            Err(error) => {
                prop_assert!(contradicts, "{:?}", error);
                let named = matches!(
                    &error.problems[..],
                    [RuleProblem::Overlap { route: at, other_path, .. }] if *at == route && *other_path == path
                );
                prop_assert!(named, "{:?}", error);
            }
        }
    }

    #[test]
    fn no_path_is_too_odd(path in any::<String>(), method in select(METHODS.to_vec())) {
        let rules = common_rules();
        let api = path.starts_with("/api/");
        let class = rules.class_of(&method.parse().unwrap(), &path);
        prop_assert!(!api || class.is_some());
    }
}

fn problems(classes: Vec<ClassSpec>, routes: &[RouteSpec]) -> Vec<RuleProblem> {
    LimitRules::build(classes, routes, &[], OPTIONS).map_or_else(|error| error.problems, |_| Vec::new())
}

#[test]
fn every_problem_is_found_and_says_where_it_is() {
    use TemplateError::{Braces, Character, DotSegment, EmptySegment, NoSlash, RestNotLast, TooLong};
    let deep = "/a".repeat(17);
    let long = format!("/{}", "a".repeat(256));
    for (path, problem) in [
        ("", NoSlash),
        ("api", NoSlash),
        ("//", EmptySegment),
        ("/a/", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a/./b", DotSegment),
        ("/a/..", DotSegment),
        ("/{}", Braces),
        ("/{*}", Braces),
        ("/a{b}", Braces),
        ("/{a", Braces),
        ("/{a-b}", Braces),
        ("/{*rest}/a", RestNotLast),
        ("/a%20", Character),
        ("/a;b", Character),
        ("/a?b", Character),
        ("/\u{e9}", Character),
        (&deep, TooLong),
        (&long, TooLong),
    ] {
        let expected = RuleProblem::Template { route: 0, problem };
        assert_eq!(problems(common_classes(), &[route(path, "api")]), [expected], "{path}");
    }
    let with = |changed: ClassSpec| {
        let others = common_classes().into_iter().filter(|class| class.name != changed.name);
        problems(others.chain([changed.clone()]).collect(), &[])
    };
    for (name, key, is_problem) in [
        ("auth", KeyBy::Account, false),
        ("auth", KeyBy::Address, false),
        ("auth", KeyBy::Principal, true),
        ("auth", KeyBy::Both, true),
        ("register", KeyBy::Principal, true),
        ("credentials", KeyBy::Both, true),
        ("api", KeyBy::Both, false),
        ("api", KeyBy::Account, true),
    ] {
        let found = with(ClassSpec { key, ..class(name, 1, 1) });
        assert_eq!(found.first().map(RuleProblem::place), is_problem.then(|| Place::Class(name.to_owned())));
    }
    for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let networks = vec![("10.0.0.0/8".parse().unwrap(), factor)];
        let found = with(ClassSpec { networks, ..class("api", 1, 1) });
        assert!(matches!(found[..], [RuleProblem::Factor { .. }]), "{found:?}");
    }
    let twice = problems(vec![class("a", 1, 1), class("a", 2, 1)], &[]);
    assert_eq!(twice, [RuleProblem::DuplicateClass { class: "a".to_owned() }]);
    let case = problems(common_classes(), &[route("/Api/x", "api"), route("/api/y", "api")]);
    assert_eq!(case, [RuleProblem::Case { route: 1, other: "Api".to_owned() }]);
    let unknown = problems(common_classes(), &[route("/x", "reports")]);
    assert_eq!(unknown, [RuleProblem::UnknownClass { route: 0, class: "reports".to_owned() }]);
    assert_eq!(
        problems(common_classes(), &[route("/readyz", "api"), route("/healthz", "none")]),
        [RuleProblem::NeverLimited { route: 0 }]
    );
    let many: Vec<ClassSpec> = (0..66).map(|index| class(&format!("c{index}"), 1, 1)).collect();
    assert!(matches!(problems(many, &[])[..], [RuleProblem::TooMany { place: Place::Class(_) }]));
    let many: Vec<RouteSpec> = (0..514).map(|index| route(&format!("/{index}"), "none")).collect();
    assert_eq!(problems(common_classes(), &many), [RuleProblem::TooMany { place: Place::Route(512) }]);
}

#[test]
fn nothing_is_limited_when_limits_are_off_and_the_stricter_class_is_the_enforced_one() {
    let off = RuleOptions { enabled: false, ..OPTIONS };
    let rules = LimitRules::build(common_classes(), &[route("/{*rest}", "api")], &[], off).unwrap();
    assert!(rules.class_of(&Method::GET, "/x").is_none() && rules.class("auth").is_none());
    assert_eq!(rules.classes().len(), common_classes().len());
    let observed = ClassSpec { observe: true, ..class("strict", 1, 3600) };
    let routes = [route("/a", "strict"), route("/{*rest}", "api")];
    let rules = LimitRules::build(vec![observed, class("api", 100, 60)], &routes, &[], OPTIONS).unwrap();
    assert_eq!(class_name(&rules, "GET", "/a"), Some("strict"));
    assert_eq!(
        class_name(&rules, "GET", "/%61"),
        Some("api"),
        "whichever way it is read, something is enforced"
    );
}
