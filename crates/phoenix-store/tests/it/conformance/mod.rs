//! What every database behind the ports does, in the same way.

mod access;
mod accounts;
mod blocks;
mod blocks_model;
mod caps;
mod clean_up;
mod differential;
mod events;
mod external;
mod external_ends;
mod instance;
mod invalidations;
mod model;
mod passwords;
mod races;
mod rotation;
mod sessions;
