//! The real binary: real processes, sockets, signals and files, seen only from outside.

mod command_line;
mod configuration;
mod connections;
mod disk_full;
mod durability;
mod first_start;
mod logs;
mod nodes;
mod refused_starts;
mod reload;
mod shutdown;
mod support;
