//! Rate limits: which requests are limited together, by which rule, and counted for whom.
//!
//! Does not own how admissions are counted (`phoenix-limit`), nor how rules are written down (`phoenix-config`).

mod class;
mod counters;
mod enforce;
mod finish;
mod headers;
mod line;
mod look_up;
mod networks;
mod rules;
pub(crate) mod sign_in;
mod state;
mod subject;
#[cfg(test)]
mod testing;
#[cfg(test)]
pub(crate) mod tests;

pub use class::{ClassSpec, Count, KeyBy};
pub use counters::ClassCounts;
pub(crate) use enforce::{Asked, AtOnce, Gate, Limited, Sender};
pub(crate) use headers::tell;
pub(crate) use headers::{LIMIT_HEADERS, STANDARD_HEADERS, Told, seconds_up};
pub use rules::{LimitRules, LiveRules, Place, RouteSpec, RuleOptions, RuleProblem, RulesError};
pub use state::{BegunBlock, BlockObserver, Limits, LimitsParts};
pub use subject::{Account, LimitedAddress, Subject};
