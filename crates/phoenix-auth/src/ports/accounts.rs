//! Accounts.

use async_trait::async_trait;

use super::{NewSession, SessionOpened, SessionsEnded, StoreError};
use crate::model::{Durable, Email, EmailKey, PasswordHash, Profile, Role, Timestamp, User, UserId};

/// An account to be made.
#[derive(Debug)]
pub struct NewUser {
    /// Its name.
    pub id: UserId,
    /// Address, unique by its key.
    pub email: Email,
    /// Its password.
    pub password_hash: PasswordHash,
    /// What it may do.
    pub role: Role,
    /// What the user says about themselves.
    pub profile: Profile,
    /// When it is made.
    pub created_at: Timestamp,
}

/// What is needed to check a password.
#[derive(Debug)]
pub struct Credentials {
    /// The account.
    pub user: User,
    /// Its password; none when only an outside provider vouches for the user.
    pub password_hash: Option<PasswordHash>,
    /// Raised by every change of password or access; a session is opened only at the epoch it was checked at.
    pub auth_epoch: i64,
}

/// Result of making an account.
#[derive(Debug)]
pub enum UserCreated {
    /// Made, with its session if one was asked for.
    Created,
    /// An account with this email exists.
    EmailTaken,
}

/// A new password for an account, and the session that its owner goes on with.
#[derive(Debug)]
pub struct PasswordChange {
    /// Whose.
    pub user_id: UserId,
    /// The epoch at which the current password was checked.
    pub auth_epoch: i64,
    /// The new password.
    pub password_hash: PasswordHash,
    /// Opened in the same transaction; every other session of the user ends.
    pub session: Option<NewSession>,
    /// When.
    pub at: Timestamp,
}

/// A change of what an account may do.
#[derive(Clone, Debug)]
pub struct AccessChange {
    /// Whose.
    pub user_id: UserId,
    /// New role, if it changes.
    pub role: Option<Role>,
    /// Whether the account is disabled, if it changes.
    pub disabled: Option<bool>,
    /// When.
    pub at: Timestamp,
}

/// Result of a change of access.
#[derive(Debug)]
pub enum AccessChanged {
    /// Done.
    Changed {
        /// The account as it is now.
        user: Box<User>,
        /// What ended or became stale. Empty when nothing changed.
        ended: SessionsEnded,
    },
    /// No such account.
    NotFound,
    /// It would leave no enabled administrator.
    LastAdministrator,
}

/// Accounts.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Makes an account and, if asked, opens its first session, in one transaction.
    async fn create_user(
        &self,
        user: &NewUser,
        session: Option<&NewSession>,
    ) -> Result<Durable<UserCreated>, StoreError>;

    /// Whether any account exists.
    async fn has_users(&self) -> Result<bool, StoreError>;

    /// The account with this address, with its password.
    async fn credentials(&self, email: &EmailKey) -> Result<Option<Credentials>, StoreError>;

    /// The same by name.
    async fn credentials_by_id(&self, id: UserId) -> Result<Option<Credentials>, StoreError>;

    /// At most `limit` accounts with names after `after`, in order of their names.
    async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError>;

    /// Replaces a hash by a stronger one of the same password. Ends no session. False if it changed meanwhile.
    async fn upgrade_password_hash(
        &self,
        user_id: UserId,
        from: &PasswordHash,
        to: &PasswordHash,
    ) -> Result<Durable<bool>, StoreError>;

    /// Sets a new password, ends every session of the user and opens the given one, in one transaction.
    /// `Refused` when the account is gone, disabled or changed since `auth_epoch`.
    async fn change_password(&self, change: &PasswordChange) -> Result<Durable<SessionOpened>, StoreError>;

    /// Changes role or access, in one transaction. When the account is disabled, every session of the user ends. When
    /// only the role changes, those end whose token is ours; an outside provider's sessions go on with the new role.
    async fn change_access(&self, change: &AccessChange) -> Result<Durable<AccessChanged>, StoreError>;
}
