//! Several requests on one connection, and requests that break off.

use super::{BAD, SMUGGLED, get, post};
use crate::smuggling::harness::Case;

const PIPELINE: &str = "RFC 9112 9.3.2";
const INCOMPLETE: &str = "RFC 9112 8";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [pipelines(), doubts(), breaks()].concat()
}

fn numbered(number: usize) -> String {
    format!("GET /ID/{number} HTTP/1.1\r\nHost: app.test\r\nX-Mark: {number}\r\n\r\n")
}

fn pipelines() -> Vec<Case> {
    let many = |count: usize| (0..count).map(numbered).collect::<String>();
    vec![
        Case::same("pipeline-two", PIPELINE, many(2)),
        Case::same("pipeline-ten", PIPELINE, many(10)),
        Case::same("pipeline-fifty", PIPELINE, many(50)),
        Case::same(
            "pipeline-bodies",
            PIPELINE,
            [
                post("Content-Length: 5\r\n", "hello"),
                post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
                post("Content-Length: 0\r\n", ""),
                get(""),
            ]
            .concat(),
        ),
        Case::cleaned(
            "pipeline-line-end-between",
            "RFC 9112 2.2",
            [post("Content-Length: 5\r\n", "hello\r\n"), get("")].concat(),
            [post("Content-Length: 5\r\n", "hello"), get("")].concat(),
        ),
        Case::same(
            "pipeline-body-is-a-request",
            "Linhart et al. 2005",
            post("Content-Length: 47\r\n", &b"GET /smuggled HTTP/1.1\r\nHost: smuggled.test\r\n\r\n"[..47]),
        ),
        Case::same("pipeline-head-then-get", PIPELINE, [b"HEAD /ID HTTP/1.1\r\nHost: app.test\r\n\r\n".as_slice(), &get("")].concat()),
        Case::cleaned(
            "pipeline-second-closes",
            "RFC 9112 9.6",
            [get(""), get("Connection: close\r\n"), SMUGGLED.to_vec()].concat(),
            [get(""), get("")].concat(),
        )
        .closes(),
        Case::denied(
            "pipeline-behind-denied",
            PIPELINE,
            BAD,
            "GET /ID/%zz HTTP/1.1\r\nHost: app.test\r\n\r\n",
        ),
        Case::denied(
            "pipeline-behind-denied-with-body",
            "CL.0 (Kettle 2022)",
            BAD,
            "POST /ID/%zz HTTP/1.1\r\nHost: app.test\r\nContent-Length: 46\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\nX: y\r\n\r\n",
        ),
        Case::denied(
            "pipeline-ours-with-body",
            "CL.0 (Kettle 2022)",
            &[200, 400, 404, 405],
            b"GET /healthz HTTP/1.1\r\nHost: app.test\r\nContent-Length: 46\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\nX: y\r\n\r\n".as_slice(),
        ),
    ]
}

/// A request whose end is in doubt, and that is answered before anybody asks where it ends.
fn doubts() -> Vec<Case> {
    let doubt = |id, line: &str, coding: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: app.test\r\n{coding}\r\n0\r\n\r\n");
        let statuses = &[200, 400, 401, 403, 404, 405, 415, 501];
        Case::refused(
            id,
            "RFC 9112 6.3, HTTP Desync Attacks (Kettle 2019)",
            statuses,
            [head.as_bytes(), SMUGGLED].concat(),
        )
    };
    let (list, two) = (
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    );
    vec![
        doubt("doubt-denied-path", "POST /ID/%zz", list),
        doubt("doubt-denied-path-two", "POST /ID/%zz", two),
        doubt("doubt-ambiguous-path", "POST /api%2fauth/me", list),
        doubt("doubt-ours", "GET /healthz", list),
        doubt("doubt-ours-two", "GET /api/auth/me", two),
        doubt("doubt-ours-nowhere", "POST /api/auth/ID", list),
        doubt("doubt-forward-auth", "GET /api/phoenix/verify", list),
    ]
}

fn breaks() -> Vec<Case> {
    vec![
        Case::broken("breaks-body", INCOMPLETE, post("Content-Length: 10\r\n", "hello")).leaves(),
        Case::broken("breaks-before-body", INCOMPLETE, post("Content-Length: 10\r\n", "")).leaves(),
        Case::broken("breaks-head", INCOMPLETE, "GET /ID HTTP/1.1\r\nHost: app.test\r\n").leaves(),
        Case::broken("breaks-line", INCOMPLETE, "GET /ID HTT").leaves(),
        Case::broken("breaks-field", INCOMPLETE, "GET /ID HTTP/1.1\r\nHost: app.te").leaves(),
        Case::broken("breaks-between-line-ends", INCOMPLETE, "GET /ID HTTP/1.1\r\nHost: app.test\r\n\r")
            .leaves(),
        Case::broken(
            "breaks-large-body",
            INCOMPLETE,
            post("Content-Length: 1000000\r\n", "x".repeat(100_000)),
        )
        .leaves(),
    ]
}
