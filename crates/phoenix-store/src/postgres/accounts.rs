//! Accounts.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Durable, EmailKey, PasswordHash, Role, User, UserId};
use phoenix_auth::ports::{
    AccessChange, AccessChanged, AccountStore, Credentials, NewSession, NewUser, PasswordChange,
    SessionOpened, SessionsEnded, Stale, StoreError, UserCreated,
};

use super::db::Db;
use super::failure::Failure;
use super::invalidations::append;
use super::sessions::{Insert, insert};
use super::sql::Sql;
use super::{PgStore, ending, rows};
use crate::decode;

async fn create(db: &Db, user: &NewUser, session: Option<&NewSession>) -> Result<UserCreated, Failure> {
    let NewUser { id, email, password_hash, role, profile, created_at } = user;
    let created_ms = created_at.as_millis();
    let inserted = db
        .execute(
            Sql::UserInsert,
            &[
                &id.as_uuid(),
                &email.as_str(),
                &email.key().as_str(),
                &password_hash.as_str(),
                &role.as_str(),
                &profile.username,
                &profile.first_name,
                &profile.last_name,
                &profile.image_url,
                &profile.timezone,
                &profile.locale,
                &created_ms,
                &session.map(|_| created_ms),
            ],
        )
        .await?;
    if inserted == 0 {
        return Ok(UserCreated::EmailTaken);
    }
    if let Some(session) = session {
        insert(db, session, Insert::Plain).await?;
    }
    Ok(UserCreated::Created)
}

async fn change_password(db: &Db, change: &PasswordChange) -> Result<SessionOpened, Failure> {
    let PasswordChange { user_id, auth_epoch, password_hash, session, at } = change;
    let id = user_id.as_uuid();
    let hash = password_hash.as_str();
    // Waits for sessions that are being opened; they are seen, and end, in the next statement.
    if db.execute(Sql::PasswordChange, &[&id, auth_epoch, &hash, &at.as_millis()]).await? == 0 {
        return Ok(SessionOpened::Refused);
    }
    let ended = ending::end_all(db, *user_id, *at).await?;
    if let Some(session) = session {
        insert(db, session, Insert::Plain).await?;
    }
    let invalidations = append(db, &[Stale::User(*user_id)], *at).await?;
    Ok(SessionOpened::Opened(decode::sessions_ended(ended, invalidations)))
}

async fn change_access(db: &Db, change: &AccessChange) -> Result<AccessChanged, Failure> {
    let id = change.user_id.as_uuid();
    let may_demote =
        change.role.as_ref().is_some_and(|role| !role.is_admin()) || change.disabled == Some(true);
    if may_demote {
        // Two administrators who demote each other take turns, and the second sees what the first did.
        db.one(Sql::AdministratorsLock, &[], |_| Ok(())).await?;
    }
    let Some(mut user) = db.optional(Sql::UserLock, &[&id], rows::user).await? else {
        return Ok(AccessChanged::NotFound);
    };
    let role: Role = change.role.unwrap_or(user.role);
    let disabled = change.disabled.unwrap_or(user.disabled);
    if role == user.role && disabled == user.disabled {
        return Ok(AccessChanged::Changed { user: Box::new(user), ended: SessionsEnded::default() });
    }
    let was = user.role.is_admin() && !user.disabled;
    let stays = role.is_admin() && !disabled;
    if was && !stays && !db.one(Sql::OtherAdministrator, &[&id], |row| Ok(row.try_get::<_, bool>(0)?)).await?
    {
        return Ok(AccessChanged::LastAdministrator);
    }
    db.execute(Sql::AccessChange, &[&id, &role.as_str(), &disabled, &change.at.as_millis()]).await?;
    let ended = if disabled {
        ending::end_all(db, change.user_id, change.at).await?
    } else if role != user.role {
        ending::end_own_tokens(db, change.user_id, change.at).await?
    } else {
        Vec::new()
    };
    let invalidations = append(db, &[Stale::User(change.user_id)], change.at).await?;
    user.role = role;
    user.disabled = disabled;
    let ended = decode::sessions_ended(ended, invalidations);
    Ok(AccessChanged::Changed { user: Box::new(user), ended })
}

#[async_trait]
impl AccountStore for PgStore {
    async fn create_user(
        &self,
        user: &NewUser,
        session: Option<&NewSession>,
    ) -> Result<Durable<UserCreated>, StoreError> {
        self.durable("create a user", |db: Arc<Db>| async move { create(&db, user, session).await }).await
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        self.read("look for users", |db: Arc<Db>| async move {
            db.one(Sql::UserExists, &[], |row| Ok(row.try_get(0)?)).await
        })
        .await
    }

    async fn credentials(&self, email: &EmailKey) -> Result<Option<Credentials>, StoreError> {
        self.read("read credentials", |db: Arc<Db>| async move {
            db.optional(Sql::Credentials, &[&email.as_str()], rows::credentials).await
        })
        .await
    }

    async fn credentials_by_id(&self, id: UserId) -> Result<Option<Credentials>, StoreError> {
        self.read("read credentials", |db: Arc<Db>| async move {
            db.optional(Sql::CredentialsById, &[&id.as_uuid()], rows::credentials).await
        })
        .await
    }

    async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        let limit = i64::from(limit);
        self.read("list users", |db: Arc<Db>| async move {
            match after {
                Some(after) => db.all(Sql::UserPage, &[&after.as_uuid(), &limit], rows::user).await,
                None => db.all(Sql::UserPageFirst, &[&limit], rows::user).await,
            }
        })
        .await
    }

    async fn upgrade_password_hash(
        &self,
        user_id: UserId,
        from: &PasswordHash,
        to: &PasswordHash,
    ) -> Result<Durable<bool>, StoreError> {
        self.durable("upgrade a password hash", |db: Arc<Db>| async move {
            let upgraded =
                db.execute(Sql::PasswordUpgrade, &[&user_id.as_uuid(), &from.as_str(), &to.as_str()]).await?;
            Ok(upgraded == 1)
        })
        .await
    }

    async fn change_password(&self, change: &PasswordChange) -> Result<Durable<SessionOpened>, StoreError> {
        self.durable("change a password", |db: Arc<Db>| async move { change_password(&db, change).await })
            .await
    }

    async fn change_access(&self, change: &AccessChange) -> Result<Durable<AccessChanged>, StoreError> {
        self.durable("change access", |db: Arc<Db>| async move { change_access(&db, change).await }).await
    }
}
