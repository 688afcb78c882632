//! Paths and routes, compared with naive readings of the same rules.

mod path;
mod table;
