//! Requests that are not Phoenix's own: which route they belong to, what it asks of them, and who answers them.
//!
//! Owns the table of routes, the one normal form of a path, and what an application behind Phoenix is told about the
//! caller. Does not own connections to that application ([`Upstreams`]) nor signatures ([`Assertions`]); the order of
//! the steps of a request is in `stack.rs`.

mod build;
mod explain;
mod failure;
mod host;
mod identity;
mod names;
pub mod path;
mod port;
mod route;
mod table;
#[cfg(test)]
mod tests;

pub use self::build::{RouteErrors, RouteProblem, RouteSpec};
pub use self::explain::{Explanation, Reading};
pub(crate) use self::failure::{answer as failure_answer, end_connection};
pub(crate) use self::host::asked_for;
pub use self::host::is_host;
pub use self::identity::hide_credentials;
pub(crate) use self::identity::{IDENTITY_HEADERS, Telling, Tellings, reads_as_identity, strip};
pub(crate) use self::names::Names;
pub(crate) use self::path::with_path;
pub use self::path::{PathError, normalise};
pub use self::port::{
    Assertion, AssertionStamp, Assertions, ConnectionHold, Forward, ForwardBody, ForwardFailure, Forwarded,
    Forwarding, Subject, UpstreamReport, Upstreams,
};
pub use self::route::{Access, ClassOf, CorsRule, HeaderChanges, Preflights, Route, UpstreamId};
pub use self::table::{Ambiguous, LiveRoutes, Owner, RouteTable};
