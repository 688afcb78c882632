//! `phoenix routes`: what would become of a request, from the configuration alone.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::support::CommandLine;

const CONFIGURATION: &str = r#"
[gateway]
upstream = ["http://localhost:3000"]
[gateway.upstreams.reports]
servers = ["http://10.0.0.7:81"]
deadline = "5s"
[[gateway.routes]]
path = "/api/reports/{*rest}"
upstream = "reports"
roles = ["admin"]
class = "search"
[[gateway.routes]]
path = "/dashboard/{*rest}"
auth = "required"
response_headers = { set = { x-frame-options = "DENY" }, remove = ["server"] }
[[gateway.routes]]
host = "files.example.com"
methods = ["GET"]
path = "/{*rest}"
auth = "none"
class = "none"
"#;

/// Method and path, whose it is, the route, its class, what is answered without a session.
type Asked = (&'static [&'static str], &'static str, &'static str, Value, &'static str);

fn asked() -> [Asked; 10] {
    [
        (
            &["get", "/api//tasks/%34?q=%zz"],
            "application",
            "/{*rest}",
            json!("api"),
            "the application's answer",
        ),
        (&["GET", "/"], "application", "/{*rest}", Value::Null, "the application's answer"),
        (&["POST", "/settings"], "application", "/{*rest}", json!("api"), "the application's answer"),
        (
            &["POST", "/api/tasks/7/upload"],
            "application",
            "/{*rest}",
            json!("upload"),
            "the application's answer",
        ),
        (
            &["HEAD", "/api/reports/1"],
            "application",
            "/api/reports/{*rest}",
            json!("search"),
            "401 unauthenticated",
        ),
        (&["GET", "/dashboard"], "application", "/dashboard/{*rest}", Value::Null, "401 unauthenticated"),
        (&["GET", "/Dashboard"], "application", "/{*rest}", Value::Null, "400 ambiguous-path"),
        (
            &["GET", "/api/x", "--host", "Files.example.com:443"],
            "application",
            "files.example.com/{*rest}",
            Value::Null,
            "the application's answer",
        ),
        (&["POST", "/api/auth/login"], "phoenix", "", json!("auth"), "Phoenix's own answer"),
        (&["GET", "/api%2Fauth/me"], "unclear", "", json!("api"), "400 ambiguous-path"),
    ]
}

// spec: G2
#[tokio::test]
async fn it_is_said_what_would_become_of_a_request_and_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("phoenix.toml"), CONFIGURATION)?;
    let phoenix = CommandLine::in_folder(folder.path());
    for (arguments, owner, route, class, outcome) in asked() {
        let all: Vec<&str> = ["routes", "test", "--json"].iter().chain(arguments).copied().collect();
        let told = phoenix.run(&all).await.json();
        assert_eq!(told["owner"], owner, "{told:#}");
        assert_eq!(told["route"]["name"].as_str().unwrap_or_default(), route, "{told:#}");
        assert_eq!(told["class"]["name"], class, "{told:#}");
        assert!(told["withoutSession"].as_str().is_some_and(|text| text.starts_with(outcome)), "{told:#}");
    }
    let told = phoenix.run(&["routes", "test", "GET", "/api/reports/1"]).await.succeeded();
    for part in [
        "GET /api/reports/1\n",
        "route \"/api/reports/{*rest}\" (phoenix.toml:7)",
        "with one of the roles: admin",
        "class \"search\": 30/1m, block 2m",
        "at most 100MiB",
        "5s, pauses of at most 5m",
        "\"reports\": http://10.0.0.7:81",
        "without a session  401",
    ] {
        assert!(told.contains(part), "{part:?} is missing: {told}");
    }
    let told = phoenix.run(&["routes", "test", "GET", "/dashboard%2Fx"]).await.succeeded();
    assert!(
        told.contains("may be read as     /dashboard/x, in any case: route \"/dashboard/{*rest}\""),
        "{told}"
    );
    let told = phoenix.run(&["routes", "test", "GET", "/dashboard"]).await.succeeded();
    assert!(told.contains("removed server") && told.contains("set x-frame-options: (hidden)"), "{told}");
    Ok(())
}

#[tokio::test]
async fn no_command_prints_the_value_of_a_header() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = "[gateway]\nupstream = [\"http://localhost:3000\"]\n[[gateway.routes]]\npath = \"/x\"\n\
                request_headers = { set = { authorization = \"Basic canary\", x-api-key = \"canary\" } }\n";
    fs::write(folder.path().join("phoenix.toml"), text)?;
    let phoenix = CommandLine::in_folder(folder.path());
    for command in [
        &["config", "show"][..],
        &["config", "show", "--json"],
        &["routes", "list", "--json"],
        &["routes", "test", "GET", "/x"],
        &["routes", "test", "GET", "/x", "--json"],
    ] {
        let printed = phoenix.run(command).await.succeeded();
        assert!(!printed.contains("canary"), "{command:?}: {printed}");
        assert!(printed.contains("authorization") && printed.contains("(hidden)"), "{command:?}: {printed}");
    }
    Ok(())
}

// spec: G2
#[tokio::test]
async fn it_is_said_what_becomes_of_preflights() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let routes = r#"
[gateway]
upstream = ["http://localhost:3000"]
[[gateway.routes]]
path = "/members"
auth = "required"
[[gateway.routes]]
path = "/own"
auth = "required"
cors = "application"
[[gateway.routes]]
path = "/shared"
auth = "required"
cors = ["https://a.example"]
"#;
    fs::write(folder.path().join("phoenix.toml"), routes)?;
    let phoenix = CommandLine::in_folder(folder.path());
    for (path, cors, preflights, outcome, words) in [
        ("/members", Value::Null, "like-others", "401 unauthenticated", "preflights need a session"),
        (
            "/own",
            json!("application"),
            "application-without-body",
            "401 unauthenticated; to a preflight (CORS) without a body the application's answer",
            "also preflights, if they have no body",
        ),
        (
            "/shared",
            json!(["https://a.example"]),
            "phoenix",
            "401 unauthenticated; to a preflight (CORS) Phoenix's own",
            "allowed to https://a.example",
        ),
        ("/x", Value::Null, "application", "the application's answer", "also preflights\n"),
    ] {
        let told = phoenix.run(&["routes", "test", "--json", "OPTIONS", path]).await.json();
        assert_eq!((&told["route"]["cors"], &told["withoutSession"]), (&cors, &json!(outcome)), "{told:#}");
        assert_eq!(told["route"]["preflights"], preflights);
        let told = phoenix.run(&["routes", "test", "GET", path]).await.succeeded();
        assert!(told.contains(words) && !told.contains("(CORS)"), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn what_has_no_normal_form_ends_with_2_and_so_does_a_wrong_configuration() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    for (path, reason) in
        [("/..%2F", "above the root"), ("/%zz", "hexadecimal"), ("*", "begin with"), ("/a?b#c", "\"#\"")]
    {
        phoenix.run(&["routes", "test", "GET", path]).await.failed(2, &["malformed-path", reason]);
    }
    phoenix.run(&["routes", "test", "G E T", "/"]).await.failed(2, &["not a method"]);
    for host in ["bad host!", "a,b", "a..", ""] {
        let arguments = ["routes", "test", "--host", host, "GET", "/"];
        phoenix.run(&arguments).await.failed(2, &["malformed-request", "not a host", "app.example.com"]);
    }
    let alone = phoenix.run(&["routes", "test", "GET", "/x"]).await.succeeded();
    assert!(alone.contains("404 not-found: no upstream is configured"), "{alone}");
    let broken = "[[gateway.routes]]\npath = \"/x\"\nclass = \"y\"\n[[gateway.routes]]\npath = \"/x\"\nupstream = \"z\"\n";
    fs::write(folder.path().join("phoenix.toml"), broken)?;
    let parts = [
        "2 errors",
        "gateway.routes[1].class",
        "phoenix.toml:3",
        "gateway.routes[2].upstream",
        "phoenix.toml:6",
    ];
    phoenix.run(&["routes", "list"]).await.failed(2, &parts);
    phoenix.run(&["config", "check"]).await.failed(2, &parts);
    phoenix.run(&["serve"]).await.failed(2, &parts);
    Ok(())
}

#[tokio::test]
async fn routes_are_listed_from_those_that_are_asked_first() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("phoenix.toml"), CONFIGURATION)?;
    let phoenix = CommandLine::in_folder(folder.path());
    let listed = phoenix.run(&["routes", "list", "--json"]).await.json();
    let names: Vec<&str> =
        listed.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(
        names,
        ["files.example.com/{*rest}", "/api/reports/{*rest}", "/dashboard/{*rest}", "/{*rest}"]
    );
    let table = phoenix.run(&["routes", "list"]).await.succeeded();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["METHODS", "ROUTE", "AUTH", "CLASS", "UPSTREAM", "FROM"]);
    assert_eq!(lines[1], ["GET", "files.example.com/{*rest}", "none", "none", "default", "phoenix.toml:16"]);
    assert_eq!(lines[4], ["any", "/{*rest}", "optional", "by", "path", "default", "built-in"]);
    Ok(())
}
