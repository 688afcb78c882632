//! What every database behind the ports does, in the same way.

mod access;
mod accounts;
mod clean_up;
mod differential;
mod instance;
mod invalidations;
mod passwords;
mod races;
mod rotation;
mod sessions;
