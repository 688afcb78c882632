//! Lists whose entries have parts: what each part may hold, at its bounds and beyond, and that an entry is there once.

use phoenix_config::Sources;

use crate::{refused, valid};

const ROLES: &str = "session.role_timeouts";
const ISSUERS: &str = "identity.issuers";

fn one(key: &str, entry: &str) -> Sources {
    Sources::from_toml(format!("{key} = [{}]", toml::Value::from(entry)))
}

fn assert_refused(key: &str, entry: &str, reason: &str) {
    let errors = refused(&one(key, entry));
    let error = &errors.errors()[0];
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert!(error.reason().contains(&format!("entry 1 is refused: {reason}")), "{entry}: {error}");
    assert!(!error.remedy().is_empty() && error.remedy() != error.reason(), "{error}");
}

#[test]
fn roles_and_their_times() {
    for entry in
        ["a=2m/2m", " a = 2m / 3m ", "a-_9=1h30m/2h", "a=7d/30d", &format!("{}=1h/1h", "r".repeat(32))]
    {
        assert_eq!(valid(&one(ROLES, entry)).config.session.role_timeouts.len(), 1, "{entry}");
    }
    for (entry, reason) in [
        ("", "it has no \"=\""),
        ("admin", "it has no \"=\""),
        ("admin 1h/2h", "it has no \"=\""),
        ("admin=", "it has no \"/\""),
        ("admin=1h", "it has no \"/\""),
        ("admin=1h/", "in the absolute time: it is not a duration"),
        ("admin=/1h", "in the idle time: it is not a duration"),
        ("admin=1h/2h/3h", "in the absolute time: it is not a duration"),
        ("admin=1/2", "in the idle time: it is not a duration"),
        ("admin=59s/1h", "in the idle time: it is below the shortest duration, 1m"),
        ("admin=1h/401d", "in the absolute time: it is above the longest duration, 400d"),
        ("admin=2h/1h", "the age 1h is shorter than the idle time 2h"),
        ("=1h/2h", "the role is not a name"),
        ("Admin=1h/2h", "the role is not a name"),
        ("1st=1h/2h", "the role is not a name"),
        ("-a=1h/2h", "the role is not a name"),
        ("a b=1h/2h", "the role is not a name"),
        ("rôle=1h/2h", "the role is not a name"),
        (&format!("{}=1h/2h", "r".repeat(33)), "the role is not a name"),
    ] {
        assert_refused(ROLES, entry, reason);
    }
}

#[test]
fn issuers_and_their_parts() {
    let long_audience = format!("https://a.example audience={}", "x".repeat(512));
    let long_issuer = format!("https://a.example/{} audience=x", "p".repeat(2048 - 18));
    let many = (0..8).fold("https://a.example".to_owned(), |entry, i| format!("{entry} audience=a{i}"));
    for entry in [
        "https://a.example audience=x",
        "https://a.example/ audience=x",
        "https://a.example:8443/realms/a%20b/~v2.0 audience=https://api.example/?a=b#c",
        "http://localhost:8080/realms/a audience=x",
        "http://127.0.0.1 audience=x jwks=http://[::1]:80/keys",
        "https://a.example audience=x algorithms=ES256+RS256+EdDSA",
        &long_audience,
        &long_issuer,
        &many,
    ] {
        let issuers = valid(&one(ISSUERS, entry)).config.identity.issuers;
        assert_eq!(Some(issuers[0].issuer.as_str()), entry.split(' ').next(), "as written");
    }
    for (entry, reason) in [
        ("", "it is empty"),
        ("audience=x", "in the issuer: an origin starts with http"),
        ("a.example audience=x", "in the issuer: an origin starts with http"),
        ("ftp://a.example audience=x", "in the issuer: the scheme"),
        ("https:///path audience=x", "in the issuer: the host"),
        ("https://u:p@a.example audience=x", "in the issuer: an origin has no user name"),
        ("http://a.example audience=x", "the issuer is plain http to another machine"),
        ("http://localhost.a.example audience=x", "the issuer is plain http to another machine"),
        ("https://a.example?x audience=x", "in the issuer: it has a query"),
        ("https://a.example/#x audience=x", "in the issuer: it has a fragment"),
        ("https://a.example/\u{e9} audience=x", "in the issuer: it holds a character"),
        ("https://a.example/a\\b audience=x", "in the issuer: it holds a character"),
        (
            &format!("https://a.example/{} audience=x", "p".repeat(2049 - 18)),
            "in the issuer: it is 2049 bytes long",
        ),
        ("https://a.example", "it names no audience"),
        ("https://a.example audience=", "an audience is empty"),
        ("https://a.example audience=x audience=x", "the audience \"x\" is written twice"),
        (&format!("https://a.example audience={}", "x".repeat(513)), "an audience is 513 bytes long"),
        ("https://a.example audience=a\u{0}b", "an audience holds a control character"),
        (&format!("{many} audience=x"), "it has more than 8 audiences"),
        ("https://a.example audience=x jwks=", "in the jwks URL: an origin starts"),
        ("https://a.example audience=x jwks=http://b.example/k", "the jwks URL is plain http"),
        ("https://a.example audience=x jwks=https://b.example/k#1", "in the jwks URL: it has a fragment"),
        (
            "https://a.example audience=x jwks=https://b.example jwks=https://b.example",
            "jwks= is written twice",
        ),
        ("https://a.example audience=x algorithms=", "its algorithm 1 is not one"),
        ("https://a.example audience=x algorithms=none", "its algorithm 1 is not one"),
        ("https://a.example audience=x algorithms=ES256+HS256", "its algorithm 2 is not one"),
        ("https://a.example audience=x algorithms=ES256+", "its algorithm 2 is not one"),
        ("https://a.example audience=x algorithms=ES256+es256", "the algorithm ES256 is written twice"),
        ("https://a.example audience=x algorithms=ES256 algorithms=RS256", "algorithms= is written twice"),
        ("https://a.example audience=x and more", "its part 3 is not audience="),
        ("https://a.example audience=x Audience=y", "its part 3 is not audience="),
        ("https://a.example, audience=x", "in the issuer: the host"),
    ] {
        assert_refused(ISSUERS, entry, reason);
    }
}

#[test]
fn an_endless_entry_is_refused_briefly() {
    let long = "x".repeat(100_000);
    for (key, entry) in [
        (ROLES, long.clone()),
        (ROLES, format!("{long}=1h/2h")),
        (ROLES, format!("a={long}/2h")),
        (ISSUERS, long.clone()),
        (ISSUERS, format!("https://a.example {long}")),
        (ISSUERS, format!("https://a.example audience={long}")),
        (ISSUERS, format!("https://a.example audience=x jwks={long}")),
        (ISSUERS, format!("https://a.example audience=x algorithms={long}")),
    ] {
        let text = refused(&one(key, &entry)).to_string();
        assert!(text.len() < 1000, "{text}");
    }
}

#[test]
fn an_entry_is_there_once_and_not_too_often() {
    for (key, entries, reason) in [
        (
            ROLES,
            "admin=1h/2h,user=1h/2h,admin=2h/3h",
            "entry 3 is refused: the role \"admin\" is already in entry 1",
        ),
        (ROLES, "admin=1h/2h,admin=1h/2h", "entry 2 is refused: the role \"admin\" is already in entry 1"),
        (
            ISSUERS,
            "https://a.example audience=x,https://a.example audience=y",
            "entry 2 is refused: the issuer https://a.example is already in entry 1",
        ),
    ] {
        let errors = refused(&Sources::default().with_override(key, entries));
        assert!(errors.errors()[0].reason().contains(reason), "{errors}");
        assert_eq!(errors.errors()[0].remedy(), "keep one of the two entries");
    }
    let roles = |count: usize| (0..count).map(|i| format!("r{i}=1h/2h")).collect::<Vec<_>>().join(",");
    let issuers = |count: usize| {
        (0..count).map(|i| format!("https://i{i}.example audience=x")).collect::<Vec<_>>().join(",")
    };
    for (key, most, too_many) in [(ROLES, roles(32), roles(33)), (ISSUERS, issuers(16), issuers(17))] {
        valid(&Sources::default().with_override(key, most));
        let errors = refused(&Sources::default().with_override(key, too_many));
        assert!(errors.errors()[0].reason().contains("the most allowed is"), "{errors}");
    }
}
