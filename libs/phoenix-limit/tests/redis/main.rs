//! The limiter on real Redis servers, in real time.

mod cluster;
mod exact;
mod failover;
mod leases;
mod nodes;
mod returns;
