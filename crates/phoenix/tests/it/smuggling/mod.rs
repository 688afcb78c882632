//! Requests that two readers may understand differently, and what becomes of them: each is refused, or the application
//! sees exactly what a strict reader makes of it. Answers of the application are held to the same.
//!
//! `table` has the cases, each with its source; `harness` sends and judges them, `strict` is the reader that they are
//! judged by, `answers` reads what the client got.

mod answers;
mod application;
mod harness;
mod http2;
mod strict;
mod table;

use std::collections::HashSet;

use harness::{Case, Gateway};

async fn run(cases: Vec<Case>) {
    Gateway::start().run(cases).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn lengths_are_one_number_or_refused() {
    run(table::lengths::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn codings_are_chunked_alone_or_refused() {
    run(table::codings::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_read_strictly() {
    run(table::chunks::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn lines_end_where_they_end() {
    run(table::lines::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn targets_name_one_thing() {
    run(table::targets::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_host() {
    run(table::hosts::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn fields_have_one_name_and_one_value() {
    run(table::fields::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_connection_stays_there() {
    run(table::connections::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn requests_on_one_connection_do_not_mix() {
    run(table::sequences::cases()).await;
}

#[test]
fn the_table_has_150_cases_with_ids_of_their_own() {
    let all = table::all();
    let ids: HashSet<&str> = all.iter().map(Case::id).collect();
    assert_eq!(ids.len(), all.len(), "an id occurs twice");
    assert!(all.len() >= 150, "{} cases", all.len());
}
