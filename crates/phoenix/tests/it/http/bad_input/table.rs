//! The table of wrong requests.

use super::request::Raw;
use crate::http::support::{ADMIN, PASSWORD};

const REGISTER: &str = "/api/auth/register";
const LOGIN: &str = "/api/auth/login";
const CHANGE: &str = "/api/auth/password";
const ME: &str = "/api/auth/me";
const SESSIONS: &str = "/api/auth/sessions";
const USERS: &str = "/api/admin/users";
const EVENTS: &str = "/api/auth/security-events";
const EVERYBODYS_EVENTS: &str = "/api/admin/security-events";
const EVENT_PAGES: &str = "limit=0 limit=201 limit=-1 limit=x limit= limit=99999999999 limit=1.5 before=x before= \
                           before=%00 after=x limit=1&limit=2 before=019b0000-0000-7000-8000-00000000000";
const NOBODY: &str = "/api/admin/users/019b0000-0000-7000-8000-000000000000";

/// What a request may refer to.
pub(super) struct Facts {
    pub(super) address: String,
    pub(super) admin_token: String,
    pub(super) user_token: String,
}

/// A wrong request and its answer; no code when hyper answers before there is a request.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) request: Raw,
    pub(super) status: u16,
    pub(super) code: &'static str,
}

pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    [bodies(facts), fields(facts), sizes(facts), types(facts), credentials(facts), places(facts)]
        .into_iter()
        .flatten()
        .collect()
}

fn row(name: impl Into<String>, request: Raw, status: u16, code: &'static str) -> Row {
    Row { name: name.into(), request, status, code }
}

/// Bodies that are not what they should be, each sent to every operation that takes one.
fn bodies(facts: &Facts) -> Vec<Row> {
    let operations = [
        ("POST", REGISTER, "email"),
        ("POST", LOGIN, "email"),
        ("POST", CHANGE, "currentPassword"),
        ("PATCH", NOBODY, "role"),
    ];
    let mut rows = Vec::new();
    for (method, path, field) in operations {
        for (name, body, status, code) in broken_bodies(field) {
            let request = Raw::new(method, path, facts).bearer(&facts.admin_token).json(body);
            rows.push(row(format!("{path}: {name}"), request, status, code));
        }
    }
    rows
}

/// Bodies that are no JSON object, or hold no usable value of `field`.
fn broken_bodies(field: &str) -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let with = |value: &[u8]| [format!(r#"{{"{field}":"#).as_bytes(), value, b"}"].concat();
    let invalid_json = [
        ("no body", b"".to_vec()),
        ("white space only", b" \n ".to_vec()),
        ("not JSON", b"email=a@b".to_vec()),
        ("cut off", format!(r#"{{"{field}":"a@example.com""#).into_bytes()),
        ("a comment", b"/* */ {}".to_vec()),
        ("single quotes", b"{'email':'a'}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("not UTF-8", with(b"\"\xff\xfe\"")),
        ("half a surrogate pair", with(br#""\ud800""#)),
        ("a raw control character", with(b"\"a\nb\"")),
        ("a number of no kind", with(b"01")),
    ];
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let values = format!(r#"["new@example.com","{PASSWORD}",null,null,null,null,null,null,"cookie"]"#);
    let pair = format!(r#"["{ADMIN}","{PASSWORD}"]"#);
    let invalid_fields = [
        ("null", b"null".to_vec()),
        ("a number", b"7".to_vec()),
        ("a string", br#""text""#.to_vec()),
        ("an empty array", b"[]".to_vec()),
        ("the values without their names", values.into_bytes()),
        ("two values without their names", pair.into_bytes()),
        ("too deep", deep.clone().into_bytes()),
        ("a field too deep", with(deep.as_bytes())),
        ("a number for a text", with(b"5")),
        ("an unknown field", br#"{"isAdmin":true}"#.to_vec()),
    ];
    let json = invalid_json.into_iter().map(|(name, body)| (name, body, 400, "invalid-json"));
    json.chain(invalid_fields.into_iter().map(|(name, body)| (name, body, 422, "invalid-fields"))).collect()
}

/// Fields that are not what they should be.
fn fields(facts: &Facts) -> Vec<Row> {
    let long_email =
        format!("{}@{}.example", "a".repeat(64), ["b".repeat(60), "c".repeat(60), "d".repeat(60)].join("."));
    assert_eq!(long_email.len(), 255);
    let long_password = "x1".repeat(128) + "y";
    let good = "new@example.com";
    let register = |email: &str, password: &str, more: &str| {
        format!(r#"{{"email":"{email}","password":"{password}"{more}}}"#)
    };
    let named = |name: &str, body: String| (format!("{REGISTER}: {name}"), REGISTER, body);
    let mut cases = vec![
        named("a number for an email", format!(r#"{{"email":5,"password":"{PASSWORD}"}}"#)),
        named("an object for a password", r#"{"email":"a@example.com","password":{"x":1}}"#.to_owned()),
        named("no password", r#"{"email":"a@example.com"}"#.to_owned()),
        named("no email", format!(r#"{{"password":"{PASSWORD}"}}"#)),
        named("an unknown field", register(good, PASSWORD, r#","role":"admin""#)),
        named("another spelling", register(good, PASSWORD, r#","first_name":"x""#)),
        named("a field twice", register(good, PASSWORD, r#","email":"other@example.com""#)),
        named("an unknown transport", register(good, PASSWORD, r#","transport":"pigeon""#)),
        named("NUL in the email", register("new\\u0000@example.com", PASSWORD, "")),
        named("NUL in the password", register(good, &format!("{PASSWORD}\\u0000"), "")),
        named("NUL in a name", register(good, PASSWORD, r#","username":"a\u0000b""#)),
        named("a line end in a name", register(good, PASSWORD, r#","firstName":"a\r\nb""#)),
        named("an empty name", register(good, PASSWORD, r#","lastName":"""#)),
        named("a long name", register(good, PASSWORD, &format!(r#","lastName":"{}""#, "x".repeat(101)))),
        named("a script for an image", register(good, PASSWORD, r#","imageUrl":"javascript:alert(1)""#)),
        named("a time zone with a space", register(good, PASSWORD, r#","timezone":"Europe / London""#)),
        named("an email of 255 bytes", register(&long_email, PASSWORD, "")),
        named("65 bytes before the @", register(&format!("{}@example.com", "a".repeat(65)), PASSWORD, "")),
        named("a password of 257 characters", register(good, &long_password, "")),
        named("a short password", register(good, "q7!Zm", "")),
        named("a common password", register(good, "passwordpassword", "")),
        named("one's own address as password", register(good, "new@example.com", "")),
        named("an empty password", register(good, "", "")),
    ];
    for email in [
        "",
        "plain",
        "@example.com",
        "a@",
        "a b@example.com",
        "a@b@c",
        "a@exa mple.com",
        "a@-x.com",
        "\\\"a\\\"@x.com",
        "a@x..com",
    ] {
        cases.push(named(&format!("the email {email:?}"), register(email, PASSWORD, "")));
    }
    for (name, body) in [
        ("no password", r#"{"email":"a@example.com"}"#.to_owned()),
        ("an empty password", register(ADMIN, "", "")),
        ("NUL in the password", register(ADMIN, &format!("{PASSWORD}\\u0000"), "")),
        ("a password of 257 characters", register(ADMIN, &long_password, "")),
        ("an email of 255 bytes", register(&long_email, PASSWORD, "")),
        ("a field of registration", register(ADMIN, PASSWORD, r#","username":"x""#)),
    ] {
        cases.push((format!("{LOGIN}: {name}"), LOGIN, body));
    }
    let send = |(name, path, body): (String, &str, String)| {
        row(name, Raw::post(path, facts).json(body), 422, "invalid-fields")
    };
    let mut rows: Vec<Row> = cases.into_iter().map(send).collect();
    rows.extend(changes(facts));
    rows
}

/// Changes to what must not be.
fn changes(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    let change = format!(r#"{{"currentPassword":"{PASSWORD}","newPassword":"q7!Zm"}}"#);
    let request = Raw::post(CHANGE, facts).bearer(&facts.user_token).json(change);
    rows.push(row("a short new password", request, 422, "invalid-fields"));
    for role in ["", "Admin", "two words", "root\\u0000", &"x".repeat(33)] {
        let request = Raw::new("PATCH", NOBODY, facts).bearer(&facts.admin_token);
        let request = request.json(format!(r#"{{"role":"{role}"}}"#));
        rows.push(row(format!("the role {role:?}"), request, 422, "invalid-fields"));
    }
    rows
}

/// Too much of everything.
fn sizes(facts: &Facts) -> Vec<Row> {
    let big = format!(r#"{{"email":"a@example.com","password":"{}"}}"#, "x".repeat(70_000));
    let chunk = "x".repeat(0x1000);
    let chunks = format!("1000\r\n{chunk}\r\n").repeat(20) + "0\r\n\r\n";
    let json = || Raw::post(REGISTER, facts).header("Content-Type", "application/json");
    let many = |count: usize| {
        (0..count).fold(Raw::get(ME, facts), |request, number| request.header(&format!("X-{number}"), "x"))
    };
    vec![
        row("a large body", json().body(&big), 413, "body-too-large"),
        row("a declared large body", json().header("Content-Length", "10000000000"), 413, "body-too-large"),
        row(
            "a large body in chunks",
            json().header("Transfer-Encoding", "chunked").bare(chunks),
            413,
            "body-too-large",
        ),
        row(
            "a chunk without a length",
            json().header("Transfer-Encoding", "chunked").bare("xyz\r\n"),
            400,
            "incomplete-body",
        ),
        row("a negative length", json().header("Content-Length", "-1"), 400, ""),
        row(
            "two lengths",
            json().header("Content-Length", "2").header("Content-Length", "3").bare("{}"),
            400,
            "",
        ),
        row("a long path", Raw::get(&format!("/{}", "x".repeat(9000)), facts), 414, "uri-too-long"),
        row("a long query", Raw::get(&format!("{ME}?{}", "x".repeat(9000)), facts), 414, "uri-too-long"),
        row("a long header", Raw::get(ME, facts).header("X-Long", &"x".repeat(20_000)), 431, ""),
        row("many headers", many(100), 431, ""),
        row("a long token", Raw::get(ME, facts).bearer(&"x".repeat(8000)), 401, "malformed-token"),
    ]
}

/// Bodies that are not declared as JSON.
fn types(facts: &Facts) -> Vec<Row> {
    let body = format!(r#"{{"email":"new@example.com","password":"{PASSWORD}"}}"#);
    let mut rows =
        vec![row("no content type", Raw::post(REGISTER, facts).body(&body), 415, "unsupported-media-type")];
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json, text/plain",
        "text/plain; application/json",
        "application/problem+json",
        "",
    ] {
        let request = Raw::post(REGISTER, facts).header("Content-Type", content_type).body(&body);
        rows.push(row(format!("the content type {content_type:?}"), request, 415, "unsupported-media-type"));
    }
    rows
}

/// The token with another last character.
fn wrong_checksum(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "x" { "y" } else { "x" })
}

/// Credentials that cannot be read, or say two things.
fn credentials(facts: &Facts) -> Vec<Row> {
    let Facts { admin_token, user_token, .. } = facts;
    let get = || Raw::get(ME, facts);
    let mut rows = Vec::new();
    for value in
        ["", "Bearer", "Bearer ", "Basic cm9vdDpyb290", "Bearer a b", "Bearer a,b", "Bearer phx_s_short"]
    {
        let request = get().header("Authorization", value);
        rows.push(row(format!("Authorization: {value:?}"), request, 401, "malformed-token"));
    }
    let foreign = get().header("Authorization", "Bearer\u{e9} x");
    let bare = get().header("Authorization", admin_token);
    let wrong = wrong_checksum(admin_token);
    let cookie = |text: &str| get().header("Cookie", text);
    let own_cookie = || cookie(&format!("phoenix_session={admin_token}"));
    let two = format!("phoenix_session={admin_token}; phoenix_session={user_token}");
    rows.extend([
        row("Authorization: not ASCII", foreign, 401, "malformed-token"),
        row("a token without a scheme", bare, 401, "malformed-token"),
        row("a token and more", get().bearer(&format!("{admin_token} {user_token}")), 401, "malformed-token"),
        row("a wrong checksum", get().bearer(&wrong), 401, "malformed-token"),
        row(
            "a wrong checksum in the cookie",
            cookie(&format!("phoenix_session={wrong}")),
            401,
            "malformed-token",
        ),
        row("two headers", get().bearer(admin_token).bearer(user_token), 400, "ambiguous-credentials"),
        row(
            "the same header twice",
            get().bearer(admin_token).bearer(admin_token),
            400,
            "ambiguous-credentials",
        ),
        row("the cookie twice", cookie(&two), 400, "ambiguous-credentials"),
        row(
            "the cookie in two headers",
            own_cookie().header("Cookie", &format!("phoenix_session={user_token}")),
            400,
            "ambiguous-credentials",
        ),
        row(
            "the cookie of another form",
            cookie(&format!("__Host-phoenix_session={admin_token}")),
            401,
            "unauthenticated",
        ),
        row(
            "the cookie in another case",
            cookie(&format!("Phoenix_Session={admin_token}")),
            401,
            "unauthenticated",
        ),
        row("an empty cookie", cookie("phoenix_session="), 401, "unauthenticated"),
        row("a malformed header beside a good cookie", own_cookie().bearer("x"), 401, "malformed-token"),
        row("no credentials", get(), 401, "unauthenticated"),
        row(
            "the token in the query",
            Raw::get(&format!("{ME}?token={admin_token}"), facts),
            401,
            "unauthenticated",
        ),
        row("nothing to refresh", Raw::post("/api/auth/refresh", facts), 401, "unauthenticated"),
        row("junk to refresh", Raw::post("/api/auth/refresh", facts).bearer(&wrong), 401, "malformed-token"),
    ]);
    rows
}

/// Paths, methods and queries that mean nothing.
fn places(facts: &Facts) -> Vec<Row> {
    let admin = |method: &str, path: &str| Raw::new(method, path, facts).bearer(&facts.admin_token);
    let mut rows = Vec::new();
    let paths = "/ /api /api/auth /api/auth/me/ /api/auth//me/ /API/auth/me /api/auth/%6de/x /api/auth/sessions/ \
                 /etc/passwd /phoenix/ /api/auth%2Fme";
    for path in paths.split(' ') {
        rows.push(row(format!("the path {path}"), admin("GET", path), 404, "not-found"));
    }
    for path in ["/../etc/passwd", "/%2e%2e/etc/passwd", "/api/%00", "/api/%zz", "/api/auth\\me"] {
        rows.push(row(format!("the path {path}"), admin("GET", path), 400, "malformed-path"));
    }
    for (method, path) in [
        ("GET", LOGIN),
        ("PUT", LOGIN),
        ("DELETE", ME),
        ("POST", ME),
        ("GET", "/api/auth/logout"),
        ("PATCH", SESSIONS),
        ("BREW", ME),
        ("OPTIONS", ME),
        ("POST", "/healthz"),
    ] {
        rows.push(row(format!("{method} {path}"), admin(method, path), 405, "method-not-allowed"));
    }
    for id in ["x", "019b0000-0000-7000-8000-000000000000", "%FF", "1%2F2"] {
        let request = admin("DELETE", &format!("{SESSIONS}/{id}"));
        rows.push(row(format!("the session {id}"), request, 404, "not-found"));
    }
    let scopes = "scope= scope=mine scope=others&scope=all scope=ALL scope=all&x=1 all scope=%FF";
    for query in [""].into_iter().chain(scopes.split(' ')) {
        let request = admin("DELETE", &format!("{SESSIONS}?{query}"));
        rows.push(row(format!("the scope {query:?}"), request, 400, "invalid-parameter"));
    }
    for path in [EVENTS, EVERYBODYS_EVENTS, &format!("{NOBODY}/security-events")] {
        for query in EVENT_PAGES.split(' ') {
            let request = admin("GET", &format!("{path}?{query}"));
            rows.push(row(format!("the page {path}?{query}"), request, 400, "invalid-parameter"));
        }
        rows.push(row(format!("nobody's {path}"), Raw::get(path, facts), 401, "unauthenticated"));
        rows.push(row(format!("POST {path}"), admin("POST", path), 405, "method-not-allowed"));
    }
    for id in ["x", "%E2%80%8B", "019b0000-0000-7000-8000-000000000000"] {
        let request = admin("GET", &format!("{USERS}/{id}/security-events"));
        rows.push(row(format!("the events of {id}"), request, 404, "not-found"));
    }
    for path in [EVERYBODYS_EVENTS, &format!("{NOBODY}/security-events")] {
        let request = Raw::get(path, facts).bearer(&facts.user_token);
        rows.push(row(format!("a user asks for {path}"), request, 403, "forbidden"));
    }
    let pages = "limit=0 limit=201 limit=-1 limit=x limit= limit=99999999999 limit=1.5 after=x after= page=2 \
                 limit=1&limit=2";
    for query in pages.split(' ') {
        let request = admin("GET", &format!("{USERS}?{query}"));
        rows.push(row(format!("the page {query}"), request, 400, "invalid-parameter"));
    }
    rows
}
