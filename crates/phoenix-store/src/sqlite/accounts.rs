//! Accounts.

use async_trait::async_trait;
use phoenix_auth::model::{Durable, EmailKey, PasswordHash, User, UserId};
use phoenix_auth::ports::{
    AccessChange, AccessChanged, AccountStore, Credentials, NewSession, NewUser, PasswordChange,
    SessionOpened, SessionsEnded, Stale, StoreError, UserCreated,
};
use rusqlite::params;

use super::failure::Failure;
use super::invalidations::append;
use super::query::Db;
use super::sessions::{OpenedSession, insert};
use super::sql::Sql;
use super::{SqliteStore, ending, rows};
use crate::decode;

/// An account to be made, owned by the job that makes it.
struct CreatedUser {
    id: [u8; 16],
    email: String,
    email_key: String,
    password_hash: String,
    role: String,
    profile: phoenix_auth::model::Profile,
    created_ms: i64,
}

impl From<&NewUser> for CreatedUser {
    fn from(new: &NewUser) -> Self {
        let NewUser { id, email, password_hash, role, profile, created_at } = new;
        Self {
            id: id.as_uuid().into_bytes(),
            email: email.as_str().to_owned(),
            email_key: email.key().as_str().to_owned(),
            password_hash: password_hash.as_str().to_owned(),
            role: role.as_str().to_owned(),
            profile: profile.clone(),
            created_ms: created_at.as_millis(),
        }
    }
}

fn create(db: &Db<'_>, user: &CreatedUser, session: Option<&OpenedSession>) -> Result<UserCreated, Failure> {
    let profile = &user.profile;
    let inserted = db.execute(
        Sql::UserInsert,
        params![
            user.id,
            user.email,
            user.email_key,
            user.password_hash,
            user.role,
            profile.username,
            profile.first_name,
            profile.last_name,
            profile.image_url,
            profile.timezone,
            profile.locale,
            user.created_ms,
            session.map(|_| user.created_ms),
        ],
    )?;
    if inserted == 0 {
        return Ok(UserCreated::EmailTaken);
    }
    if let Some(session) = session {
        insert(db, session)?;
    }
    Ok(UserCreated::Created)
}

/// A change of password, owned by the job that makes it.
struct ChangedPassword {
    user_id: UserId,
    auth_epoch: i64,
    password_hash: String,
    session: Option<OpenedSession>,
    at: phoenix_auth::model::Timestamp,
}

fn change_password(db: &Db<'_>, change: &ChangedPassword) -> Result<SessionOpened, Failure> {
    let ChangedPassword { user_id, auth_epoch, password_hash, session, at } = change;
    let columns = (user_id.as_uuid().into_bytes(), auth_epoch, password_hash, at.as_millis());
    if db.execute(Sql::PasswordChange, columns)? == 0 {
        return Ok(SessionOpened::Refused);
    }
    let ended = ending::end_all(db, *user_id, *at)?;
    if let Some(session) = session {
        insert(db, session)?;
    }
    let invalidations = append(db, &[Stale::User(*user_id)], *at)?;
    Ok(SessionOpened::Opened(decode::sessions_ended(ended, invalidations)))
}

fn change_access(db: &Db<'_>, change: &AccessChange) -> Result<AccessChanged, Failure> {
    let id = change.user_id.as_uuid().into_bytes();
    let Some(mut user) = db.optional(Sql::CredentialsById, [id], rows::only_user)? else {
        return Ok(AccessChanged::NotFound);
    };
    let role = change.role.unwrap_or(user.role);
    let disabled = change.disabled.unwrap_or(user.disabled);
    if role == user.role && disabled == user.disabled {
        return Ok(AccessChanged::Changed { user: Box::new(user), ended: SessionsEnded::default() });
    }
    let was = user.role.is_admin() && !user.disabled;
    let stays = role.is_admin() && !disabled;
    if was && !stays && !db.one(Sql::OtherAdministrator, [id], |row| Ok(row.get::<_, bool>(0)?))? {
        return Ok(AccessChanged::LastAdministrator);
    }
    db.execute(Sql::AccessChange, (id, role.as_str(), disabled, change.at.as_millis()))?;
    let ended = if disabled {
        ending::end_all(db, change.user_id, change.at)?
    } else if role != user.role {
        ending::end_own_tokens(db, change.user_id, change.at)?
    } else {
        Vec::new()
    };
    let invalidations = append(db, &[Stale::User(change.user_id)], change.at)?;
    user.role = role;
    user.disabled = disabled;
    let ended = decode::sessions_ended(ended, invalidations);
    Ok(AccessChanged::Changed { user: Box::new(user), ended })
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn create_user(
        &self,
        user: &NewUser,
        session: Option<&NewSession>,
    ) -> Result<Durable<UserCreated>, StoreError> {
        let user = CreatedUser::from(user);
        let session = session.map(OpenedSession::from);
        self.durable("create a user", move |db| create(db, &user, session.as_ref())).await
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        self.read("look for users", |db| db.one(Sql::UserExists, [], |row| Ok(row.get(0)?)))
    }

    async fn credentials(&self, email: &EmailKey) -> Result<Option<Credentials>, StoreError> {
        self.read("read credentials", |db| db.optional(Sql::Credentials, [email.as_str()], rows::credentials))
    }

    async fn credentials_by_id(&self, id: UserId) -> Result<Option<Credentials>, StoreError> {
        self.read("read credentials", |db| {
            db.optional(Sql::CredentialsById, [id.as_uuid().as_bytes()], rows::credentials)
        })
    }

    async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        self.read("list users", |db| match after {
            Some(after) => db.all(Sql::UserPage, (after.as_uuid().as_bytes(), limit), rows::only_user),
            None => db.all(Sql::UserPageFirst, [limit], rows::only_user),
        })
    }

    async fn upgrade_password_hash(
        &self,
        user_id: UserId,
        from: &PasswordHash,
        to: &PasswordHash,
    ) -> Result<Durable<bool>, StoreError> {
        let columns = (user_id.as_uuid().into_bytes(), from.as_str().to_owned(), to.as_str().to_owned());
        self.durable("upgrade a password hash", move |db| {
            let (id, from, to) = &columns;
            Ok(db.execute(Sql::PasswordUpgrade, (id, from, to))? == 1)
        })
        .await
    }

    async fn change_password(&self, change: &PasswordChange) -> Result<Durable<SessionOpened>, StoreError> {
        let PasswordChange { user_id, auth_epoch, password_hash, session, at } = change;
        let change = ChangedPassword {
            user_id: *user_id,
            auth_epoch: *auth_epoch,
            password_hash: password_hash.as_str().to_owned(),
            session: session.as_ref().map(OpenedSession::from),
            at: *at,
        };
        self.durable("change a password", move |db| change_password(db, &change)).await
    }

    async fn change_access(&self, change: &AccessChange) -> Result<Durable<AccessChanged>, StoreError> {
        let change = change.clone();
        self.durable("change access", move |db| change_access(db, &change)).await
    }
}
