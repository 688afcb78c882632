//! Which route a request has, compared with trying every route in every reading; and every problem routes can have.

use http::Method;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::gateway::host::HostPattern;
use crate::gateway::{Ambiguous, Owner, RouteProblem, RouteSpec, RouteTable, UpstreamId, normalise};
use crate::template::{Reader, TemplateError, each_reading};

/// `"GET,POST app.example.com/path"`, each but the path optional.
fn spec(request: &str) -> RouteSpec {
    let (methods, rest) = request.split_once(' ').unwrap_or(("", request));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fallback = RouteTable::bare(true).fallback().as_ref().clone();
    RouteSpec {
        host: Some(host.to_owned()).filter(|host| !host.is_empty()),
        methods: methods.split(',').filter(|m| !m.is_empty()).map(|m| m.parse().unwrap()).collect(),
        path: path.to_owned(),
        allows_ambiguous: false,
        route: fallback,
    }
}

fn table(requests: &[&str]) -> RouteTable {
    build(requests.iter().map(|request| spec(request)).collect())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn build(specs: Vec<RouteSpec>) -> Result<RouteTable, Vec<RouteProblem>> {
    let fallback = RouteTable::bare(true).fallback().as_ref().clone();
    RouteTable::build(specs, fallback).map_err(|errors| errors.problems)
}

fn name<'t>(table: &'t RouteTable, host: &str, method: &str, path: &str) -> Result<&'t str, Ambiguous> {
    let host = Some(host).filter(|host| !host.is_empty());
    table.find(host, &method.parse().unwrap(), path).map(|route| &*route.name)
}

#[test]
fn the_bare_table_leads_everything_to_the_first_upstream() {
    for (has_upstream, upstream) in [(true, Some(UpstreamId(0))), (false, None)] {
        let table = RouteTable::bare(has_upstream);
        for path in ["/", "/a%2F..", "/API/auth"] {
            let route = table.find(Some("x"), &Method::GET, path).unwrap();
            assert_eq!((&*route.name, route.upstream), ("/{*rest}", upstream));
        }
    }
}

// spec: G2
#[test]
fn the_host_counts_first_then_the_path_then_the_method() {
    let table = table(&[
        "/tasks/{id}",
        "GET /tasks/{id}",
        "/tasks/new",
        "POST /tasks",
        "/files/{*rest}",
        "app.example.com/tasks/{*rest}",
        "*.example.com/{*rest}",
        "*.deep.example.com/x",
    ]);
    for (host, method, path, route) in [
        ("", "GET", "/tasks/1", "/tasks/{id}"),
        ("", "HEAD", "/tasks/1", "/tasks/{id}"),
        ("", "DELETE", "/tasks/1", "/tasks/{id}"),
        ("", "GET", "/tasks/new", "/tasks/new"),
        ("", "GET", "/tasks/new/", "/tasks/new"),
        ("", "POST", "/tasks", "/tasks"),
        ("", "GET", "/tasks", "/{*rest}"),
        ("", "GET", "/files", "/files/{*rest}"),
        ("", "GET", "/files/a/b", "/files/{*rest}"),
        ("other.example", "GET", "/tasks/new", "/tasks/new"),
        ("app.example.com", "GET", "/tasks/new", "app.example.com/tasks/{*rest}"),
        ("APP.example.com.:8443", "GET", "/tasks/new", "app.example.com/tasks/{*rest}"),
        ("app.example.com", "GET", "/files/a", "*.example.com/{*rest}"),
        ("b.example.com", "GET", "/tasks/new", "*.example.com/{*rest}"),
        ("a.deep.example.com", "GET", "/x", "*.deep.example.com/x"),
        ("a.deep.example.com", "GET", "/y", "*.example.com/{*rest}"),
        ("example.com", "GET", "/files/a", "/files/{*rest}"),
    ] {
        assert_eq!(name(&table, host, method, path), Ok(route), "{method} {host}{path}");
    }
}

#[test]
fn a_path_that_leads_elsewhere_when_read_in_another_way_is_ambiguous_unless_its_route_allows_that() {
    let mut specs: Vec<RouteSpec> =
        ["/admin/{*rest}", "/files/{id}", "/public/{*rest}"].into_iter().map(spec).collect();
    let strict = build(specs.clone()).unwrap();
    for path in [
        "/ADMIN/x",
        "/Admin",
        "/%2Fadmin",
        "/admin%2Fx",
        "/admin;v=1",
        "/files/a%2Fb",
        "/%2561dmin",
        "/x/..%2Fadmin",
    ] {
        assert_eq!(name(&strict, "", "GET", path), Err(Ambiguous), "{path}");
    }
    for (path, route) in [
        ("/admin/X%2Fy", "/admin/{*rest}"),
        ("/public/a;b/%2541%2F", "/public/{*rest}"),
        ("/_next/%5Bid%5D/Page.js", "/{*rest}"),
    ] {
        assert_eq!(name(&strict, "", "GET", path), Ok(route), "{path}");
    }
    specs[1].allows_ambiguous = true;
    let lenient = build(specs).unwrap();
    assert_eq!(name(&lenient, "", "GET", "/files/a%2Fb"), Ok("/files/{id}"));
    assert_eq!(
        name(&lenient, "", "GET", "/ADMIN/x"),
        Err(Ambiguous),
        "what it leads to as written has no such word"
    );
}

#[test]
fn what_phoenix_answers_is_known_in_every_reading() {
    let table = RouteTable::bare(true);
    for (path, owner) in [
        ("/api/auth/login", Owner::Phoenix),
        ("/api/auth", Owner::Phoenix),
        ("/api/auth/", Owner::Phoenix),
        ("/api/auth/SESSIONS/%2561", Owner::Phoenix),
        ("/phoenix", Owner::Phoenix),
        ("/phoenix/x", Owner::Phoenix),
        ("/api/phoenix/verify", Owner::Phoenix),
        ("/.well-known/jwks.json", Owner::Phoenix),
        ("/healthz", Owner::Phoenix),
        ("/api/admin/users/1/sessions", Owner::Phoenix),
        ("/api/admin/reports", Owner::Application),
        ("/api/tasks", Owner::Application),
        ("/", Owner::Application),
        ("/healthz/x", Owner::Application),
        ("/.well-known/openid-configuration", Owner::Application),
        ("/API/auth/login", Owner::Unclear),
        ("/api%2Fauth/login", Owner::Unclear),
        ("/api%252Fauth", Owner::Unclear),
        ("/api;x/auth", Owner::Unclear),
        ("/api/auth/..%2Ftasks", Owner::Unclear),
        ("/HealthZ", Owner::Unclear),
    ] {
        assert_eq!(table.owner(path), owner, "{path}");
        let is_probe = path.eq_ignore_ascii_case("/healthz");
        assert_eq!(table.owner_beside(path), if is_probe { Owner::Application } else { owner }, "{path}");
    }
}

#[test]
fn a_route_for_a_probe_is_for_proxies_that_ask() {
    let probe = |upstream| {
        let mut spec = spec("/healthz");
        spec.route.upstream = upstream;
        let fallback = RouteTable::bare(upstream.is_some()).fallback().as_ref().clone();
        RouteTable::build(vec![spec], fallback).map_err(|errors| errors.problems)
    };
    assert_eq!(probe(Some(UpstreamId(0))).err(), Some(vec![RouteProblem::Own { route: 0 }]));
    let table = probe(None).unwrap();
    assert_eq!(name(&table, "", "GET", "/healthz"), Ok("/healthz"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(table.explain(None, &Method::GET, path).owner, Owner::Application, "{path}");
        let forwarding = RouteTable::bare(true).explain(None, &Method::GET, path);
        assert_eq!(forwarding.owner, Owner::Phoenix, "{path}");
    }
}

#[test]
fn every_problem_is_found_and_says_where_it_is() {
    let problems = |requests: &[&str]| {
        build(requests.iter().map(|request| spec(request)).collect()).map_or_else(|p| p, |_| Vec::new())
    };
    for (requests, expected) in [
        (vec!["a"], RouteProblem::Template { route: 0, problem: TemplateError::NoSlash }),
        (vec!["/ok", "/a//b"], RouteProblem::Template { route: 1, problem: TemplateError::EmptySegment }),
        (vec!["*.*/x"], RouteProblem::Host { route: 0 }),
        (vec!["a:80/x"], RouteProblem::Host { route: 0 }),
        (vec!["/api/auth/login"], RouteProblem::Own { route: 0 }),
        (vec!["app.example.com/phoenix/{*rest}"], RouteProblem::Own { route: 0 }),
        (
            vec!["/a/{x}", "/a/{y}"],
            RouteProblem::Overlap { route: 1, other: 0, other_path: "/a/{x}".to_owned() },
        ),
        (
            vec!["GET h/a", "GET,PUT H/a"],
            RouteProblem::Overlap { route: 1, other: 0, other_path: "/a".to_owned() },
        ),
        (vec!["/Tasks/x", "/tasks/y"], RouteProblem::Case { route: 1, other: "Tasks".to_owned() }),
    ] {
        assert_eq!(problems(&requests), std::slice::from_ref(&expected), "{requests:?}");
        assert!(!expected.to_string().is_empty());
    }
    assert_eq!(problems(&["/a", "h/a", "*.h/a", "GET /a", "/{*rest}", "/{x}", "/"]), []);
    assert_eq!(problems(&["x", "*./y", "/healthz"]).len(), 3, "all are found");
    let many: Vec<RouteSpec> = (0..258).map(|at| spec(&format!("/{at}"))).collect();
    assert_eq!(build(many).err(), Some(vec![RouteProblem::TooMany { route: 256 }]));
}

#[test]
fn an_explanation_finds_the_same_route_and_shows_each_reading() {
    let table = table(&["/admin/{*rest}", "/files/{id}"]);
    let explained = table.explain(None, &Method::GET, "/files/a%2Fb");
    assert_eq!(
        (explained.position, explained.is_ambiguous, explained.owner),
        (Some(1), true, Owner::Application)
    );
    let readings: Vec<(&str, Option<usize>)> =
        explained.readings.iter().map(|reading| (reading.path.as_str(), reading.route)).collect();
    assert_eq!(readings, [("/files/a%2Fb", Some(1)), ("/files/a/b", None)]);
    assert_eq!(&*table.explain(None, &Method::GET, "/x").route.name, "/{*rest}");
    assert_eq!(
        table.routes().map(|route| &*route.name).collect::<Vec<_>>(),
        ["/admin/{*rest}", "/files/{id}"]
    );
}

#[test]
fn routes_are_listed_in_the_order_in_which_they_count() {
    let requests = [
        "/{*rest}",
        "/a/{x}",
        "*.b.example/a",
        "GET /a/{x}",
        "/a/b",
        "*.c.b.example/{*rest}",
        "c.b.example/{*rest}",
        "/a/{*rest}",
    ];
    let table = table(&requests);
    let names: Vec<&str> = table.in_order_of_precedence().into_iter().map(|at| requests[at]).collect();
    assert_eq!(
        names,
        [
            "c.b.example/{*rest}",
            "*.c.b.example/{*rest}",
            "*.b.example/a",
            "/a/b",
            "GET /a/{x}",
            "/a/{x}",
            "/a/{*rest}",
            "/{*rest}"
        ]
    );
}

/// All readings of a path, in the naive form.
#[derive(Default)]
struct Readings(Vec<(Vec<Vec<u8>>, bool)>);

impl Reader for Readings {
    fn read<'a>(&mut self, segments: impl Iterator<Item = &'a [u8]> + Clone, ignore_case: bool) {
        self.0.push((segments.map(<[u8]>::to_vec).collect(), ignore_case));
    }
}

/// How specific a match is, the smallest being the most; `None`: no match.
fn rank(
    spec: &RouteSpec,
    host: &str,
    method: &Method,
    segments: &[Vec<u8>],
    fold: bool,
) -> Option<(usize, Vec<u8>, u8)> {
    let of_host = match spec.host.as_deref().map(|host| HostPattern::parse(host).unwrap()) {
        None => 1000,
        Some(HostPattern::Exact(name)) if name == host => 0,
        Some(HostPattern::Below(domain)) if host.ends_with(&format!(".{domain}")) => 500 - domain.len(),
        Some(_) => return None,
    };
    let of_method = match () {
        () if spec.methods.is_empty() => 2,
        () if spec.methods.contains(method) => 0,
        () if *method == Method::HEAD && spec.methods.contains(&Method::GET) => 1,
        () => return None,
    };
    let template: Vec<&str> = spec.path.split('/').filter(|part| !part.is_empty()).collect();
    let is_rest = template.last().is_some_and(|last| last.starts_with("{*"));
    let template = if is_rest { &template[..template.len() - 1] } else { &template[..] };
    if segments.len() < template.len() || (segments.len() > template.len() && !is_rest) {
        return None;
    }
    let mut kinds = Vec::new();
    for (part, segment) in template.iter().zip(segments) {
        let is_literal =
            part.as_bytes() == segment || (fold && part.as_bytes().eq_ignore_ascii_case(segment));
        match part.starts_with('{') {
            true if !segment.is_empty() => kinds.push(1),
            false if is_literal => kinds.push(0),
            _ => return None,
        }
    }
    kinds.extend(is_rest.then_some(2));
    Some((of_host, kinds, of_method))
}

fn specs() -> impl Strategy<Value = Vec<RouteSpec>> {
    let host = select(vec!["", "", "a.example", "*.example", "*.a.example"]);
    let methods = select(vec!["", "", "GET ", "POST ", "GET,POST ", "HEAD "]);
    let path = (vec(select(vec!["a", "b", "{x}"]), 0..4), select(vec!["", "/{*rest}"]));
    let path = path.prop_map(|(parts, end)| {
        let path = parts.iter().fold(String::new(), |path, part| path + "/" + part) + end;
        if path.is_empty() { "/".to_owned() } else { path }
    });
    let one = (host, methods, path, any::<bool>()).prop_map(|(host, methods, path, allows_ambiguous)| {
        RouteSpec { allows_ambiguous, ..spec(&format!("{methods}{host}{path}")) }
    });
    vec(one, 0..10).prop_map(|specs| {
        let mut kept: Vec<RouteSpec> = Vec::new();
        for spec in specs {
            let competes = |other: &RouteSpec| {
                let all = other.methods.is_empty() && spec.methods.is_empty();
                (&other.host, &other.path) == (&spec.host, &spec.path)
                    && (all || other.methods.iter().any(|method| spec.methods.contains(method)))
            };
            if !kept.iter().any(competes) {
                kept.push(spec);
            }
        }
        kept
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_trying_every_route_in_every_reading(
        specs in specs(),
        pieces in vec(select(vec!["a", "A", "b", "x", "a%2Fb", "b;x", "%2561", "..%2Fa", ""]), 0..5),
        host in select(vec!["", "a.example", "b.example", "b.a.example", "example", "other"]),
        method in select(vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE]),
    ) {
        let written = format!("/{}", pieces.join("/"));
        let Ok(path) = normalise(&written) else { return Ok(()) };
        let table = build(specs.clone()).unwrap();
        let mut readings = Readings::default();
        each_reading(&path, &mut readings);
        let best = |(segments, fold): &(Vec<Vec<u8>>, bool)| {
            let ranked = specs.iter().enumerate().filter_map(|(at, spec)| {
                rank(spec, host, &method, segments, *fold).map(|rank| (rank, at))
            });
            ranked.min().map(|(_, at)| at)
        };
        let found: Vec<Option<usize>> = readings.0.iter().map(best).collect();
        let is_ambiguous = found.iter().any(|route| *route != found[0]);
        let is_allowed = found[0].is_some_and(|at| specs[at].allows_ambiguous);
        let expected = if is_ambiguous && !is_allowed { Err(Ambiguous) } else { Ok(found[0]) };
        let host = Some(host).filter(|host| !host.is_empty());
        let got = table.find(host, &method, &path).map(|route| {
            table.routes().position(|other| std::sync::Arc::ptr_eq(other, route))
        });
        prop_assert_eq!(got, expected, "{} {:?}{}", method, host, path);
        let explained = table.explain(host, &method, &path);
        prop_assert_eq!(explained.position, found[0]);
        prop_assert_eq!(explained.is_ambiguous, is_ambiguous);
    }
}
