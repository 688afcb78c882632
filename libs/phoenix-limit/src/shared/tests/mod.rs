//! The scripts on a real Redis, call by call.

mod oracle;
mod scripts;
