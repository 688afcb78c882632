//! Rate limits in a configuration: what is laid over what, every error by the name of its part, and where it stands.

use std::time::Duration;

use phoenix_config::{
    ConfigError, HttpMethod, LimitClass, LimitCount, LimitKey, LimitRoute, LimitWindow, Sources,
};

use crate::{refused, valid};

fn classes(text: &str) -> Vec<LimitClass> {
    valid(&Sources::from_toml(text)).config.limits.classes
}

fn class(text: &str, name: &str) -> LimitClass {
    classes(text).into_iter().find(|class| class.name == name).expect(name)
}

fn routes(text: &str) -> Vec<LimitRoute> {
    valid(&Sources::from_toml(text)).config.limits.routes
}

fn errors(text: &str) -> Vec<ConfigError> {
    refused(&Sources::from_toml(text)).errors().to_vec()
}

fn window(limit: u32, seconds: u64) -> LimitWindow {
    LimitWindow { limit, span: Duration::from_secs(seconds) }
}

// spec: R2
#[test]
fn a_class_that_is_there_by_default_changes_only_in_what_is_written() {
    let auth = class("[limits.classes.auth]\nwindows = [\"3/10m\"]\n", "auth");
    assert_eq!(auth.windows, [window(3, 600)]);
    assert_eq!(auth.block, Some(Duration::from_mins(30)));
    assert_eq!((auth.key, auth.count, auth.observe), (LimitKey::Account, LimitCount::Failures, false));
    let api = class("[limits.classes.api]\nblock = \"none\"\nkey = \"both\"\nobserve = true\n", "api");
    assert_eq!(api.windows, [window(100, 60)]);
    assert_eq!((api.block, api.key, api.observe), (None, LimitKey::Both, true));
    let own = class("[limits.classes.reports]\nwindows = [\"2/1s\", \"20/1m\"]\n", "reports");
    assert_eq!(own.windows, [window(2, 1), window(20, 60)]);
    assert_eq!((own.block, own.key, own.count), (None, LimitKey::Principal, LimitCount::All));
    assert_eq!(classes("limits.classes = {}"), classes(""));
}

// spec: R5
#[test]
fn networks_are_read_and_mapped_addresses_are_ipv4() {
    let text = "[limits]\nexempt = [\"192.0.2.7\", \"::ffff:10.0.0.0/104\", \"::ffff:10.9.9.9\", \"2001:db8::/32\"]\n\
                [limits.classes.api]\nexempt = [\"fd00::/8\"]\n\
                [[limits.classes.api.networks]]\ncidr = \"198.51.100.0/24\"\nmultiplier = 10\n\
                [[limits.classes.api.networks]]\ncidr = \"203.0.113.0/24\"\nmultiplier = 0.5\n";
    let limits = valid(&Sources::from_toml(text)).config.limits;
    let exempt: Vec<String> = limits.exempt.iter().map(ToString::to_string).collect();
    assert_eq!(exempt, ["192.0.2.7/32", "10.0.0.0/8", "10.9.9.9/32", "2001:db8::/32"]);
    let api = limits.classes.iter().find(|class| class.name == "api").expect("api");
    let networks: Vec<_> = api.networks.iter().map(|n| (n.network.to_string(), n.multiplier)).collect();
    assert_eq!(networks, [("198.51.100.0/24".to_owned(), 10.0), ("203.0.113.0/24".to_owned(), 0.5)]);
    assert_eq!(api.exempt[0].to_string(), "fd00::/8");
}

#[test]
fn a_route_comes_before_the_same_one_by_default_for_its_methods() {
    let of = |text: &str, path: &str| -> Vec<(Vec<HttpMethod>, Option<String>)> {
        let routes = routes(text).into_iter().filter(|route| route.path.to_lowercase().starts_with(path));
        routes.map(|route| (route.methods, route.class)).collect()
    };
    let api = || Some("api".to_owned());
    let upload = || Some("upload".to_owned());
    let text = "[[limits.routes]]\npath = \"/api/upload/{*all}\"\n";
    let post = format!("{text}methods = [\"POST\"]\nclass = \"api\"");
    assert_eq!(
        of(&post, "/api/upload/"),
        [(vec![HttpMethod::Post], api()), (vec![HttpMethod::Put, HttpMethod::Patch], upload())]
    );
    assert_eq!(of(&format!("{text}class = \"none\""), "/api/upload/"), [(vec![], None)]);
    let all = "[[limits.routes]]\nmethods = [\"PUT\", \"POST\", \"PATCH\", \"GET\"]\npath = \"/API/Upload/{*x}\"\n\
               class = \"api\"";
    assert_eq!(of(all, "/api/upload/").len(), 1, "nothing of the default is left");
    let get = "[[limits.routes]]\nmethods = [\"GET\"]\npath = \"/api/{*rest}\"\nclass = \"search\"";
    assert_eq!(of(get, "/api/{*"), [(vec![HttpMethod::Get], Some("search".to_owned())), (vec![], api())]);
}

/// A line below `[limits]`, the part that is refused and its value, part of the reason, part of the remedy.
type Mistake = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    ("classes.api.windows = [\"0/1m\"]", "classes.api.windows", "[\"0/1m\"]", "below the smallest number allowed, 1", "\"100/1m\""),
    ("classes.api.windows = [\"10001/1m\"]", "classes.api.windows", "[\"10001/1m\"]", "above the largest number allowed, 10000", "\"100/1m\""),
    ("classes.api.windows = [\"1/0\"]", "classes.api.windows", "[\"1/0\"]", "in the time: it is below the shortest duration, 1ms", "\"100/1m\""),
    ("classes.api.windows = [\"1/32d\"]", "classes.api.windows", "[\"1/32d\"]", "in the time: it is above the longest duration, 31d", "31d"),
    ("classes.api.windows = [\"100\"]", "classes.api.windows", "[\"100\"]", "it has no \"/\"", "\"100/1m\""),
    ("classes.api.windows = [\"100/60\"]", "classes.api.windows", "[\"100/60\"]", "not a duration", "\"100/1m\""),
    ("classes.api.windows = []", "classes.api.windows", "[]", "it is empty", "at least one window"),
    ("classes.api.windows = [\"100/1m\", \"100/1h\"]", "classes.api.windows", "[\"100/1m\", \"100/1h\"]", "\"100/1m\" has no effect beside \"100/1h\"", "keep one"),
    ("classes.api.windows = [\"300/1m\", \"5/1s\"]", "classes.api.windows", "[\"300/1m\", \"5/1s\"]", "\"300/1m\" has no effect beside \"5/1s\"", "keep one"),
    ("classes.api.windows = [\"5/1s\", \"6/1s\"]", "classes.api.windows", "[\"5/1s\", \"6/1s\"]", "has no effect", "keep one"),
    ("classes.api.windows = [\"1/1s\", \"2/2s\", \"3/3s\", \"4/4s\", \"5/5s\"]", "classes.api.windows", "[\"1/1s\", \"2/2s\", \"3/3s\", \"4/4s\", \"5/5s\"]", "the most allowed is 4", "at most 4"),
    ("classes.api.windows = \"100/1m\"", "classes.api.windows", "\"100/1m\"", "expected an array of strings, found a string", "\"100/1m\""),
    ("classes.api.block = \"0\"", "classes.api.block", "\"0\"", "below the shortest duration", "\"none\""),
    ("classes.api.block = \"32d\"", "classes.api.block", "\"32d\"", "above the longest duration, 31d", "\"none\""),
    ("classes.api.block = 300", "classes.api.block", "300", "a duration has a unit", "\"none\""),
    ("classes.api.key = \"ip\"", "classes.api.key", "\"ip\"", "not one of the words", "\"address\" or \"principal\""),
    ("classes.api.count = \"failure\"", "classes.api.count", "\"failure\"", "not one of the words", "did you mean \"failures\"?"),
    ("classes.api.observe = \"yes\"", "classes.api.observe", "\"yes\"", "expected a boolean", "true or false"),
    ("classes.api.exempt = [\"10.0.0.0/33\"]", "classes.api.exempt", "[\"10.0.0.0/33\"]", "entry 1 is refused: it is neither an address", "\"10.0.0.0/8\""),
    ("classes.api.exempt = [\"10.1.0.0/8\"]", "classes.api.exempt", "[\"10.1.0.0/8\"]", "bits beyond the prefix", "\"10.0.0.0/8\", or \"10.1.0.0\""),
    ("exempt = [\"office\"]", "exempt", "[\"office\"]", "neither an address", "\"10.0.0.0/8\""),
    ("classes.api.networks = [{ cidr = \"10.0.0.0/8\", multiplier = 0 }]", "classes.api.networks[1].multiplier", "0", "below the smallest multiplier", "0.001 to 1000"),
    ("classes.api.networks = [{ cidr = \"10.0.0.0/8\", multiplier = -1.5 }]", "classes.api.networks[1].multiplier", "-1.5", "below the smallest multiplier", "0.001 to 1000"),
    ("classes.api.networks = [{ cidr = \"10.0.0.0/8\", multiplier = nan }]", "classes.api.networks[1].multiplier", "nan", "below the smallest multiplier", "0.001 to 1000"),
    ("classes.api.networks = [{ cidr = \"10.0.0.0/8\", multiplier = inf }]", "classes.api.networks[1].multiplier", "inf", "above the largest multiplier", "0.001 to 1000"),
    ("classes.api.networks = [{ cidr = \"10.0.0.0/8\" }]", "classes.api.networks[1]", "", "\"multiplier\" is missing", "add multiplier"),
    ("classes.api.networks = [{ multiplier = 2 }]", "classes.api.networks[1]", "", "\"cidr\" is missing", "add cidr"),
    ("classes.api.networks = [{ cidr = \"x\", multiplier = 2 }]", "classes.api.networks[1].cidr", "\"x\"", "neither an address", "\"10.0.0.0/8\""),
    ("classes.api.networks = [\"10.0.0.0/8\"]", "classes.api.networks", "[\"10.0.0.0/8\"]", "expected an array of tables", "cidr"),
    ("classes.api.window = [\"1/1s\"]", "classes.api.window", "", "there is no such setting", "did you mean \"windows\"?"),
    ("classes.api.colour = 1", "classes.api.colour", "", "there is no such setting", "windows, block"),
    ("classes.api = 5", "classes.api", "5", "expected a table, found an integer", "windows, block"),
    ("classes.apis.block = \"5m\"", "classes.apis", "", "\"windows\" is missing", "there is no built-in class"),
    ("classes.API.block = \"5m\"", "classes.API", "", "not a name for a class", "a-z"),
    ("classes.none.windows = [\"1/1s\"]", "classes.none", "", "not a name for a class", "not \"none\""),
    ("routes = [{ path = \"/x\" }]", "routes[1]", "", "\"class\" is missing", "\"none\""),
    ("routes = [{ class = \"api\" }]", "routes[1]", "", "\"path\" is missing", "/api/reports/{id}"),
    ("routes = [{ path = \"/x\", class = \"api\" }, { path = 5, class = \"api\" }]", "routes[2].path", "5", "expected a string", "/api/reports/{id}"),
    ("routes = [{ methods = [\"FETCH\"], path = \"/x\", class = \"api\" }]", "routes[1].methods", "[\"FETCH\"]", "not one of the words", "\"GET\" or"),
    ("routes = [{ method = [\"GET\"], path = \"/x\", class = \"api\" }]", "routes[1].method", "", "there is no such setting", "did you mean \"methods\"?"),
    ("routes = [\"/x\"]", "routes", "[\"/x\"]", "expected an array of tables", "at most 256 tables"),
    ("ipv6_prefix = 31", "ipv6_prefix", "31", "below the smallest number allowed, 32", "32 to 128"),
    ("class.api.block = \"5m\"", "class", "", "there is no such setting", "the settings of [limits] are enabled"),
];

#[test]
fn every_error_is_named_with_its_part_value_line_and_remedy() {
    for (text, key, value, reason, remedy) in MISTAKES {
        let found = errors(&format!("[limits]\n{text}\n"));
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        let error = &found[0];
        assert_eq!(error.setting(), Some(format!("limits.{key}").as_str()), "{error}");
        assert_eq!(error.shown_value().unwrap_or_default(), *value, "{error}");
        assert!(error.reason().contains(reason), "{text}: {error}");
        assert!(error.remedy().contains(remedy), "{text}: {error}");
        assert_eq!(
            error.source_of_value().map(ToString::to_string).as_deref(),
            Some("phoenix.toml:2"),
            "{error}"
        );
    }
}

#[test]
fn all_errors_are_reported_each_with_its_line() {
    let text = "[limits.classes.api]\nblock = \"0\"\nwindows = [\"0/1m\"]\n\n[limits.classes.mine]\nkey = \"x\"\n\n\
                [[limits.routes]]\npath = \"/x\"\nclass = 5\n\n[[limits.routes]]\nmethods = [\"GO\"]\n\n\
                [[limits.classes.ai.networks]]\ncidr = \"10.0.0.1/8\"\n";
    let found: Vec<String> = errors(text)
        .iter()
        .map(|error| format!("{} {}", error.setting().unwrap(), error.source_of_value().unwrap()))
        .collect();
    let expected = [
        "limits.classes.api.windows phoenix.toml:3",
        "limits.classes.api.block phoenix.toml:2",
        "limits.classes.mine phoenix.toml:5",
        "limits.classes.mine.key phoenix.toml:6",
        "limits.classes.ai.networks[1].cidr phoenix.toml:16",
        "limits.classes.ai.networks[1] phoenix.toml:15",
        "limits.routes[1].class phoenix.toml:10",
        "limits.routes[2].methods phoenix.toml:13",
        "limits.routes[2] phoenix.toml:12",
        "limits.routes[2] phoenix.toml:12",
    ];
    assert_eq!(found, expected);
}

#[test]
fn there_is_a_bound_to_everything() {
    let many = |count: usize| {
        let class = |index| format!("[limits.classes.c{index}]\nwindows = [\"1/1s\"]\n");
        (0..count).map(class).collect::<String>()
    };
    assert_eq!(classes(&many(56)).len(), 64);
    assert!(errors(&many(57))[0].reason().contains("there are 65 classes; the most allowed is 64"));
    let many = |count: usize| {
        let route = |index| format!("[[limits.routes]]\npath = \"/{index}\"\nclass = \"none\"\n");
        (0..count).map(route).collect::<String>()
    };
    assert_eq!(routes(&many(256)).len(), 273);
    assert!(errors(&many(257))[0].reason().contains("the most allowed is 256"));
    let many = |count: usize| {
        let network = |index| format!("{{ cidr = \"10.0.0.{index}\", multiplier = 2 }},");
        format!("limits.classes.api.networks = [{}]", (0..count).map(network).collect::<String>())
    };
    assert_eq!(class(&many(64), "api").networks.len(), 64);
    assert!(errors(&many(65))[0].reason().contains("the most allowed is 64"));
    let long = "x".repeat(100_000);
    for text in [
        format!("limits.classes.{long}.block = \"5m\""),
        format!("limits.classes.api.{long} = 1"),
        format!("limits.classes.api.windows = [\"{long}\"]"),
        format!("limits.routes = [{{ path = \"{long}\", class = \"api\" }}]"),
    ] {
        assert!(refused(&Sources::from_toml(text)).to_string().len() < 1500);
    }
}

#[test]
fn the_environment_holds_tables_as_toml() {
    let sources = Sources::from_toml("[limits.classes.api]\nblock = \"1h\"\n");
    let api = |sources: &Sources| {
        let classes = valid(sources).config.limits.classes;
        classes.into_iter().find(|class| class.name == "api").unwrap()
    };
    let by_environment =
        sources.clone().with_env("PHOENIX_LIMITS_CLASSES", "{ api = { windows = ['7/1s'] } }");
    assert_eq!(api(&by_environment).windows, [window(7, 1)]);
    assert_eq!(api(&by_environment).block, Some(Duration::from_mins(5)), "in place of all that the file has");
    for (text, reason) in [
        ("api", "it is not TOML for a table of classes"),
        ("{ api = { windows = ['7/1s'] }", "it is not TOML for a table of classes"),
        ("[]", "expected a table of classes, found an array"),
        ("{ api = { windows = 2026-01-01 } }", "expected a table of classes, found a date or time"),
    ] {
        let errors = refused(&sources.clone().with_env("PHOENIX_LIMITS_CLASSES", text));
        assert!(errors.errors()[0].reason().contains(reason), "{errors}");
    }
}
