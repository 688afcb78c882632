//! Tests of the stores: one conformance suite that both databases pass, and what only one of them can get wrong.

mod bus;
mod conformance;
mod fixtures;
mod harness;
mod postgres;
mod redis;
mod sqlite;
mod tiers;
