//! What a request is for: forms of the target, and the one form of the path.

use super::{BAD, get};
use crate::smuggling::harness::Case;

const FORMS: &str = "RFC 9112 3.2";
const PATH: &str = "RFC 3986 6.2.2";
const READERS: &str = "Orange Tsai, Breaking Parser Logic (2018)";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [forms(), paths(), refused_paths()].concat()
}

fn to(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n").into_bytes()
}

/// A target that is spelled in another way for the application.
fn becomes(id: &'static str, source: &'static str, target: &str, clean: &str) -> Case {
    Case::cleaned(id, source, to(target), to(clean))
}

fn denied(id: &'static str, source: &'static str, target: &str) -> Case {
    Case::denied(id, source, BAD, to(target))
}

fn forms() -> Vec<Case> {
    vec![
        becomes("target-absolute", FORMS, "http://app.test/ID?a=b", "/ID?a=b"),
        becomes("target-absolute-no-path", FORMS, "http://app.test", "/"),
        becomes("target-absolute-query-alone", "RFC 3986 6.2.3", "http://app.test?ID=b", "/?ID=b"),
        Case::cleaned(
            "target-absolute-other-host",
            "RFC 9112 3.2.2: the target names the host",
            to("http://other.test/ID"),
            "GET /ID HTTP/1.1\r\nHost: other.test\r\n\r\n",
        ),
        Case::cleaned(
            "target-absolute-no-host",
            "RFC 9112 3.2: Host is needed anyway; the target names it",
            "GET http://app.test/ID HTTP/1.1\r\n\r\n",
            get(""),
        ),
        denied("target-absolute-user", "RFC 9110 4.2.4", "http://user@app.test/ID"),
        denied("target-absolute-password", "RFC 9110 4.2.4", "http://a:b@app.test/ID"),
        denied("target-absolute-empty-host", "RFC 9110 4.2.1", "http:///ID"),
        denied("target-authority", "RFC 9112 3.2.3: CONNECT alone", "app.test:80"),
        denied("target-asterisk-get", "RFC 9112 3.2.4: OPTIONS alone", "*"),
        Case::denied("target-asterisk-options", FORMS, BAD, "OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n"),
        denied("target-relative", FORMS, "ID"),
        denied("target-query-alone", FORMS, "?a=b"),
        denied("target-scheme-alone", FORMS, "http:/ID"),
        becomes("target-two-slashes", "RFC 9112 3.2.1", "//evil.test/ID", "/evil.test/ID"),
        Case::same("target-query", "RFC 3986 3.4", to("/ID?a=b&c=/../%2e%00?d")),
        Case::same("target-empty-query", "RFC 3986 6.2.3", to("/ID?")),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        becomes("path-dots", "RFC 3986 5.2.4", "/a/../ID", "/ID"),
        becomes("path-dot", "RFC 3986 5.2.4", "/./ID/.", "/ID/"),
        becomes("path-slashes", READERS, "/a///ID", "/a/ID"),
        becomes("path-encoded-dots", "CVE-2021-41773 (Apache)", "/a/%2e%2e/ID", "/ID"),
        becomes("path-half-encoded-dots", "CVE-2021-41773 (Apache)", "/a/.%2E/ID", "/ID"),
        becomes("path-unreserved", PATH, "/%61/ID/%7eb", "/a/ID/~b"),
        becomes("path-small-escape", PATH, "/ID/%c3%a9", "/ID/%C3%A9"),
        becomes("path-brackets", "RFC 3986 3.3", "/ID/[a]", "/ID/%5Ba%5D"),
        Case::same("path-encoded-slash", PATH, to("/ID/a%2Fb")),
        Case::same("path-encoded-backslash", READERS, to("/ID/a%5Cb")),
        Case::same("path-parameter", READERS, to("/ID;a=b/c")),
        Case::same("path-twice-encoded", READERS, to("/ID/%252e")),
        Case::same("path-encoded-query", PATH, to("/ID/a%3Fb")),
        Case::same("path-encoded-fragment", PATH, to("/ID/a%23b")),
        Case::same("path-encoded-space", PATH, to("/ID/a%20b")),
    ]
}

fn refused_paths() -> Vec<Case> {
    vec![
        denied("path-above-root", "RFC 3986 5.2.4", "/../ID"),
        denied("path-encoded-above-root", "CVE-2021-42013 (Apache)", "/%2e%2e/ID"),
        denied("path-twice-encoded-above-root", "CVE-2021-42013 (Apache)", "/%252e%252e/ID"),
        denied("path-slash-above-root", READERS, "/..%2fID"),
        denied("path-backslash-above-root", READERS, "/..%5cID"),
        denied("path-parameter-above-root", READERS, "/..;/ID"),
        denied("path-nul", "RFC 3986 7.3", "/ID%00"),
        denied("path-line-end", "CVE-2019-9740 (Python)", "/ID%0d%0aX-A:%20b"),
        denied("path-bad-escape", "RFC 3986 2.1", "/ID/%zz"),
        denied("path-cut-escape", "RFC 3986 2.1", "/ID/%2"),
        denied("path-to-ours-by-slash", READERS, "/api%2fauth/me/ID"),
        denied("path-to-ours-by-parameter", READERS, "/api;x/auth/me"),
        denied("path-to-ours-by-case", READERS, "/API/AUTH/me"),
        denied("path-to-ours-twice-encoded", READERS, "/api%252fauth/me"),
        denied("path-backslash", "RFC 3986 3.3", "/ID\\b"),
        becomes("path-fragment", "RFC 9110 4.2.5: never sent, so dropped", "/ID#b", "/ID"),
        becomes("path-fragment-with-query", "RFC 9110 4.2.5: never sent, so dropped", "/ID?a#b?c", "/ID?a"),
    ]
}
