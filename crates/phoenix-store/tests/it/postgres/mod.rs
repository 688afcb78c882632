//! What only PostgreSQL can get wrong: outages, pools, plans, migrations by many nodes.

mod durability;
mod lanes;
mod listen;
mod migrations;
mod order;
mod outages;
mod plans;
mod pool;
mod refusals;
mod standby;
mod tls;
