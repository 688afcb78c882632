//! The domain's values. Each is validated where it is made, so that a value in hand is a valid one.

mod block;
mod device;
mod durability;
mod email;
mod event;
mod fingerprint;
mod id;
mod identity;
mod keys;
mod known_device;
mod password;
mod password_hash;
mod place;
mod profile;
mod remembered;
mod role;
mod session;
mod time;
mod token;
mod user;

pub use block::{
    Block, BlockCause, BlockKey, BlockSubject, MAX_BLOCK_CLASS_BYTES, MAX_BLOCK_REASON_BYTES,
    MAX_BLOCK_SUBJECT_BYTES,
};
pub use device::{UserAgent, device_label};
pub use durability::{Durable, Relaxed};
pub use email::{Email, EmailError, EmailKey};
pub use event::{EventKind, MAX_EVENT_DETAIL_BYTES, SecurityEvent};
pub use fingerprint::{DeviceFeatures, Fingerprint, HeaderOrderClass};
pub use id::{BlockId, EventId, Seq, SessionId, UserId};
pub use identity::Identity;
pub use keys::KeyRing;
pub use known_device::{KNOWN_DEVICE_LIFETIME, KnownDevice};
pub use password::{MAX_PASSWORD_BYTES, MAX_PASSWORD_CHARS, Password, PasswordError, PasswordRules};
pub use password_hash::{HashParams, PasswordHash, PasswordHashError};
pub use place::{
    Coordinates, Country, CountryError, FASTEST_TRAVEL_KM_H, Network, Place, SHORTEST_TRAVEL_KM,
    is_impossible_travel, same_network,
};
pub use profile::{Profile, ProfileError};
pub use remembered::Remembered;
pub use role::{Role, RoleError};
pub use session::{
    ActiveSession, Liveness, Provider, SeenEnvironments, Session, SessionLimits, SessionSummary, SessionTimes,
};
pub use time::{Moment, Timestamp};
pub use token::{SessionToken, TokenHash};
pub use user::User;
