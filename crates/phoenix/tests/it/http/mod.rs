//! The HTTP surface, from the outside: an application in this process, real databases, real sockets, a clock that
//! only tests move.

mod administration;
mod bad_input;
mod blocks;
mod client_address;
mod devices;
mod forged_entries;
mod gateway;
mod limits;
mod nodes;
mod origin;
mod outage;
mod places;
mod protocol;
mod push;
mod redis_outage;
mod refresh_ahead;
mod security_events;
mod session_limit;
mod sessions;
mod sign_in;
mod special_accounts;
mod stack_auth;
mod stampede;
mod support;
mod tiers;
mod time;
mod tls_outgoing;
mod tokens;
mod warming;
