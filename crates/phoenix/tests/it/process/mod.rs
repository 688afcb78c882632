//! The real binary: real processes, sockets, signals and files, seen only from outside.

mod activation;
mod command_line;
mod configuration;
mod connections;
mod disk_full;
mod doctor;
mod durability;
mod first_start;
mod gateway;
mod handover;
mod logs;
mod nodes;
mod refused_starts;
mod reload;
mod routes;
mod shutdown;
pub(crate) mod support;
mod tls;
