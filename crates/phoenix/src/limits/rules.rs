//! The rules that a configuration describes, and what is wrong with them in the words of the configuration.

use http::Method;
use phoenix_config::{
    ConfigError, ConfigErrors, HttpMethod, LimitClass, LimitCount, LimitKey, LimitRoute, Limits, Loaded,
};
use phoenix_http::limits::{
    ClassSpec, Count, KeyBy, LimitRules, Place, RouteSpec, RuleOptions, RuleProblem, RulesError,
};
use phoenix_limit::{Rule, Window};

/// The rules of a configuration.
///
/// # Errors
/// Everything in them that cannot work.
pub(crate) fn of(limits: &Limits) -> Result<LimitRules, RulesError> {
    let mut problems = Vec::new();
    let mut classes = Vec::with_capacity(limits.classes.len());
    for configured in &limits.classes {
        match class(configured) {
            Ok(class) => classes.push(class),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(RulesError { problems });
    }
    let routes: Vec<RouteSpec> = in_order(limits).map(route).collect();
    let options = RuleOptions {
        enabled: limits.enabled,
        ipv6_prefix: limits.ipv6_prefix,
        legacy_headers: limits.legacy_headers,
    };
    LimitRules::build(classes, &routes, &limits.exempt, options)
}

/// The rules of a configuration that is valid by itself.
///
/// # Errors
/// Everything in them that cannot work, with its place in the configuration.
pub(crate) fn checked(loaded: &Loaded) -> Result<LimitRules, ConfigErrors> {
    of(&loaded.config.limits).map_err(|error| {
        ConfigErrors::new(error.problems.iter().map(|problem| explained(problem, loaded)).collect())
    })
}

/// What is there by default first, so that of two routes that contradict each other the configured one is at fault.
fn in_order(limits: &Limits) -> impl Iterator<Item = &LimitRoute> {
    let built_in = limits.routes.iter().filter(|route| route.built_in);
    built_in.chain(limits.routes.iter().filter(|route| !route.built_in))
}

fn class(configured: &LimitClass) -> Result<ClassSpec, RuleProblem> {
    let LimitClass { name, windows, block, key, count, observe, exempt, networks } = configured;
    let windows: Vec<Window> =
        windows.iter().map(|window| Window { limit: window.limit, span: window.span }).collect();
    let rule =
        Rule::new(&windows, *block).map_err(|problem| RuleProblem::Rule { class: name.clone(), problem })?;
    Ok(ClassSpec {
        name: name.clone(),
        rule,
        key: match key {
            LimitKey::Address => KeyBy::Address,
            LimitKey::Principal => KeyBy::Principal,
            LimitKey::Both => KeyBy::Both,
            LimitKey::Account => KeyBy::Account,
        },
        count: match count {
            LimitCount::All => Count::All,
            LimitCount::Failures => Count::Failures,
        },
        observe: *observe,
        exempt: exempt.clone(),
        networks: networks.iter().map(|network| (network.network, network.multiplier)).collect(),
    })
}

fn route(configured: &LimitRoute) -> RouteSpec {
    let LimitRoute { methods, path, class, built_in: _ } = configured;
    RouteSpec {
        methods: methods.iter().copied().map(method).collect(),
        path: path.clone(),
        class: class.clone(),
    }
}

pub(crate) const fn method(configured: HttpMethod) -> Method {
    match configured {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
    }
}

/// A problem with the setting that it is about, its value, its line, and what would do.
fn explained(problem: &RuleProblem, loaded: &Loaded) -> ConfigError {
    let limits = &loaded.config.limits;
    let (setting, part, route) = match problem.place() {
        Place::Class(name) => ("limits.classes", format!("{name}{}", field(problem)), None),
        Place::Route(index) => {
            // Positions count what is there by default, which stands before.
            let built_in = limits.routes.iter().filter(|route| route.built_in).count();
            let number = (index + 1).saturating_sub(built_in);
            ("limits.routes", format!("[{number}]{}", field(problem)), in_order(limits).nth(index))
        }
    };
    let dot = if part.starts_with('[') { "" } else { "." };
    let error =
        ConfigError::new(problem.to_string(), remedy(problem, limits)).key(&format!("{setting}{dot}{part}"));
    let value = match problem {
        RuleProblem::UnknownClass { class, .. } => Some(class.clone()),
        _ => route.map(|route| route.path.clone()),
    };
    let error = match value {
        Some(value) => error.value(&value),
        None => error,
    };
    match loaded.effective.get(setting) {
        Some(setting) => error.at(setting.source_of_part(&part)),
        None => error,
    }
}

/// Which field of its class or route a problem is about.
const fn field(problem: &RuleProblem) -> &'static str {
    match problem {
        RuleProblem::DuplicateClass { .. } | RuleProblem::TooMany { .. } => "",
        RuleProblem::Rule { .. } => ".windows",
        RuleProblem::NoPrincipal { .. } | RuleProblem::NoAccount { .. } => ".key",
        RuleProblem::Factor { .. } => ".networks",
        RuleProblem::Template { .. }
        | RuleProblem::Overlap { .. }
        | RuleProblem::Case { .. }
        | RuleProblem::NeverLimited { .. } => ".path",
        RuleProblem::UnknownClass { .. } => ".class",
    }
}

fn remedy(problem: &RuleProblem, limits: &Limits) -> String {
    match problem {
        RuleProblem::DuplicateClass { .. } => "keep one of them".to_owned(),
        RuleProblem::TooMany { .. } => {
            "give several routes one class, or one route a shorter path".to_owned()
        }
        RuleProblem::Rule { .. } => {
            "use one window, such as [\"100/1m\"], or one more that is longer".to_owned()
        }
        RuleProblem::NoPrincipal { class } if class == "auth" => {
            "use key = \"account\" or \"address\"".to_owned()
        }
        RuleProblem::NoPrincipal { .. } => "use key = \"address\"".to_owned(),
        RuleProblem::NoAccount { .. } => "use key = \"address\", \"principal\" or \"both\"".to_owned(),
        RuleProblem::Factor { .. } => "use a number above 0".to_owned(),
        RuleProblem::Template { .. } => {
            "write a path such as \"/api/reports/{id}\" or \"/api/files/{*rest}\"".to_owned()
        }
        RuleProblem::Overlap { other_path, .. } => format!(
            "give both one class, list different methods, or make one path more specific than \"{other_path}\""
        ),
        RuleProblem::Case { other, .. } => format!("write \"{other}\" in both"),
        RuleProblem::NeverLimited { .. } => "remove this route".to_owned(),
        RuleProblem::UnknownClass { .. } => {
            let names: Vec<&str> = limits.classes.iter().map(|class| class.name.as_str()).collect();
            format!("use one of {}, or \"none\", or add [limits.classes.<name>]", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use phoenix_config::{Sources, load};

    use super::*;

    fn loaded(text: &str) -> Loaded {
        load(&Sources::from_toml(text)).unwrap_or_else(|errors| panic!("{errors}"))
    }

    // spec: R2
    #[test]
    fn the_default_rules_can_be_used() {
        assert!(checked(&loaded("")).is_ok());
    }

    // spec: R2
    #[test]
    fn routes_of_applications_are_recognised_by_their_path() {
        let rules = checked(&loaded("")).unwrap_or_else(|errors| panic!("{errors}"));
        for (method, path, class) in [
            (Method::POST, "/api/upload", Some("upload")),
            (Method::PUT, "/api/tasks/upload/1", Some("upload")),
            (Method::POST, "/api/tasks/7/upload", Some("upload")),
            (Method::POST, "/uploads/x", Some("upload")),
            (Method::GET, "/uploads/x.png", None),
            (Method::GET, "/api/tasks/7/upload", Some("api")),
            (Method::GET, "/search", Some("search")),
            (Method::GET, "/api/tasks/search", Some("search")),
            (Method::POST, "/api/tasks/ai/plan", Some("ai")),
            (Method::GET, "/api/tasks/7", Some("api")),
            (Method::POST, "/tasks", Some("api")),
            (Method::DELETE, "/", Some("api")),
            (Method::GET, "/tasks", None),
            (Method::GET, "/_next/static/x.js", None),
            (Method::POST, "/api/auth/login", Some("auth")),
            (Method::GET, "/api/auth/sessions/1", Some("api")),
            (Method::POST, "/healthz", None),
        ] {
            assert_eq!(rules.name_of_class(&method, path), class, "{method} {path}");
        }
    }

    #[test]
    fn whatever_the_configuration_allows_can_be_used() {
        for windows in ["1/1ms", "10000/31d", "1/1s\", \"2/3s\", \"3/1h\", \"9/31d"] {
            let text = format!("[limits.classes.x]\nwindows = [\"{windows}\"]\nblock = \"31d\"\n");
            assert!(checked(&loaded(&text)).is_ok(), "{windows}");
        }
    }

    #[test]
    fn every_problem_is_named_with_its_place_and_a_remedy() {
        let route =
            |path: &str, class: &str| format!("[[limits.routes]]\npath = \"{path}\"\nclass = \"{class}\"\n");
        let class = |name: &str, key: &str| {
            format!("[limits.classes.{name}]\nkey = \"{key}\"\nwindows = [\"1/1s\"]\n")
        };
        for (text, key, line, reason, remedy) in [
            (route("/x", "reports"), "routes[1].class", 3, "no class \"reports\"", "auth, register"),
            (route("x", "api"), "routes[1].path", 2, "begins with \"/\"", "/api/reports/{id}"),
            (route("/x/", "api"), "routes[1].path", 2, "no slash at its end", "/api/reports/{id}"),
            (route("/{*a}/x", "api"), "routes[1].path", 2, "{*rest} stands at the end", "/api/reports"),
            (route("/{a-b}", "api"), "routes[1].path", 2, "braces", "/api/reports"),
            (route("/a/../b", "api"), "routes[1].path", 2, "not parts of a path", "/api/reports"),
            (route("/a%20b", "api"), "routes[1].path", 2, "a character other than", "/api/reports"),
            (route("/API/x", "api"), "routes[1].path", 2, "differs in case", "write \"api\""),
            (route("/healthz", "api"), "routes[1].path", 2, "never limited", "remove this route"),
            (
                route("/x/{a}", "api") + &route("/x/{b}", "ai"),
                "routes[2].path",
                5,
                "the same requests as \"/x/{a}\"",
                "make one path more specific than \"/x/{a}\"",
            ),
            (class("auth", "principal"), "classes.auth.key", 2, "not signed in", "\"account\""),
            (class("auth", "both"), "classes.auth.key", 2, "not signed in", "\"account\""),
            (class("register", "principal"), "classes.register.key", 2, "not signed in", "\"address\""),
            (class("credentials", "both"), "classes.credentials.key", 2, "not signed in", "\"address\""),
            (class("mine", "account"), "classes.mine.key", 2, "only the class \"auth\"", "\"principal\""),
        ] {
            let errors = checked(&loaded(&text)).expect_err(&text);
            assert_eq!(errors.errors().len(), 1, "{errors}");
            let error = &errors.errors()[0];
            assert_eq!(error.setting(), Some(format!("limits.{key}").as_str()), "{error}");
            assert!(error.to_string().contains(&format!("phoenix.toml:{line}\n")), "{error}");
            assert!(error.reason().contains(reason), "{error}");
            assert!(error.remedy().contains(remedy), "{error}");
        }
    }

    #[test]
    fn all_problems_are_reported() {
        let text = "[limits.classes.auth]\nkey = \"both\"\n\
                    [[limits.routes]]\npath = \"x\"\nclass = \"y\"\n\
                    [[limits.routes]]\npath = \"/readyz\"\nclass = \"api\"\n";
        let errors = checked(&loaded(text)).expect_err("four problems");
        assert_eq!(errors.errors().len(), 4, "{errors}");
    }
}
