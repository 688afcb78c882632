//! The domain's values. Each is validated where it is made, so that a value in hand is a valid one.

mod device;
mod durability;
mod email;
mod id;
mod keys;
mod password;
mod password_hash;
mod profile;
mod role;
mod session;
mod time;
mod token;
mod user;

pub use device::{UserAgent, device_label};
pub use durability::{Durable, Relaxed};
pub use email::{Email, EmailError, EmailKey};
pub use id::{Seq, SessionId, UserId};
pub use keys::KeyRing;
pub use password::{MAX_PASSWORD_BYTES, MAX_PASSWORD_CHARS, Password, PasswordError, PasswordRules};
pub use password_hash::{HashParams, PasswordHash, PasswordHashError};
pub use profile::{Profile, ProfileError};
pub use role::{Role, RoleError};
pub use session::{ActiveSession, Liveness, Provider, Session, SessionLimits, SessionSummary};
pub use time::{Moment, Timestamp};
pub use token::{SessionToken, TokenHash};
pub use user::User;
